"""What the OpenAPI document says of operations beside their summaries."""

GUEST = (
    "Who has the token owns what is booked with it, until it expires. An installation whose customers all "
    "sign in can switch this off."
)
RENEW = (
    "For the same guest, with a new end. The token before stays valid until its own end, so that a lost answer "
    "costs nothing. Only a guest's token of this installation can be renewed, and only before it ends."
)
RECOVERY_CODE = (
    "For a guest's token of this installation, and a guest that has a booking. The code is shown this once and is "
    "good for one use; the guest's code before is not good any more. If no answer comes, ask again."
)
RECOVER = (
    "Gives a token of the guest whose code it is, and uses the code up: get another one then. If no answer comes, "
    "send the request again with the same Idempotency-Key: within ten minutes it gives a token again, which no "
    "other request does. Whatever is wrong with a code, the answer is `recovery_code_invalid`."
)
BOOK = (
    "Seats are held while the booking is pending, until `expires_at`. The answer is 201 once the booking can be "
    "paid (or is confirmed, where it costs nothing); 202 where the wait (`Prefer: wait`) ended before: then "
    "`kind` says whether there is a `booking` yet or the request is `queued`. The same request with the same "
    "Idempotency-Key is answered with the same booking, with 200 where it was there already. With "
    "`expected_amount` nothing is held at another price."
)
ATTENTION = (
    "Each kind has how many there are, since when the oldest is there, what to do next, and the oldest of them; "
    "where all is well there are no items. An actor that does not answer in time is named in `missing`, and what "
    "the other one knows is shown all the same. It has ids and references, and nothing about a person."
)
EVENT = (
    "With `code` the answer also has the hidden ticket types that the promo code unlocks. Who enters codes that do "
    "not exist again and again has to wait."
)
QUOTE = (
    "What a booking of these seats would cost now, or the problem with which it would be refused. Nothing is held: "
    "book with `amount` as `expected_amount`, and nothing is held at another price. Who enters codes that do not "
    "exist again and again has to wait."
)
NEW_CODES = (
    "A code takes a percentage or an amount off each ticket, unlocks hidden ticket types, or both. A use is a "
    "booking: it is counted with the booking's seats, and given back when these are. A percentage is rounded half "
    "up for each ticket, to the currency's smallest step: a ticket that is refunded alone gives back what was paid "
    "for it. Many codes are made at once by `prefix` and `count`, as for one use each (`uses_max`: 1). Who made "
    "them is in the event's history."
)
CHANGE_CODE = (
    "Only the members that are sent change, for bookings that are made from then on. `active`: false ends it, and "
    "`uses_max` cannot be less than its uses."
)
WEBHOOK_ENDPOINT = (
    "It is sent what `webhooks` of this document describes, from now on. The answer has the secret by which the "
    "receiver verifies that, this once: `docs/webhooks.md` says how. Refused where no webhooks are sent."
)
WEBHOOK_CHANGE = (
    "With `enabled` an endpoint that has failed, or has answered 410 Gone, is tried again, and what has waited for "
    "it is sent."
)
WEBHOOK_ROTATION = (
    "Everything is signed by each of the endpoint's secrets, so that the receiver may learn the new one at any "
    "time while both are in use. The answer has it this once."
)
WEBHOOK_REPETITION = "With the same `webhook-id`, which a receiver that has it already ignores."
PAY = (
    "The intent of the booking, the same each time. The customer then pays in the browser with Stripe.js, "
    "`publishable_key` and `client_secret`; Stripe tells the result, and the booking changes."
)
CANCEL = (
    "Customers may cancel a booking that is not paid, and one that is paid until the event's `cancel_until`; "
    "operators with the scope `holdfast:box-office` may cancel any, always. What was paid goes back: 202 while "
    "Stripe has not answered yet."
)
WAIT = (
    "For a ticket type without free seats. When seats become free they are kept for those who wait, who get an "
    "offer in the order in which they joined: a booking as if they had made it, at the price of that moment, whose "
    "seats are held for as long as the installation says. One that costs nothing is confirmed at once. Nobody is "
    "passed over: where the first wants more seats than are kept, all others wait. An owner has one entry for each "
    "ticket type at a time, and an entry is closed if its owner may not have the seats when they could be offered. "
    "The same request with the same Idempotency-Key is answered with the same entry."
)
LEAVE = "An offer is declined by cancelling its booking. What has ended stays as it is."
CUSTOMER = (
    "For what this installation writes itself. The owner may set it, and operators with the scope "
    "`holdfast:box-office`, whatever became of the booking. It changes nothing at Stripe, whose receipt goes to "
    "the address that the booking was made with."
)
RESEND = (
    "It goes to whom the booking is for now, also where there was no such mail before, and does not count against "
    "what a recipient may get in a day. Its `id` is new, so that it comes as another mail."
)
SELL = (
    "For the box office: the booking is confirmed at once, and its money is none of Stripe's. Whatever limits "
    "customers (when the event is sold, seats of each booking and owner) does not limit operators: there must be "
    "seats, and the event `on_sale`, published and not cancelled. When the booking is cancelled, its "
    "`payment.status` is `refund_pending` until a refund of it is posted, which notes that the money was given "
    "back."
)
EXPORT = (
    "CSV by RFC 4180 in UTF-8 with a byte order mark, newest bookings first, sent while it is read. Amounts are in "
    "the currency's minor unit. A text that a spreadsheet would run as a formula has an apostrophe before it. A "
    "transfer that breaks off is not complete."
)
ERASE = (
    "Erases name, email, locale and phone of these customers in every booking, some at a time; amounts, ids and "
    "histories stay. Stripe keeps what it was sent: `docs/operations.md` says what that is."
)
PREVIEW_DESCRIPTION = "What `description_html` of an event with this description is. It changes nothing."
CHANGE = (
    "Only the members that are sent change. Bookings keep the prices at which they were made. Of an event that is "
    "cancelled only `status`, `description`, `category` and `venue` can change."
)
IMAGE = (
    "What the `url` in the event's `image` leads to, a WebP. Another image has another `url`, so that each may be "
    "cached for ever."
)
PUT_IMAGE = (
    "A PNG, JPEG or WebP of at most 1 MiB and 16 million pixels, as `image/png`, `image/jpeg`, `image/webp` or "
    "`application/octet-stream`. A WebP of at most 1600 pixels on its longer side is made of it, without metadata; "
    "it replaces the image that the event has."
)
EVENT_HISTORY = (
    "Every change of the event and its ticket types, oldest first: who made it, and what has another value since. "
    "Sold seats and retried refunds are no changes of the event. Changes that earlier releases made are not there."
)
CANCEL_EVENT = (
    "Nothing is sold from then on, and every booking is cancelled and given back, which takes a while: `progress` "
    "of the event says how far it has come."
)
REFUND = (
    "Gives back `amount`, or all that is left, once for each Idempotency-Key: 202 while Stripe has not answered "
    "yet. A booking whose money went back entirely is cancelled. `ticket_ids` cancels these tickets at once, frees "
    "their seats, and gives back what they cost; the booking keeps the others. Of a booking that was sold at the "
    "box office it only notes that the money was given back there."
)
TICKETS = (
    "Each seat of a confirmed booking is a ticket; those of a cancelled booking are shown, too, without codes. A "
    "refund of a part leaves tickets valid, but those that it names. With the event and its time by the venue's "
    "clock it is all that a page to print needs."
)
TICKET_IMAGE = (
    "Like everything else it needs the token, which no URL has and no `<img>` sends: fetch it, and show it from "
    "memory."
)
CALENDAR = "An iCalendar file (RFC 5545), whose entry a later one replaces."
SIGNING_KEYS = "A JSON Web Key Set (RFC 7517, RFC 8037) for scanners. How codes are checked: `docs/tickets.md`."
CHECK_IN = (
    "200 lets somebody in, once for each ticket; every other answer does not. `ticket_used` says when and where "
    "somebody was let in by the ticket before. Send the request again with its `id` if no answer comes."
)
CHECK_INS = (
    "For scanners that had no network. Each item is told what it has met, as if it had come alone; the order of "
    "arrival decides who was first. The same list again changes nothing, and is answered the same."
)
UNDO_CHECK_IN = (
    "The ticket lets somebody in again. What happened stays in the history. Undoing again changes nothing."
)
DOOR = (
    "The keys that check codes, how many people are in, and the tickets whose state has changed since the mark of "
    "the answer before: a scanner that follows it works without a network for a while. No change is left out."
)
REVOKE = (
    "The tokens are refused with 401 from now on, and their open sockets are closed with 4401; other gateways "
    "follow within moments. Revoking again is no error: of a subject it also revokes the tokens issued since."
)
