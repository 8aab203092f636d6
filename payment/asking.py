"""What a handler asks of Stripe outside any transaction, and what may come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar
from uuid import UUID

import structlog

from common.contracts.values import PaymentError
from payment.disputes import Dispute
from payment.domain import KEY_LIFE, key_is_spent
from payment.methods import offered
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
from payment.stripe_api import KeySpent, Refused, StripeApi, Unanswered

# How far our clock and Stripe's may be apart: five minutes, and as much again to be sure.
CLOCKS_APART = timedelta(minutes=10)
# Places in Stripe's list that one process keeps.
WALKS_MAX = 10_000

log = structlog.get_logger()
T = TypeVar("T")


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
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


class Walks:
    """How far Stripe's list of intents was gone through for a booking and its key: in a rush it is longer than what
    can be read in the time of one message. The next one goes on there. A new process begins anew."""

    def __init__(self) -> None:
        self._places: dict[tuple[UUID, int], str] = {}

    def place(self, payment: Payment) -> str | None:
        return self._places.get((payment.booking_id, payment.key_number))

    def went(self, payment: Payment, place: str) -> None:
        self.over(payment)  # the newest is the last: the oldest goes first
        self._places[payment.booking_id, payment.key_number] = place
        if len(self._places) > WALKS_MAX:
            del self._places[next(iter(self._places))]

    def over(self, payment: Payment) -> None:
        self._places.pop((payment.booking_id, payment.key_number), None)


async def make_intent(
    stripe: StripeApi, payment: Payment, installation: UUID, now: datetime, deadline: float, walks: Walks
) -> Picture | PaymentError | Nothing:
    """Stripe's intent for the booking: the one that it has, else a new one. A PaymentError: it refuses."""
    try:
        if not key_is_spent(payment, now):
            answer = await stripe.create_intent(
                amount=payment.amount,
                currency=payment.currency,
                offered=offered(payment.payment_methods),
                metadata={
                    BOOKING_ID: str(payment.booking_id),
                    EVENT_ID: str(payment.event_id),
                    INSTALLATION: str(installation),
                },
                key=payment.idempotency_key,
                deadline=deadline,
            )
            return read_intent(answer.body, Source.CREATED, answer.at)
    except Refused as refusal:
        return PaymentError(refusal.code, message=refusal.message)
    except Unanswered:
        return Nothing.UNANSWERED
    except KeySpent:
        log.warning("intent looked up", booking=str(payment.booking_id))
    return await _find_intent(stripe, payment, installation, deadline, walks)


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
    try:
        created, place = {"gte": first, "lte": last}, walks.place(payment)
        pages = stripe.list_all("/v1/payment_intents", created=created, after=place, deadline=deadline)
        async for page in pages:
            for intent in page:
                # One of before installations had ids names none.
                ours = installation_of(intent) in (None, str(installation))
                if ours and own_id(intent, BOOKING_ID) == payment.booking_id:
                    walks.over(payment)
                    return read_intent(intent, Source.FETCHED, None)
            if page:
                walks.went(payment, page[-1]["id"])
    except Unanswered:
        return Nothing.UNANSWERED
    except Refused as refusal:
        log.error("list refused", booking=str(payment.booking_id), code=refusal.code, reason=refusal.message)
        walks.over(payment)
        return Nothing.REFUSED
    walks.over(payment)
    return Nothing.NEW_KEY


async def cancel_intent(stripe: StripeApi, payment: Payment, deadline: float) -> Picture | Nothing:
    """The intent after it was asked to be canceled: as it is where Stripe will not."""
    assert payment.intent_id is not None
    try:
        answer = await stripe.cancel_intent(payment.intent_id, deadline=deadline)
        return read_intent(answer.body, Source.FETCHED, answer.asked_at)
    except Refused as refusal:
        if refusal.intent is not None:
            return read_intent(refusal.intent, Source.FETCHED, None, payment.version)
        return await _look_after_refusal(stripe, payment, refusal, deadline)
    except (Unanswered, KeySpent):
        return Nothing.UNANSWERED


async def _look_after_refusal(
    stripe: StripeApi, payment: Payment, refusal: Refused, deadline: float
) -> Picture | Nothing:
    """The intent as it is, after a refusal that did not show it: what is known of it may be old."""
    assert payment.intent_id is not None
    try:
        answer = await stripe.retrieve_intent(payment.intent_id, deadline=deadline)
        return read_intent(answer.body, Source.FETCHED, answer.asked_at, payment.version)
    except Unanswered:
        return Nothing.UNANSWERED
    except Refused:
        # Another account's key, or a ledger that has forgotten it: for people to see to.
        log.error("cancel refused", booking=str(payment.booking_id), code=refusal.code, reason=refusal.message)
        return Nothing.REFUSED


async def fetch(stripe: StripeApi, payment: Payment, deadline: float) -> Whole | Nothing:
    """Everything that Stripe has of the payment."""
    assert payment.intent_id is not None
    try:
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
    except Refused as refusal:
        log.error("retrieve refused", booking=str(payment.booking_id), code=refusal.code, reason=refusal.message)
        return Nothing.REFUSED
    except Unanswered:
        return Nothing.UNANSWERED


async def _list_refunds(stripe: StripeApi, payment: Payment, deadline: float) -> list[RefundPicture]:
    pages = stripe.list_all("/v1/refunds", payment_intent=payment.intent_id, deadline=deadline)
    # Oldest first: what was made by hand is added in the order in which it was made.
    return [read_refund(refund) async for page in pages for refund in page][::-1]


async def make_refund(
    stripe: StripeApi, payment: Payment, refund: Refund, installation: UUID, now: datetime, deadline: float
) -> RefundPicture | NotMade | Nothing:
    """Stripe's refund for ours; or what Stripe has of the intent's refunds, where it has not made it."""
    assert payment.intent_id is not None
    code = None
    try:
        if now - refund.asked_at < KEY_LIFE:
            answer = await stripe.create_refund(
                intent_id=payment.intent_id,
                amount=refund.amount,
                metadata={
                    BOOKING_ID: str(payment.booking_id),
                    REFUND_ID: str(refund.id),
                    INSTALLATION: str(installation),
                },
                key=numbered_key(refund.id, refund.key_number),
                deadline=deadline,
            )
            return read_refund(answer.body)
    except Refused as refusal:
        # Stripe names no code where the amount is too large: https://docs.stripe.com/api/errors#errors-param.
        code = AMOUNT_TOO_LARGE if refusal.param == "amount" else refusal.code
        log.warning("refund refused", refund=str(refund.id), code=code, reason=refusal.message)
    except Unanswered:
        return Nothing.UNANSWERED
    except KeySpent:
        log.warning("refund looked up", refund=str(refund.id))
    try:
        pictures = await _list_refunds(stripe, payment, deadline)
    except Unanswered:
        return Nothing.UNANSWERED
    except Refused as refusal:
        log.error("list refused", booking=str(payment.booking_id), code=refusal.code, reason=refusal.message)
        return NotMade(None, code or refusal.code)
    mine = [picture for picture in pictures if picture.refund_id == refund.id]
    # It may have been made under an earlier key, and its answer lost.
    return mine[-1] if mine else NotMade(pictures, code)
