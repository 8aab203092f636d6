-- Each actor has a role of its own, which owns the actor's database and cannot open the other's.
--
-- The postgres image runs this with psql when its volume is empty. It may be run again at any time, by the superuser:
-- then it gives what an earlier release has made to the roles, and sets their passwords to those of the environment.
--   docker compose exec postgres psql -U holdfast -f /docker-entrypoint-initdb.d/holdfast.sql
\set ON_ERROR_STOP on
\getenv booking_password POSTGRES_BOOKING_PASSWORD
\getenv payment_password POSTGRES_PAYMENT_PASSWORD

SELECT format('CREATE ROLE %I', actor) FROM unnest(ARRAY['booking', 'payment']) AS actor
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = actor) \gexec
ALTER ROLE booking LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'booking_password';
ALTER ROLE payment LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'payment_password';

SELECT format('CREATE DATABASE %I OWNER %I', actor, actor) FROM unnest(ARRAY['booking', 'payment']) AS actor
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = actor) \gexec
ALTER DATABASE booking OWNER TO booking;
ALTER DATABASE payment OWNER TO payment;

-- By default everybody may connect to every database.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database WHERE NOT datistemplate \gexec

-- The tables that the superuser has made; what belongs to a table follows it.
\connect booking
ALTER SCHEMA public OWNER TO booking;
SELECT format('ALTER TABLE public.%I OWNER TO booking', relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner <> 'booking'::regrole \gexec
\connect payment
ALTER SCHEMA public OWNER TO payment;
SELECT format('ALTER TABLE public.%I OWNER TO payment', relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner <> 'payment'::regrole \gexec
