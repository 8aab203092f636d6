"""Stripe's JSON is read: snapshots of intents, refunds and disputes, and the Stripe events with them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from common.contracts.statuses import IntentStatus
from common.contracts.values import PaymentError
from payment.disputes import Dispute
from payment.refunds import RefundSnapshot, RefundStatus
from payment.state import TERMINAL, Attempt, IntentSnapshot, Source

# Statuses of an intent that cannot be paid any more. A list, because it may be compared with an unhashable value.
SPENT = [status.value for status in TERMINAL]
# The metadata with our ids in an object at Stripe.
BOOKING_ID, EVENT_ID, REFUND_ID = "booking_id", "event_id", "refund_id"
# The installation that created the object: several Holdfasts may share one account at Stripe.
INSTALLATION = "holdfast_installation"

# https://docs.stripe.com/api/refunds/object#refund_object-status
REFUND_STATUSES = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}

# The Stripe events that can change a payment: https://docs.stripe.com/api/events/types.
CREATED_TYPE = "payment_intent.created"
FAILED_TYPE = "payment_intent.payment_failed"
EVENT_TYPES = frozenset(
    {
        CREATED_TYPE,
        "payment_intent.processing",
        "payment_intent.requires_action",
        FAILED_TYPE,
        "payment_intent.amount_capturable_updated",
        "payment_intent.succeeded",
        "payment_intent.canceled",
        "charge.refunded",
        "charge.refund.updated",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
    }
)
# The types for which a webhook endpoint must be set up at Stripe. Payment knows itself that an intent was created.
NEEDED_TYPES = tuple(sorted(EVENT_TYPES - {CREATED_TYPE}))

Json = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChargeRefunded:
    """The sum that was refunded of a charge; the charge does not list its refunds."""

    amount_refunded: int


class StripeEvent(NamedTuple):
    """A Stripe event. `snapshot` is its snapshot, None if Holdfast does not use it."""

    id: str
    type: str
    created: datetime
    object_id: str | None
    booking_id: UUID | None
    intent_id: str | None
    snapshot: IntentSnapshot | RefundSnapshot | Dispute | ChargeRefunded | None
    # The installation in its object's metadata: see `orphans.origin_of`.
    installation: str | None = None
    # The connected account that it belongs to; Stripe leaves it out for events of one's own account.
    account: str | None = None


def text(value: Any) -> str:
    """The value if it is a text, else raises ValueError: Postgres would save a list's JSON as a text."""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} where a text belongs")
    return value


def optional(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def integer(value: Any) -> int:
    """The value if it is a whole number, else raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} where a whole number belongs")
    return value


def time_of(seconds: int) -> datetime:
    """The time of one of Stripe's timestamps, which are Unix seconds."""
    return datetime.fromtimestamp(integer(seconds), UTC)


def id_of(value: Any) -> str | None:
    """The id in a field that holds an id, or the whole object if it was expanded."""
    return optional(text, value["id"] if isinstance(value, Mapping) else value)


def own_id(obj: Json, key: str) -> UUID | None:
    """The id in the metadata of an object that we made; None if it is missing or is not an id of ours."""
    try:
        return UUID(obj.get("metadata", {})[key])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def installation_of(obj: Json) -> str | None:
    """The installation in the metadata; None if there is none, as in objects from before installations had ids."""
    metadata = obj.get("metadata")
    return optional(text, metadata.get(INSTALLATION)) if isinstance(metadata, Mapping) else None


def read_error(error: Json | None) -> PaymentError | None:
    if not error:
        return None
    return PaymentError(
        text(error.get("code") or error["type"]),
        optional(text, error.get("decline_code")),
        optional(text, error.get("message")),
    )


def _read_attempt(
    intent: Json, error: PaymentError | None, at: datetime | None, event_id: str | None
) -> Attempt | None:
    """The attempt that `error` is about. `event_id`: the Stripe event that reports the failure, with its time `at`.

    Its id is its charge's, which is the same whenever it is shown; without a charge, the id of its event.
    """
    shown = intent.get("last_payment_error") or {}
    charge_id = optional(text, shown.get("charge"))
    id = charge_id or event_id
    if error is None or id is None:
        return None
    if event_id is None:
        # No event of the failure: the time is that of its charge, if the charge is expanded.
        latest = intent.get("latest_charge")
        at = time_of(latest["created"]) if isinstance(latest, Mapping) and latest.get("id") == charge_id else None
    return Attempt(id, error, at)


def read_intent(
    intent: Json,
    source: Source,
    at: datetime | None,
    of_version: int | None = None,
    failed_event: str | None = None,
) -> IntentSnapshot:
    """https://docs.stripe.com/api/payment_intents/object. `failed_event`: the id of the Stripe event that reports a
    failed attempt, if the intent comes from one. Raises KeyError, ValueError if it is no intent."""
    error = read_error(intent.get("last_payment_error"))
    return IntentSnapshot(
        intent_id=text(intent["id"]),
        status=IntentStatus(intent["status"]),
        source=source,
        at=at,
        client_secret=optional(text, intent.get("client_secret")),
        charge_id=id_of(intent.get("latest_charge")),
        amount_captured=integer(intent["amount_received"]),
        last_error=error,
        attempt=_read_attempt(intent, error, at, failed_event),
        of_version=of_version,
        currency=text(intent["currency"]),
        amount=integer(intent["amount"]),
        booking_id=own_id(intent, BOOKING_ID),
        event_id=own_id(intent, EVENT_ID),
        installation=installation_of(intent),
        created=time_of(intent["created"]),
    )


def read_refund(refund: Json) -> RefundSnapshot:
    """https://docs.stripe.com/api/refunds/object."""
    return RefundSnapshot(
        stripe_refund_id=text(refund["id"]),
        amount=integer(refund["amount"]),
        # A status that Stripe adds later counts as not final.
        status=REFUND_STATUSES.get(refund["status"], RefundStatus.PENDING),
        reason=optional(text, refund.get("failure_reason")),
        refund_id=own_id(refund, REFUND_ID),
        pending_reason=optional(text, refund.get("pending_reason")),
        booking_id=own_id(refund, BOOKING_ID),
    )


def read_dispute(dispute: Json, at: datetime) -> Dispute:
    """https://docs.stripe.com/api/disputes/object."""
    details = dispute.get("evidence_details") or {}
    return Dispute(
        id=text(dispute["id"]),
        status=text(dispute["status"]),
        seen_at=at,
        charge_id=id_of(dispute.get("charge")),
        amount=optional(integer, dispute.get("amount")),
        currency=optional(text, dispute.get("currency")),
        reason=optional(text, dispute.get("reason")),
        opened_at=optional(time_of, dispute.get("created")),
        # Zero or null if no answer is possible.
        respond_by=optional(time_of, details.get("due_by") or None),
    )


def without_spent_secret(event: Json) -> Json:
    """The Stripe event without the client secret of an intent that cannot be paid any more: a stored event, as in a
    dead letter, must not keep a secret longer than its payment needs it."""
    data = event["data"]
    obj = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(obj, Mapping) or "client_secret" not in obj or obj.get("status") not in SPENT:
        return event
    kept = {name: value for name, value in obj.items() if name != "client_secret"}
    return {**event, "data": {**data, "object": kept}}


def read_event(event: Json) -> StripeEvent:
    """https://docs.stripe.com/api/events/object. Raises KeyError, ValueError if it is no Stripe event."""
    kind = text(event["type"])
    created = time_of(event["created"])
    obj: Json = event["data"]["object"]
    of = obj.get("object")
    snapshot: IntentSnapshot | RefundSnapshot | Dispute | ChargeRefunded | None = None
    if of == "payment_intent" and kind.startswith("payment_intent."):
        source = Source.CREATED if kind == CREATED_TYPE else Source.EVENT
        snapshot = read_intent(obj, source, created, failed_event=event["id"] if kind == FAILED_TYPE else None)
    elif of == "refund":
        snapshot = read_refund(obj)
    elif of == "dispute":
        snapshot = read_dispute(obj, created)
    elif kind == "charge.refunded":
        snapshot = ChargeRefunded(integer(obj["amount_refunded"]))
    return StripeEvent(
        id=text(event["id"]),
        type=kind,
        created=created,
        object_id=optional(text, obj.get("id")),
        booking_id=own_id(obj, BOOKING_ID),
        intent_id=obj["id"] if of == "payment_intent" else id_of(obj.get("payment_intent")),
        snapshot=snapshot,
        installation=installation_of(obj),
        account=optional(text, event.get("account")),
    )
