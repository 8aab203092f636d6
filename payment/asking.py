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

from common.contracts.values import PaymentError
from common.runtime.outages import RedisAway
from payment.disputes import Dispute
from payment.domain import KEY_LIFE, key_is_spent
from payment.methods import offered
from payment.pacing import Lane
from payment.pictures import (
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
from payment.refunds import AMOUNT_TOO_LARGE, Refund, RefundPicture
from payment.state import Payment, Picture, Source, numbered_key
from payment.stripe_api import Answer, StripeApi
from payment.stripe_errors import KeySpent, Refused, Unanswered

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


class Nothing(Enum):
    """An answer without a snapshot to apply."""

    UNANSWERED = "unanswered"  # retry later
    REFUSED = "refused"  # Stripe refuses even to show the object: an operator must act; retry much later
    NEW_KEY = "new key"  # Stripe has nothing for the spent key: retry with another one


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything that Stripe has of a payment, fetched. None: there was no reason to ask for these."""

    picture: Picture
    refunds: Sequence[RefundPicture] | None
    disputes: Sequence[Dispute] | None


@dataclass(frozen=True, slots=True)
class NotMade:
    """Stripe has not made the refund with this key: it refused (`code`), or has nothing for the spent key.
    `pictures` are all refunds of the intent, read after that; None where Stripe refused to list them."""

    pictures: Sequence[RefundPicture] | None
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


Asking = Callable[Concatenate[StripeApi, Payment, P], Awaitable[T]]


def classified(refused: str) -> Callable[[Asking[P, T]], Asking[P, T | Nothing]]:
    """Makes a call return Nothing if Stripe does not answer, or refuses even to show the object, which is logged
    as `refused`."""

    def decorated(ask: Asking[P, T]) -> Asking[P, T | Nothing]:
        @wraps(ask)
        async def asked(stripe: StripeApi, of: Payment, /, *args: P.args, **options: P.kwargs) -> T | Nothing:
            try:
                return await ask(stripe, of, *args, **options)
            except (Unanswered, KeySpent):
                return Nothing.UNANSWERED
            except Refused as refusal:
                # The key is of another account, or Stripe does not have the object any more: an operator must act.
                log.error(refused, booking=str(of.booking_id), code=refusal.code, reason=refusal.message)
                return Nothing.REFUSED

        return asked

    return decorated


# --- intents


@classified("list refused")
async def make_intent(
    stripe: StripeApi, payment: Payment, installation: UUID, now: datetime, deadline: float, walks: Walks
) -> Picture | PaymentError | Nothing:
    """Stripe's intent for the booking: the one that it has, else a new one. A PaymentError if Stripe refuses."""
    if not key_is_spent(payment, now):
        try:
            answer = await create_intent(stripe, payment, installation, deadline)
            return read_intent(answer.body, Source.CREATED, answer.at)
        except Refused as refusal:
            return PaymentError(refusal.code, message=refusal.message)
        except KeySpent:
            log.warning("intent looked up", booking=str(payment.booking_id))
    return await _find_intent(stripe, payment, installation, deadline, walks)


def _metadata(payment: Payment, installation: UUID, name: str, id: UUID | None) -> dict[str, str]:
    """The metadata by which an object is recognised as ours (`pictures.py`)."""
    return {BOOKING_ID: str(payment.booking_id), name: str(id), INSTALLATION: str(installation)}


async def create_intent(stripe: StripeApi, payment: Payment, installation: UUID, deadline: float) -> Answer:
    """https://docs.stripe.com/api/payment_intents/create"""
    return await stripe.ask(
        "create_intent",
        "post",
        "/v1/payment_intents",
        lane=Lane.INTENTS,
        deadline=deadline,
        amount=payment.amount,
        currency=payment.currency,
        **offered(payment.payment_methods),
        metadata=_metadata(payment, installation, EVENT_ID, payment.event_id),
        idempotency_key=payment.idempotency_key,
    )


async def _find_intent(
    stripe: StripeApi, payment: Payment, installation: UUID, deadline: float, walks: Walks
) -> Picture | Nothing:
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
    except (Unanswered, RedisAway):
        if after is not None:
            walks[payment.idempotency_key] = after
            if len(walks) > WALKS_MAX:
                del walks[next(iter(walks))]
        raise
    return Nothing.NEW_KEY


@classified("cancel refused")
async def cancel_intent(stripe: StripeApi, payment: Payment, deadline: float) -> Picture:
    """The intent after the request to cancel it, canceled or not. It is safe to repeat without an idempotency key:
    https://docs.stripe.com/api/payment_intents/cancel."""
    assert payment.intent_id is not None
    path = f"/v1/payment_intents/{payment.intent_id}/cancel"
    try:
        answer = await stripe.ask("cancel_intent", "post", path, deadline=deadline)
        return read_intent(answer.body, Source.FETCHED, answer.asked_at)
    except Refused as refusal:
        if refusal.intent is not None:
            return read_intent(refusal.intent, Source.FETCHED, None, payment.version)
    # The refusal did not contain the intent, and the row may be old.
    answer = await stripe.retrieve_intent(payment.intent_id, deadline=deadline)
    return read_intent(answer.body, Source.FETCHED, answer.asked_at, payment.version)


@classified("retrieve refused")
async def fetch(stripe: StripeApi, payment: Payment, deadline: float) -> Whole:
    """Everything that Stripe has of the payment."""
    assert payment.intent_id is not None
    answer = await stripe.retrieve_intent(payment.intent_id, deadline=deadline)
    picture = read_intent(answer.body, Source.FETCHED, answer.asked_at, payment.version)
    charge = answer.body.get("latest_charge") or {}
    pictures = disputes = None
    # A charge does not show failed refunds. So list them also when the captured money is new to us, or after a
    # conflict, for example a Stripe event of a refund that came before the one of its payment.
    doubtful = payment.look_after is not None and picture.amount_captured > 0
    unheard = doubtful or picture.amount_captured > payment.amount_captured
    if payment.refunds or charge.get("amount_refunded") or unheard:
        pictures = await _list_refunds(stripe, payment, deadline)
    if charge.get("disputed") or payment.dispute_status is not None:
        # They get the time at which the intent was asked for: they are as they were then or later, and a Stripe
        # event of a later change is newer.
        pages = stripe.list_all("/v1/disputes", payment_intent=payment.intent_id, deadline=deadline)
        disputes = [read_dispute(dispute, answer.asked_at) async for page in pages for dispute in page]
    return Whole(picture, pictures, disputes)


# --- refunds


@classified("list refused")
async def make_refund(
    stripe: StripeApi, payment: Payment, refund: Refund, installation: UUID, now: datetime, deadline: float
) -> RefundPicture | NotMade:
    """The snapshot of our refund at Stripe; or all refunds of the intent, if Stripe has not made ours."""
    code = None
    if now - refund.asked_at < KEY_LIFE:
        try:
            return read_refund((await create_refund(stripe, payment, refund, installation, deadline)).body)
        except Refused as refusal:
            # Stripe names no code if the amount is too large: https://docs.stripe.com/api/errors#errors-param.
            code = AMOUNT_TOO_LARGE if refusal.param == "amount" else refusal.code
            log.warning("refund refused", refund=str(refund.id), code=code, reason=refusal.message)
        except KeySpent:
            log.warning("refund looked up", refund=str(refund.id))
    try:
        pictures = await _list_refunds(stripe, payment, deadline)
    except Refused as refusal:
        log.error("list refused", booking=str(payment.booking_id), code=refusal.code, reason=refusal.message)
        return NotMade(None, code or refusal.code)
    mine = [picture for picture in pictures if picture.refund_id == refund.id]
    # It may have been made with an earlier key whose answer was lost.
    return mine[-1] if mine else NotMade(pictures, code)


async def create_refund(
    stripe: StripeApi, payment: Payment, refund: Refund, installation: UUID, deadline: float
) -> Answer:
    """https://docs.stripe.com/api/refunds/create"""
    return await stripe.ask(
        "create_refund",
        "post",
        "/v1/refunds",
        deadline=deadline,
        payment_intent=payment.intent_id,
        amount=refund.amount,
        metadata=_metadata(payment, installation, REFUND_ID, refund.id),
        idempotency_key=numbered_key(refund.id, refund.key_number),
    )


async def _list_refunds(stripe: StripeApi, payment: Payment, deadline: float) -> list[RefundPicture]:
    pages = stripe.list_all("/v1/refunds", payment_intent=payment.intent_id, deadline=deadline)
    # Oldest first, so that refunds made by hand are added in the order in which they were made.
    return [read_refund(refund) async for page in pages for refund in page][::-1]
