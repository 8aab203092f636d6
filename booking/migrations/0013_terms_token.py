# ruff: noqa: RUF012
"""Each ticket type has a random token of its event's terms, other after each change of them: by it a statement that
sells from memory knows whether it sells by the terms that are there.

Triggers renew it, so that changes by processes of the release before, and by hand, count. The counters of seats are
not among these columns: selling fires no trigger.
"""

from tortoise import fields, migrations
from tortoise.fields import SqlDefault
from tortoise.migrations import operations as ops

RENEW = """
CREATE FUNCTION renew_terms_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.terms_token = gen_random_uuid();
    RETURN NEW;
END $$
"""
RENEW_TRIGGER = """
CREATE TRIGGER renew_terms_token BEFORE UPDATE OF event_id, position, name, unit_amount, capacity ON ticket_types
    FOR EACH ROW EXECUTE FUNCTION renew_terms_token()
"""
# Locked in the order in which everybody locks ticket types.
RENEW_ALL = """
CREATE FUNCTION renew_terms_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM ticket_types WHERE event_id = NEW.id ORDER BY id FOR NO KEY UPDATE;
    UPDATE ticket_types SET terms_token = gen_random_uuid() WHERE event_id = NEW.id;
    RETURN NULL;
END $$
"""
# All that a new booking may be decided by. `version` changes with each ticket type that is added, too.
RENEW_ALL_TRIGGER = """
CREATE TRIGGER renew_terms_tokens AFTER UPDATE OF name, starts_at, currency, on_sale, max_per_booking, cancel_until,
    time_zone, sales_start, sales_end, sell_after_start, cancel_after_start, payment_methods, slow_payments_until,
    called_off_at, version ON events
    FOR EACH ROW EXECUTE FUNCTION renew_terms_tokens()
"""


class Migration(migrations.Migration):
    dependencies = [("booking", "0012_intent_to_cancel")]

    initial = False

    operations = [
        ops.AddField(
            model_name="TicketType",
            name="terms_token",
            field=fields.UUIDField(db_default=SqlDefault("gen_random_uuid()")),
        ),
        ops.RunSQL(
            sql=[RENEW, RENEW_TRIGGER, RENEW_ALL, RENEW_ALL_TRIGGER],
            reverse_sql=[
                "DROP TRIGGER renew_terms_tokens ON events",
                "DROP FUNCTION renew_terms_tokens()",
                "DROP TRIGGER renew_terms_token ON ticket_types",
                "DROP FUNCTION renew_terms_token()",
            ],
        ),
    ]
