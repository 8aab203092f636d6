"""The design that most teams would write, to be measured beside Holdfast: row per request, one message at a time.

One service in any number of processes, one database with the tables of Holdfast's two, Redis Streams between the
webhook and the work. `POST /bookings` locks the ticket type, inserts the booking, updates the counter and commits;
asks Stripe; and writes the answer in a second transaction. A webhook is put on a stream, read from it one by one,
and applied in a transaction of its own; then every process is notified of it, and notifies its sockets.

It keeps what this design can keep: tokens and signatures are checked, the database refuses to oversell, no network
call is made inside a transaction, an `Idempotency-Key` makes one booking, a webhook counts once, nothing is
acknowledged before it is committed, and other processes finish what a dead one had in hand. Where Holdfast has a
piece that any design needs (tokens, bodies, signatures, Stripe's client, errors, logs), the reference uses that
very piece, so that the designs are compared and not their details.

Of what Holdfast does, it leaves out:

- holds do not expire, and nothing is cancelled or refunded: money that comes for a booking that has ended stays;
- what a crash leaves between seats and intent waits for the client's next request; a lost webhook is not found;
- requests to Stripe have no rate limit: past Stripe's limit clients get 503;
- a refused request leaves no booking behind, and a message that always fails does not become a dead letter;
- no load shedding: a rush waits in memory, and a client that does not read delays the notifications of others;
- sockets: tokens in the header only, no subscriptions, no snapshot; a notification that Redis loses is lost;
- only booking, paying and being notified: no lists, no availability, no changes of events.
"""
