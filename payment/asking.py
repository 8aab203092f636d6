"""What a handler asks of Stripe outside any transaction, and what may come of it."""

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

# How far our clock and Stripe's may be apart: five minutes, and as much again to be sure.
CLOCKS_APART = timedelta(minutes=10)
# By idempotency key, how far Stripe's list of intents was gone through: in a rush it is longer than what can be
# read in the time of one message, and the next one goes on there. A new process begins anew.
Walks = dict[str, str]
# So many of them one process keeps; the oldest go first.
WALKS_MAX = 10_000

log = structlog.get_logger()
T = TypeVar("T")
P = ParamSpec("P")


class Nothing(Enum):
    """An answer that brings nothing to take over."""

    UNANSWERED = "unanswered"  # ask again later
    REFUSED = "refused"  # Stripe does not show the object either: for people to see to, and asked again much later
    NEW_KEY = "new key"  # Stripe has nothing under the spent key: ask again under another


@dataclass(frozen=True, slots=True)
class Whole:
    """A payment as Stripe has it, fetched: None where there was nothing to ask for."""

    picture: Picture
    refunds: Sequence[RefundPicture] | None
    disputes: Sequence[Dispute] | None


@dataclass(frozen=True, slots=True)
class NotMade:
    """Stripe has not made the refund under this key: it refused (`code`), or has nothing under the spent key.
    `pictures` are all refunds of the intent, read after that; None where Stripe refused to list them."""

    pictures: Sequence[RefundPicture] | None
    code: str | None = None


async def side_by_side(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results, in order. An error is raised when all have ended, so that none goes on unseen."""
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
    """Answers Nothing where Stripe does not answer, or refuses even to show what there is, which is logged as
    `refused`."""

    def decorated(ask: Asking[P, T]) -> Asking[P, T | Nothing]:
        @wraps(ask)
        async def asked(stripe: StripeApi, of: Payment, /, *args: P.args, **options: P.kwargs) -> T | Nothing:
            try:
                return await ask(stripe, of, *args, **options)
            except (Unanswered, KeySpent):
                return Nothing.UNANSWERED
            except Refused as refusal:
                # Another account's key, or a ledger that has forgotten it: for people to see to.
                log.error(refused, booking=str(of.booking_id), code=refusal.code, reason=refusal.message)
                return Nothing.REFUSED

        return asked

    return decorated


# --- intents


@classified("list refused")
async def make_intent(
    stripe: StripeApi, payment: Payment, installation: UUID, now: datetime, deadline: float, walks: Walks
) -> Picture | PaymentError | Nothing:
    """Stripe's intent for the booking: the one that it has, else a new one. A PaymentError: it refuses."""
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
    """By which an object is known as ours (`pictures.py`)."""
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
    """The intent that an earlier request made without our hearing of it, if it did. A walk that goes on does not
    see what was made since it began, and need not: the key is spent.

    Listed, not searched for: Stripe's search lags behind (https://docs.stripe.com/search#data-freshness).
    """
    # One that the first key made is no younger than that key's life.
    first = int((payment.asked_at - CLOCKS_APART).timestamp())
    last = int((payment.asked_at + KEY_LIFE + CLOCKS_APART).timestamp())
    after = walks.pop(payment.idempotency_key, None)
    created = {"gte": first, "lte": last}
    try:
        async for page in stripe.list_all("/v1/payment_intents", created=created, after=after, deadline=deadline):
            for intent in page:
                # One of before installations had ids names none.
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
    """The intent after it was asked to be canceled: as it is where Stripe will not. Safe to repeat by its nature:
    https://docs.stripe.com/api/payment_intents/cancel."""
    assert payment.intent_id is not None
    path = f"/v1/payment_intents/{payment.intent_id}/cancel"
    try:
        answer = await stripe.ask("cancel_intent", "post", path, deadline=deadline)
        return read_intent(answer.body, Source.FETCHED, answer.asked_at)
    except Refused as refusal:
        if refusal.intent is not None:
            return read_intent(refusal.intent, Source.FETCHED, None, payment.version)
    # The refusal did not show it, and what is known of it may be old.
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
    # Of one that has failed the charge says nothing: also where the money itself is news, or something is in
    # doubt, as by news of a refund that came before the news of its money.
    doubtful = payment.look_after is not None and picture.amount_captured > 0
    unheard = doubtful or picture.amount_captured > payment.amount_captured
    if payment.refunds or charge.get("amount_refunded") or unheard:
        pictures = await _list_refunds(stripe, payment, deadline)
    if charge.get("disputed") or payment.dispute_status is not None:
        # All of them, as they were when the intent was asked for or later: what comes after that is younger.
        pages = stripe.list_all("/v1/disputes", payment_intent=payment.intent_id, deadline=deadline)
        disputes = [read_dispute(dispute, answer.asked_at) async for page in pages for dispute in page]
    return Whole(picture, pictures, disputes)


# --- refunds


@classified("list refused")
async def make_refund(
    stripe: StripeApi, payment: Payment, refund: Refund, installation: UUID, now: datetime, deadline: float
) -> RefundPicture | NotMade:
    """Stripe's refund for ours; or what Stripe has of the intent's refunds, where it has not made it."""
    code = None
    if now - refund.asked_at < KEY_LIFE:
        try:
            return read_refund((await create_refund(stripe, payment, refund, installation, deadline)).body)
        except Refused as refusal:
            # Stripe names no code where the amount is too large: https://docs.stripe.com/api/errors#errors-param.
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
    # It may have been made under an earlier key, and its answer lost.
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
    # Oldest first: what was made by hand is added in the order in which it was made.
    return [read_refund(refund) async for page in pages for refund in page][::-1]
