"""The one hierarchy of errors: each has a stable code and says whether trying again can help."""

from __future__ import annotations

from typing import Any, ClassVar


class HoldfastError(Exception):
    """Something that a caller is told about, in RFC 9457 terms.

    `code` is stable and part of the API, `status` is its HTTP status, `retryable` says whether the same
    request can succeed later. `extra` are further members of the problem document.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extra = extra


class InvalidRequest(HoldfastError):
    code, status, title = "invalid_request", 422, "The request is not valid"


class MalformedRequest(HoldfastError):
    code, status, title = "malformed_request", 400, "The request cannot be read"


class Unauthorized(HoldfastError):
    code, status, title = "unauthorized", 401, "A valid bearer token is needed"


class Forbidden(HoldfastError):
    code, status, title = "forbidden", 403, "Not allowed"


class NotFound(HoldfastError):
    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(HoldfastError):
    code, status, title = "method_not_allowed", 405, "The method is not allowed here"


class RequestTimeout(HoldfastError):
    code, status, title = "request_timeout", 408, "The body did not arrive in time"


class PayloadTooLarge(HoldfastError):
    code, status, title = "payload_too_large", 413, "The body is too large"


class UnsupportedMediaType(HoldfastError):
    code, status, title = "unsupported_media_type", 415, "The body must be application/json"


class EventNotFound(HoldfastError):
    code, status, title = "event_not_found", 404, "No such event"


class TicketTypeNotFound(HoldfastError):
    code, status, title = "ticket_type_not_found", 404, "No such ticket type at this event"


class TicketTypeRequired(HoldfastError):
    code, status, title = "ticket_type_required", 422, "The event has several ticket types: name one"


class QuantityOverLimit(HoldfastError):
    code, status, title = "quantity_over_limit", 422, "More seats than one booking may have"


class AmountOverLimit(HoldfastError):
    code, status, title = "amount_over_limit", 422, "The booking costs more than one payment may be"


class AmountUnderLimit(HoldfastError):
    code, status, title = "amount_under_limit", 422, "The amount is less than one payment must be"


class AmountOffStep(HoldfastError):
    code, status, title = "amount_off_step", 422, "The amount is no multiple of the currency's smallest step"


class NotOnSale(HoldfastError):
    code, status, title = "not_on_sale", 409, "The event is not on sale"


class SalesNotStarted(HoldfastError):
    code, status, title = "sales_not_started", 409, "The sale of the event has not started"


class SalesEnded(HoldfastError):
    code, status, title = "sales_ended", 409, "The sale of the event has ended"


class SoldOut(HoldfastError):
    code, status, title = "sold_out", 409, "Not enough seats are left"


class PaymentRejected(HoldfastError):
    code, status, title = "payment_rejected", 409, "The payment was refused: the booking has failed"


class PaymentMismatch(HoldfastError):
    code, status, title = "payment_mismatch", 409, "Another amount was paid than was due: it goes back"


class PaymentCanceled(HoldfastError):
    code, status, title = "payment_canceled", 409, "The payment was canceled at Stripe: the booking has ended"


class HoldExpired(HoldfastError):
    code, status, title = "hold_expired", 409, "The seats were not paid in time: the booking has ended"


class EventCancelled(HoldfastError):
    code, status, title = "event_cancelled", 409, "The event is called off: the booking has ended"


class BookingCancelled(HoldfastError):
    code, status, title = "booking_cancelled", 409, "The booking is cancelled"


class IdempotencyKeyReused(HoldfastError):
    code, status, title = "idempotency_key_reused", 422, "The Idempotency-Key belongs to another request"


class PreconditionFailed(HoldfastError):
    """`etag` in `extra` is the present entity tag: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1."""

    code, status, title = "precondition_failed", 412, "It has changed since the version that If-Match names"


class TicketTypesOverLimit(HoldfastError):
    code, status, title = "ticket_types_over_limit", 422, "More ticket types than one event may have"


class NothingToPay(HoldfastError):
    code, status, title = "nothing_to_pay", 409, "There is nothing to pay"


class AmountMismatch(HoldfastError):
    code, status, title = "amount_mismatch", 422, "The amount or currency is not the booking's"


class AmountOverLeft(HoldfastError):
    code, status, title = "amount_over_left", 422, "The amount is more than is left to give back"


class CancellationClosed(HoldfastError):
    code, status, title = "cancellation_closed", 409, "The booking can no longer be cancelled"


class CapacityBelowSold(HoldfastError):
    code, status, title = "capacity_below_sold", 409, "The capacity cannot be less than what is held and sold"


class Conflict(HoldfastError):
    code, status, title = "conflict", 409, "The present state does not allow this"


class TooManyRequests(HoldfastError):
    code, status, title, retryable = "too_many_requests", 429, "Too many requests", True


class Unavailable(HoldfastError):
    code, status, title, retryable = "unavailable", 503, "The service is busy, try again", True


class Timeout(HoldfastError):
    """No answer came in time: the work may still be done (`retryable` with the same key)."""

    code, status, title, retryable = "timeout", 503, "No answer in time, try again", True


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message names the environment variable."""


def _codes(base: type[HoldfastError]) -> dict[str, type[HoldfastError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found |= _codes(child)
    return found


def error_for(code: str, detail: str, extra: dict[str, Any]) -> HoldfastError:
    """The error that a reply's `code` stands for; an unknown code (a newer peer's) is a plain HoldfastError."""
    return ERRORS.get(code, HoldfastError)(detail, **extra)


ERRORS = _codes(HoldfastError)
