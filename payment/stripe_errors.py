"""What Stripe's errors mean: an unknown result, a spent key, or a refusal. Pure."""

from __future__ import annotations

import stripe
import structlog

from payment.stripe_objects import Json

# The pause after a 429 without Retry-After, as Stripe's limits are per second; and the longest pause accepted.
RETRY_AFTER_S = 1.0
RETRY_AFTER_MAX_S = 60.0

log = structlog.get_logger()


class StripeFailure(Exception):
    """A call without a usable answer. `outcome` is its name in metrics and logs."""

    outcome = "unanswered"


class OutcomeUnknown(StripeFailure):
    """The result is unknown: Stripe may have done what was asked. Retry."""


class RateLimited(OutcomeUnknown):
    """Too many requests: nothing was done. The whole fleet must pause for `retry_after_s` seconds."""

    outcome = "limited"

    def __init__(self, description: str, retry_after_s: float) -> None:
        super().__init__(description)
        self.retry_after_s = retry_after_s


class Unauthorized(OutcomeUnknown):
    """Stripe refuses the secret key: nothing was done."""

    outcome = "barred"


class IdempotencyKeySpent(StripeFailure):
    """The idempotency key can give no good answer any more: its first answer was an error, or was for other
    parameters. Read what it has created, if anything, before another key is used."""

    outcome = "spent"


class Refused(StripeFailure):
    """The request is wrong, or the object's state does not allow it: a retry would not help.

    `code` is Stripe's error code; if there is none (as when the balance is too low), the code of its message or the
    class of the error. `param` is the parameter that it is about, `request_id` Stripe's id of the request.
    """

    outcome = "refused"

    def __init__(
        self,
        code: str,
        message: str,
        intent: Json | None,
        param: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.param = param
        self.request_id = request_id
        self.intent = intent  # as it is now, if the error contains it


def failure_of(error: stripe.StripeError, *, may_be_forbidden: bool = False) -> StripeFailure:
    """What an error means: https://docs.stripe.com/api/errors. `may_be_forbidden`: even with a valid key."""
    description = f"{type(error).__name__}: {error}"
    body = error.json_body
    details = body.get("error") if isinstance(body, dict) else None
    details = details if isinstance(details, dict) else {}
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    forbidden = isinstance(error, stripe.PermissionError)
    if isinstance(error, stripe.AuthenticationError) or (forbidden and not may_be_forbidden):
        return Unauthorized(description)
    if details.get("code") == "lock_timeout":
        # 429, but for one object only: https://docs.stripe.com/rate-limits#object-lock-timeouts
        return OutcomeUnknown(description)
    if isinstance(error, stripe.RateLimitError):
        return RateLimited(description, _seconds(headers.get("retry-after")))
    if isinstance(error, stripe.IdempotencyError):
        log.error("idempotency key of other parameters", error=str(error))
        return IdempotencyKeySpent(str(error))
    if forbidden or isinstance(error, (stripe.InvalidRequestError, stripe.CardError)):
        code = error.code or details.get("message_code") or type(error).__name__
        intent, param = details.get("payment_intent"), details.get("param")
        return Refused(str(code), error.user_message or "", intent, param, error.request_id)
    replayed = headers.get("idempotent-replayed") == "true"
    return (
        IdempotencyKeySpent(str(error))
        if replayed and (error.http_status or 0) >= 500
        else OutcomeUnknown(description)
    )


def _seconds(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or RETRY_AFTER_S), 0.0), RETRY_AFTER_MAX_S)
    except ValueError:
        return RETRY_AFTER_S
