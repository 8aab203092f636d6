"""The one tree of errors: each has a stable code and says whether a retry can help."""

from __future__ import annotations

from typing import Any, ClassVar, cast


class HoldfastError(Exception):
    """An error that is a caller's answer, in RFC 9457 terms.

    `code` is stable and part of the API, `status` is its HTTP status, `retryable` says whether the same request can
    succeed later. `extra` are further members of the problem document.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extra = extra


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message names the environment variable."""


# By their codes: all errors that a reply may have.
ERRORS = {HoldfastError.code: HoldfastError}


def _error(code: str, status: int, title: str, *, retryable: bool = False) -> type[HoldfastError]:
    """A class of its own, so that it can be raised and caught, with the code in CamelCase as its name."""
    name = "".join(word.capitalize() for word in code.split("_"))
    values = {"code": code, "status": status, "title": title, "retryable": retryable, "__module__": __name__}
    ERRORS[code] = kind = cast("type[HoldfastError]", type(name, (HoldfastError,), values))
    return kind


# The request itself is wrong, whatever it asks for.
InvalidRequest = _error("invalid_request", 422, "The request is not valid")
MalformedRequest = _error("malformed_request", 400, "The request cannot be read")
Unauthorized = _error("unauthorized", 401, "A valid bearer token is needed")
Forbidden = _error("forbidden", 403, "Not allowed")
GuestProofRefused = _error("guest_proof_refused", 403, "The proof that a new guest needs is missing or was refused")
RecoveryCodeInvalid = _error("recovery_code_invalid", 403, "The recovery code is unknown, expired or was used")
LinkInvalid = _error("link_invalid", 403, "The link is not good, or not any more")
GuestTokenRequired = _error("guest_token_required", 403, "Only a guest's token of this installation can do this")
NotFound = _error("not_found", 404, "Not found")
MethodNotAllowed = _error("method_not_allowed", 405, "The method is not allowed here")
RequestTimeout = _error("request_timeout", 408, "The body did not arrive in time")
PayloadTooLarge = _error("payload_too_large", 413, "The body is too large")
UnsupportedMediaType = _error("unsupported_media_type", 415, "The body is of another media type than is needed")

# New bookings.
EventNotFound = _error("event_not_found", 404, "No such event")
TicketTypeNotFound = _error("ticket_type_not_found", 404, "No such ticket type at this event")
TicketTypeRequired = _error("ticket_type_required", 422, "The event has several ticket types: name one")
QuantityOverLimit = _error("quantity_over_limit", 422, "More seats than one booking may have")
AmountOverLimit = _error("amount_over_limit", 422, "The booking costs more than one payment may be")
AmountUnderLimit = _error("amount_under_limit", 422, "The amount is less than one payment must be")
AmountOffStep = _error("amount_off_step", 422, "The amount is no multiple of the currency's smallest step")
NotOnSale = _error("not_on_sale", 409, "The event is not on sale")
SalesNotStarted = _error("sales_not_started", 409, "The sale of the event has not started")
SalesEnded = _error("sales_ended", 409, "The sale of the event has ended")
OwnerLimitReached = _error("owner_limit_reached", 409, "More seats than one owner may have of this event")
TooManyHolds = _error("too_many_holds", 409, "Too many bookings are waiting to be paid already", retryable=True)
BookingPaused = _error("booking_paused", 409, "Holds were left to expire: wait before booking", retryable=True)
# By these a buyer is refused who has taken what one may have.
BUYER_REFUSED = (OwnerLimitReached, TooManyHolds, BookingPaused)
CodeNotFound = _error("code_not_found", 404, "The event has no such code")
CodeNotValidYet = _error("code_not_valid_yet", 409, "The code is not good yet")
CodeExpired = _error("code_expired", 409, "The code is no longer good")
CodeUsedUp = _error("code_used_up", 409, "The code was used as often as it may be")
CodeOwnerLimitReached = _error(
    "code_owner_limit_reached", 409, "The code was used by its owner as often as it may be"
)
CodeNotApplicable = _error("code_not_applicable", 422, "The code is for none of these seats")
SoldOut = _error("sold_out", 409, "Not enough seats are left")
NotSoldOut = _error("not_sold_out", 409, "Seats are free: book them instead of waiting")
AlreadyWaiting = _error("already_waiting", 409, "The owner waits for this ticket type already, or has an offer")
TooManyWaiting = _error("too_many_waiting", 409, "Too many guests of this address wait for this event already")
OfferMade = _error("offer_made", 409, "An offer was made: it is declined by cancelling its booking")
PriceChanged = _error("price_changed", 409, "The seats cost another amount than was expected: none are held")

# The booking has ended: the reason.
PaymentRejected = _error("payment_rejected", 409, "The payment was refused: the booking has failed")
PaymentMismatch = _error("payment_mismatch", 409, "Another amount was paid than was due: it goes back")
PaymentCanceled = _error("payment_canceled", 409, "The payment was canceled at Stripe: the booking has ended")
HoldExpired = _error("hold_expired", 409, "The seats were not paid in time: the booking has ended")
EventCancelled = _error("event_cancelled", 409, "The event is cancelled: the booking has ended")
BookingCancelled = _error("booking_cancelled", 409, "The booking is cancelled")

# The present state, or an earlier request, does not allow it.
IdempotencyKeyRequired = _error("idempotency_key_required", 400, "The request needs an Idempotency-Key")
IdempotencyKeyReused = _error("idempotency_key_reused", 422, "The Idempotency-Key belongs to another request")
# `etag` in `extra` is the current entity tag: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1.
PreconditionFailed = _error("precondition_failed", 412, "It has changed since the version that If-Match names")
ImageInvalid = _error("image_invalid", 422, "The image cannot be used")
TicketTypesOverLimit = _error("ticket_types_over_limit", 422, "More ticket types than one event may have")
NothingToPay = _error("nothing_to_pay", 409, "There is nothing to pay")
AmountMismatch = _error("amount_mismatch", 422, "The amount or currency is not the booking's")
AmountOverLeft = _error("amount_over_left", 422, "The amount is more than is left to give back")
CancellationClosed = _error("cancellation_closed", 409, "The booking can no longer be cancelled")
CapacityBelowSold = _error("capacity_below_sold", 409, "The capacity cannot be less than what is held and sold")
UsesBelowUsed = _error("uses_below_used", 409, "The code may not be used less often than it already is")
CodeExists = _error("code_exists", 409, "The event has such a code already")
MailNotPossible = _error("mail_not_possible", 409, "This mail cannot be sent about this booking")
NothingToRecover = _error("nothing_to_recover", 409, "The guest has no booking to come back to")
LastTickets = _error("last_tickets", 409, "These are all tickets of the booking: cancel it instead")
Conflict = _error("conflict", 409, "The present state does not allow this")

# At the door.
TicketUsed = _error("ticket_used", 409, "Somebody was let in by this ticket before")
TicketCancelled = _error("ticket_cancelled", 409, "The ticket's booking has ended")
TicketOfAnotherEvent = _error("ticket_of_another_event", 409, "The ticket is for another event")
TicketInvalid = _error("ticket_invalid", 422, "There is no such ticket")
CheckInUndone = _error("check_in_undone", 409, "This check-in was undone: check the ticket in anew")

# A retry can help.
TooManyRequests = _error("too_many_requests", 429, "Too many requests", retryable=True)
Unavailable = _error("unavailable", 503, "The service is busy, try again", retryable=True)
# No reply came in time: the work may still be done (retry it with the same key).
Timeout = _error("timeout", 503, "No answer in time, try again", retryable=True)
