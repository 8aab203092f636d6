"""What `docs/messages.md` says beside what the code says: of streams, messages and their fields."""

from __future__ import annotations

ENVELOPE = {
    "specversion": "`1.0`",
    "id": "a UUIDv7 of this message",
    "source": "the process that sent it: `/gateway/…`, `/booking/…`, `/payment/…`",
    "type": "says what it is; a receiver that does not know it sets the entry aside",
    "time": "when it was sent, by the sender's own clock",
    "subject": "what it is about, mostly a booking's id: a batch keeps the order of messages about one subject",
    "traceparent": "the W3C trace of the client's request, which goes through every message that follows from it",
    "data": "the message, as a JSON object",
    "correlationid": "of a call its own id, of a reply the call's",
    "replyto": "of a call, the stream of the gateway that waits for the reply",
}
# Of each stream its title and what it is for.
STREAMS = {
    "booking.commands": (
        "`booking.commands`",
        "What clients and operators want changed. Each is a call: the gateway waits for the reply.",
    ),
    "booking.queries": (
        "`booking.queries`",
        "What clients and operators want to know. Each is a call, read apart from commands, so that it does "
        "not wait behind a rush of bookings.",
    ),
    "booking.payments": (
        "`booking.payments`",
        "How payments stand. Money never waits behind new bookings.",
    ),
    "payment.intents": (
        "`payment.intents`",
        "New intents: in a rush this is the queue in front of Stripe.",
    ),
    "payment.commands": (
        "`payment.commands`",
        "Everything else that payment has to do. Cancels and refunds never wait behind new intents.",
    ),
    "payment.deferred": (
        "`payment.deferred`",
        "What owners, or the guests of an address, ask of Stripe beyond their share: "
        "[`CreatePaymentIntent`](#createpaymentintent) and [`CancelPaymentIntent`](#cancelpaymentintent) as above. "
        "It waits behind what all others ask, and booking writes to it only while a payment process reads it.",
    ),
    "payment.webhooks": (
        "`payment.webhooks`",
        "Stripe events that could not be applied where they arrived: all during an outage of Postgres, one that "
        "failed alone, and those that come faster than they are applied.",
    ),
    "notifications": (
        "Notifications, in inboxes",
        "Written to `inbox:{gateway}` of each gateway that listens for one of the topics, and to `notifications` "
        "for gateways of the release before. Nobody acknowledges it: it repeats what is in the database, with a "
        "version.",
    ),
    "": (
        "Replies, in inboxes",
        "Written to the `inbox:{gateway}` that the call named in `replyto`.",
    ),
}
# Messages that code of all processes makes or takes: by message and file, the process that does.
VIA = {
    ("Reply", "common/messaging/envelope.py"): "booking",
    ("Reply", "common/messaging/listener.py"): "gateway",
    ("PaymentReportsApplied", "common/contracts/messages/payment.py"): "booking",
}
# What a message is for, where its docstring speaks of its fields alone, or there is none.
MESSAGES = {
    "CreateBooking": "A client wants seats: they are held, or sold where they cost nothing. Under an id that "
    "is there already it is answered with that booking, or refused where the content is another",
    "CancelBooking": "A customer or an operator cancels a booking",
    "CreateEvent": "An operator makes an event with its ticket types",
    "UpdateEvent": "An operator changes an event",
    "CancelEvent": "An operator cancels an event: nothing is sold any more, and its bookings are cancelled",
    "GetBooking": "A booking as it is now",
    "ListBookings": "A page of bookings",
    "ListEvents": "A page of events",
    "GetEvent": "An event as it is now, with the seats that are left",
}
# By field, for where the code says nothing; by class and field, for what it does not say there.
FIELDS = {
    "amount": "What the booking costs",
    "amount_captured": "The money that came in",
    "amount_refunded": "What of it has gone back and arrived",
    "available": "How many seats are free",
    "booking": "The booking",
    "booking_amount": "What the booking costs",
    "booking_currency": "The booking's currency",
    "booking_id": "The booking that it is about",
    "cancel_after_start": "Whether customers may cancel after the start",
    "cancel_until": "Until when a customer may cancel a booking that is paid; null: never",
    "capacity": "How many seats there are, sold and held ones included",
    "client_secret": "What the customer's browser pays by; null when the payment has ended",
    "code": "Stripe's code of the error",
    "code_hash": "SHA-256 of the recovery code",
    "created_at": "When it was made",
    "created_before": "None that was made then or later",
    "created_from": "None that was made before",
    "currency": "By ISO 4217, in lower case",
    "decline_code": "The bank's reason",
    "event_id": "The event",
    "extra": "More members of the problem document",
    "detail": "What the client gets beside the error's title",
    "error": "The error's code, of `common/contracts/errors.py`; null where it went well",
    "held": "Seats of pending bookings",
    "id": "Its id",
    "intent_id": "Stripe's id of the PaymentIntent",
    "items": "How many seats of which ticket types",
    "last_error": "Why the last attempt to pay failed",
    "limit": "How many there are on a page at most",
    "max_per_booking": "The most seats of one booking",
    "max_per_owner": "The most seats of one owner, over all bookings",
    "message": "Stripe's text for the customer",
    "name": "Its title",
    "on_sale": "Whether seats are sold at all: the operators' switch",
    "owner": "The subject of the token that made, or makes, the booking",
    "payment": "How its money stands",
    "payment_methods": "Which payment methods are offered",
    "quantity": "How many seats",
    "reason": "Why it is not, or no longer, confirmed",
    "sales_end": "From then on nothing is sold; null: it follows the start",
    "sales_start": "Before it nothing is sold; null: at once",
    "sell_after_start": "Whether seats are sold after the start",
    "slow_payments_until": "New bookings from then on are offered instant methods alone; null: from three "
    "weeks before the start",
    "sold": "Seats of confirmed bookings",
    "starts_at": "When it starts",
    "status": "Where it is in its life",
    "subject": "The subject of the operator's token",
    "ticket_type_id": "The ticket type",
    "ticket_types": "Its ticket types, in their order",
    "time_zone": "The venue's, by its IANA name",
    "unit_amount": "The price of one seat",
    "updated_at": "When `version` grew last",
    "version": "The version that was reported",
    "BookingUnknown.amount_captured": "The money that came in, as it was reported",
    "CancelBooking.reason": "Who wants it",
    "CloseStrayIntent.intent_id": "Stripe's id of that intent",
    "CreateBooking.booking_id": "The id that the booking gets: made from the owner and the Idempotency-Key, "
    "else new",
    "CreateEvent.event_id": "The id that the event gets",
    "Dispute.currency": "By ISO 4217, in lower case",
    "Dispute.id": "Stripe's id",
    "Dispute.opened_at": "When it was opened, by Stripe's clock",
    "Dispute.reason": "The customer's reason, by Stripe's names",
    "EventChanged.event": "The event as customers see it",
    "EventChanged.operators": "The event as operators see it; null from a process of an older release",
    "KeepRecoveryCode.owner": "The guest's subject",
    "ListBookings.before": "Those behind this position: time and id of the last one of the page before",
    "ListBookings.event_id": "Of this event alone",
    "ListBookings.owner": "Of this owner alone",
    "ListBookings.payment": "Whose money stands so",
    "ListBookings.status": "With this status alone",
    "PaymentReportsApplied.reports": "One of each booking",
    "OperatorCommand.request": "By what a repeated request is known",
    "PaymentState.disputed": "A bank has, or may get, the money back",
    "PaymentState.refund_failed": "A refund has failed, and nothing has made it good",
    "PaymentState.refund_ids": "Our ids of all its refunds, those that failed included",
    "PaymentState.refund_pending": "A refund is neither made nor failed yet",
    "PaymentState.status": "Stripe's status of the intent",
    "PaymentState.version": "Grows by one with each change that is reported to the booking",
    "PaymentSummary.status": "How the money stands",
    "Progress.cancelled": "How many of them are cancelled for it",
    "Progress.refunds": "What becomes of their money",
    "QueueMoved.places": "Of some bookings: how many are before, when it was made, and its id",
    "QueueMoved.deferred": "The same of deferred bookings, which are behind all others",
    "QueueMoved.total": "How many bookings wait",
    "RefundBooking.amount": "How much goes back; null: all that is left",
    "RefundPayment.amount": "How much goes back; of a whole refund, what the sender knows of it",
    "RefundPayment.whole": "It is for all that is left",
    "RefundRetry.asked_at": "When the operator asked",
    "RevokeTokens.claim": "By which claim the tokens are known",
    "RevokeTokens.value": "The token's id, or the subject",
    "TokensRevoked.revocation": "Which, and until when they would have been good",
    "RefundRetry.id": "Made from the operator's Idempotency-Key",
    "RefundRetry.succeeded": "Given back",
    "Refunds.succeeded": "Given back in full",
    "Reply.result": "The answer, where it went well",
    "RequestPayment.owner": "Whose booking it must be",
    "StripeEventReceived.payload": "Stripe's event, as JSON in a string",
    "TicketTypeChange.capacity": "How many seats there are from now on",
    "TicketTypeChange.name": "Its new title",
    "TicketTypeChange.unit_amount": "The price of one seat for bookings from now on",
    "UpdateEvent.changes": "What changes of the event itself",
    "UpdateEvent.ticket_types": "Changes of ticket types, and new ones",
    "UseRecoveryCode.request_hash": "SHA-256 of `code_hash` and the Idempotency-Key: by it a repeated request is "
    "known",
}
