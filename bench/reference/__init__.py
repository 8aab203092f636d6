"""The design that most teams would write, to be measured beside Holdfast: row per request, one message at a time.

One service in any number of processes, one database with the tables of Holdfast's two, Redis Streams between the
webhook and the work. `POST /bookings` locks the ticket type, inserts the booking, updates the counter and commits;
asks Stripe; and writes down the answer in a second transaction. A webhook is put on a stream, taken off it one by
one, and applied in a transaction of its own, of which every process then hears and tells its sockets.

It keeps what this design can keep: tokens and signatures are checked, the database refuses to oversell, no network
call is made inside a transaction, an `Idempotency-Key` makes one booking, a webhook counts once, nothing is
acknowledged before it is committed, and what a dead process had in hand is taken over. Where Holdfast has a piece
that any design needs (tokens, bodies, signatures, Stripe's client, errors, logs), it is the very same one, so that
what is compared is the design and not its details.

What it leaves out of what Holdfast does:

- holds do not expire, and nothing is cancelled or refunded: money that comes for a booking that is gone stays;
- what a crash leaves between seats and intent waits for the client's next try; a lost webhook is not looked for;
- Stripe is not paced: past its limit clients get 503;
- a refused request leaves no booking behind, and no dead letter takes a message that always fails;
- no backpressure: a rush waits in memory, and a client that does not read holds up the telling of others;
- sockets: tokens in the header only, no subscriptions, no snapshot; a notice that Redis loses is lost;
- nothing but booking, paying and being told: no lists, no availability, no changes of events.
"""
