"""The requests to Stripe that handlers make outside any transaction, and their results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

import structlog

from common.contracts.values import Rejection
from common.runtime.outages import RedisOutage
from payment.disputes import Dispute
from payment.domain import KEY_LIFE, RECEIPT_EMAIL, key_is_spent
from payment.methods import offered
from payment.rate_limiter import Priority
from payment.refunds import AMOUNT_TOO_LARGE, Refund, RefundSnapshot
from payment.state import IntentSnapshot, Payment, Source, numbered_key
from payment.stripe_api import Answer, StripeApi
from payment.stripe_errors import IdempotencyKeySpent, OutcomeUnknown, Refused
from payment.stripe_objects import (
    BOOKING_ID,
    EVENT_ID,
    INSTALLATION,
    REFUND_ID,
    installation_of,
    own_id,
    read_dispute,
    read_intent,
    read_refund,
)

# The most that our clock and Stripe's may differ: 5 minutes, doubled for safety.
CLOCKS_APART = timedelta(minutes=10)
# By idempotency key, the last intent of Stripe's list that was read. In a rush the list is too long to be read in
# the time of one message, and the next message continues there. A new process begins again.
Walks = dict[str, str]
# The most walks that a process keeps, so that its memory is bounded; the oldest are dropped first.
WALKS_MAX = 10_000

log = structlog.get_logger()
T = TypeVar("T")
P = ParamSpec("P")


class NoAnswer(Enum):
    """An answer without a snapshot to apply."""

    OUTCOME_UNKNOWN = "unanswered"  # retry later
    REFUSED = "refused"  # Stripe refuses even to show the object: an operator must act; retry much later
    NEW_KEY = "new key"  # Stripe has nothing for the spent key: retry with another one


@dataclass(frozen=True, slots=True)
class FetchedPayment:
    """Everything that Stripe has of a payment, fetched. None: there was no reason to ask for these."""

    intent: IntentSnapshot
    refunds: Sequence[RefundSnapshot] | None
    disputes: Sequence[Dispute] | None


@dataclass(frozen=True, slots=True)
class NotMade:
    """Stripe has not made the refund with this key: it refused (`code`), or has nothing for the spent key.
    `snapshots` are all refunds of the intent, read after that; None where Stripe refused to list them."""

    snapshots: Sequence[RefundSnapshot] | None
    code: str | None = None


async def side_by_side(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results, in order. An error is raised only when all calls have ended, so that none runs on unobserved."""
    begun = list(calls)
    if len(begun) == 1:  # without a task of its own
        return [await begun[0]]
    results = await asyncio.gather(*begun, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


StripeCall = Callable[Concatenate[StripeApi, Payment, P], Awaitable[T]]


def classified(refused: str) -> Callable[[StripeCall[P, T]], StripeCall[P, T | NoAnswer]]:
    """Makes a call return NoAnswer if Stripe does not answer, or refuses even to show the object, which is logged
    as `refused`."""

    def decorated(call: StripeCall[P, T]) -> StripeCall[P, T | NoAnswer]:
        @wraps(call)
        async def classified_call(
            stripe: StripeApi, of: Payment, /, *args: P.args, **options: P.kwargs
        ) -> T | NoAnswer:
            try:
                return await call(stripe, of, *args, **options)
            except (OutcomeUnknown, IdempotencyKeySpent):
                return NoAnswer.OUTCOME_UNKNOWN
            except Refused as refusal:
                # The key is of another account, or Stripe does not have the object any more: an operator must act.
                log.error(refused, booking=str(of.booking_id), code=refusal.code, reason=refusal.message)
                return NoAnswer.REFUSED

        return classified_call

    return decorated


# --- intents


@classified("list refused")
async def make_intent(
    stripe: StripeApi,
    payment: Payment,
    installation: UUID,
    now: datetime,
    deadline: float,
    walks: Walks,
    priority: Priority = Priority.INTENTS,
) -> IntentSnapshot | Rejection | NoAnswer:
    """Stripe's intent for the booking: the one that it has, else a new one. A Rejection if Stripe refuses."""
    if not key_is_spent(payment, now):
        try:
            answer = await create_intent(stripe, payment, installation, deadline, priority)
            return read_intent(answer.body, Source.CREATED, answer.at)
        except Refused as refusal:
            return Rejection(refusal.code, refusal.message, refusal.param, refusal.request_id)
        except IdempotencyKeySpent:
            log.warning("intent looked up", booking=str(payment.booking_id))
    return await _find_intent(stripe, payment, installation, deadline, walks)


def _metadata(payment: Payment, installation: UUID, name: str, id: UUID | None) -> dict[str, str]:
    """The metadata by which an object is recognised as ours (`stripe_objects.py`)."""
    return {BOOKING_ID: str(payment.booking_id), name: str(id), INSTALLATION: str(installation)}


async def create_intent(
    stripe: StripeApi,
    payment: Payment,
    installation: UUID,
    deadline: float,
    priority: Priority = Priority.INTENTS,
) -> Answer:
    """https://docs.stripe.com/api/payment_intents/create"""
    return await stripe.call(
        "create_intent",
        "post",
        "/v1/payment_intents",
        priority=priority,
        deadline=deadline,
        amount=payment.amount,
        currency=payment.currency,
        **offered(payment.payment_methods),
        **_described(payment),
        metadata=_metadata(payment, installation, EVENT_ID, payment.event_id),
        idempotency_key=payment.idempotency_key,
    )


def _described(payment: Payment) -> dict[str, str]:
    """What the customer and operators read; nothing of it in a payment of a release that had none."""
    found = {"description": payment.description, RECEIPT_EMAIL: payment.receipt_email}
    return {name: value for name, value in found.items() if value is not None}


async def _find_intent(
    stripe: StripeApi, payment: Payment, installation: UUID, deadline: float, walks: Walks
) -> IntentSnapshot | NoAnswer:
    """The intent that an earlier request created although its answer was lost, if there is one. A walk that
    continues does not see intents created since it began, and need not: the key is spent.

    It reads the list, because Stripe's search lags behind (https://docs.stripe.com/search#data-freshness).
    """
    # An intent created with this key was created during the key's life.
    first = int((payment.asked_at - CLOCKS_APART).timestamp())
    last = int((payment.asked_at + KEY_LIFE + CLOCKS_APART).timestamp())
    after = walks.pop(payment.idempotency_key, None)
    created = {"gte": first, "lte": last}
    try:
        async for page in stripe.list_all("/v1/payment_intents", created=created, after=after, deadline=deadline):
            for intent in page:
                # An intent from before installations had ids names none.
                ours = installation_of(intent) in (None, str(installation))
                if ours and own_id(intent, BOOKING_ID) == payment.booking_id:
                    return read_intent(intent, Source.FETCHED, None)
            after = page[-1]["id"] if page else after
    except (OutcomeUnknown, RedisOutage):
        if after is not None:
            walks[payment.idempotency_key] = after
            if len(walks) > WALKS_MAX:
                del walks[next(iter(walks))]
        raise
    return NoAnswer.NEW_KEY


@classified("cancel refused")
async def cancel_intent(
    stripe: StripeApi, payment: Payment, deadline: float, priority: Priority = Priority.MONEY
) -> IntentSnapshot:
    """The intent after the request to cancel it, canceled or not. It is safe to repeat without an idempotency key:
    https://docs.stripe.com/api/payment_intents/cancel."""
    assert payment.intent_id is not None
    path = f"/v1/payment_intents/{payment.intent_id}/cancel"
    try:
        answer = await stripe.call("cancel_intent", "post", path, priority=priority, deadline=deadline)
        return read_intent(answer.body, Source.FETCHED, answer.asked_at)
    except Refused as refusal:
        if refusal.intent is not None:
            return read_intent(refusal.intent, Source.FETCHED, None, payment.version)
    # The refusal did not contain the intent, and the row may be old.
    answer = await stripe.retrieve_intent(payment.intent_id, deadline=deadline)
    return read_intent(answer.body, Source.FETCHED, answer.asked_at, payment.version)


@classified("retrieve refused")
async def fetch(stripe: StripeApi, payment: Payment, deadline: float) -> FetchedPayment:
    """Everything that Stripe has of the payment."""
    assert payment.intent_id is not None
    answer = await stripe.retrieve_intent(payment.intent_id, deadline=deadline)
    intent = read_intent(answer.body, Source.FETCHED, answer.asked_at, payment.version)
    charge = answer.body.get("latest_charge") or {}
    refunds = disputes = None
    # A charge does not show failed refunds. So list them also when the captured money is new to us, or after a
    # conflict, for example a Stripe event of a refund that came before the one of its payment.
    conflicting = payment.check_at is not None and intent.amount_captured > 0
    incomplete = conflicting or intent.amount_captured > payment.amount_captured
    if payment.refunds or charge.get("amount_refunded") or incomplete:
        refunds = await _list_refunds(stripe, payment, deadline)
    if charge.get("disputed") or payment.dispute_status is not None:
        # They get the time at which the intent was asked for: they are as they were then or later, and a Stripe
        # event of a later change is newer.
        pages = stripe.list_all("/v1/disputes", payment_intent=payment.intent_id, deadline=deadline)
        disputes = [read_dispute(dispute, answer.asked_at) async for page in pages for dispute in page]
    return FetchedPayment(intent, refunds, disputes)


# --- refunds


@classified("list refused")
async def make_refund(
    stripe: StripeApi, payment: Payment, refund: Refund, installation: UUID, now: datetime, deadline: float
) -> RefundSnapshot | NotMade:
    """The snapshot of our refund at Stripe; or all refunds of the intent, if Stripe has not made ours."""
    code = None
    if now - refund.asked_at < KEY_LIFE:
        try:
            return read_refund((await create_refund(stripe, payment, refund, installation, deadline)).body)
        except Refused as refusal:
            # Stripe names no code if the amount is too large: https://docs.stripe.com/api/errors#errors-param.
            code = AMOUNT_TOO_LARGE if refusal.param == "amount" else refusal.code
            log.warning("refund refused", refund=str(refund.id), code=code, reason=refusal.message)
        except IdempotencyKeySpent:
            log.warning("refund looked up", refund=str(refund.id))
    try:
        snapshots = await _list_refunds(stripe, payment, deadline)
    except Refused as refusal:
        log.error("list refused", booking=str(payment.booking_id), code=refusal.code, reason=refusal.message)
        return NotMade(None, code or refusal.code)
    mine = [snapshot for snapshot in snapshots if snapshot.refund_id == refund.id]
    # It may have been made with an earlier key whose answer was lost.
    return mine[-1] if mine else NotMade(snapshots, code)


async def create_refund(
    stripe: StripeApi, payment: Payment, refund: Refund, installation: UUID, deadline: float
) -> Answer:
    """https://docs.stripe.com/api/refunds/create"""
    return await stripe.call(
        "create_refund",
        "post",
        "/v1/refunds",
        deadline=deadline,
        payment_intent=payment.intent_id,
        amount=refund.amount,
        metadata=_metadata(payment, installation, REFUND_ID, refund.id),
        idempotency_key=numbered_key(refund.id, refund.key_number),
    )


async def _list_refunds(stripe: StripeApi, payment: Payment, deadline: float) -> list[RefundSnapshot]:
    pages = stripe.list_all("/v1/refunds", payment_intent=payment.intent_id, deadline=deadline)
    # Oldest first, so that refunds made by hand are added in the order in which they were made.
    return [read_refund(refund) async for page in pages for refund in page][::-1]
