"""What each message does: load, decide by the rules, ask Stripe outside any transaction, save, report.

Every handler is right when its message comes late, twice or never. What Stripe does not answer stays in the
database and is driven again (`settle.py`); it is no failure of the message.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import orjson
import structlog

from common.contracts.messages import (
    CancelPaymentIntent,
    CreatePaymentIntent,
    PaymentReportApplied,
    RefundPayment,
    StripeEventReceived,
    SyncPayment,
)
from common.contracts.values import PaymentError
from common.messaging.batch import Handler, Handlers
from common.messaging.envelope import Delivery, Envelope, tell
from payment import asking, domain
from payment.asking import Nothing, Whole, side_by_side
from payment.books import Books
from payment.disputes import DisputePicture
from payment.domain import CANCELED, CREATING, REFUSED_PAUSES, Doubt, Payment, Picture
from payment.lost import LostRows, lost_ones
from payment.orphans import Place
from payment.pictures import ChargeRefunded, StripeEvent, read_event
from payment.refund_commands import RefundCommands
from payment.refunds import RefundPicture, left
from payment.repository import Repository
from payment.stripe_api import StripeApi

# A payment as it was when Stripe was asked for its intent, and what came of it.
Answered = tuple[Payment, Picture | PaymentError | Nothing]

log = structlog.get_logger()


class PaymentHandlers:
    """The payment actor's handlers. They wait for Stripe so many seconds, and leave the rest to be driven again."""

    def __init__(
        self,
        repository: Repository,
        stripe: StripeApi,
        clock: Callable[[], datetime],
        lost: LostRows,
        *,
        intents_asking_seconds: float,
        commands_asking_seconds: float,
    ) -> None:
        self._repository = repository
        self._stripe = stripe
        self._clock = clock
        self._lost = lost
        self._intents_asking_seconds = intents_asking_seconds
        self._commands_asking_seconds = commands_asking_seconds
        self._walks = asking.Walks()
        self._refunds = RefundCommands(repository, stripe, clock, lost)
        self.intents: Handlers = {CreatePaymentIntent: self.create_intents}
        self.webhooks: Handlers = {StripeEventReceived: self.take_events}
        self.commands: Handlers = {
            CancelPaymentIntent: self.cancel_intents,
            SyncPayment: self.sync,
            RefundPayment: self.refund,
            PaymentReportApplied: self.report_applied,
            **lost.commands,
        }

    async def create_intents(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Note that intents are wanted, have Stripe make them, note what came of it. For a payment that is new each
        note is one statement."""
        causes = _by_booking(deliveries)
        installation = await self._repository.installation()
        now, deadline = self._clock(), _in(self._intents_asking_seconds)
        new = await self._repository.record([cause.message for cause in causes.values()], now)
        wanted, told = await self._known(causes.keys() - new.keys(), causes)
        wanted += [_wanted(causes[id].message, now) for id in new]
        if not wanted:
            return told
        answers = await side_by_side(
            asking.make_intent(self._stripe, payment, installation, now, deadline, self._walks)
            for payment in wanted
        )
        return [*told, *await self._note_intents(list(zip(wanted, answers, strict=True)), new, causes)]

    async def _known(
        self, ids: Collection[UUID], causes: dict[UUID, Delivery]
    ) -> tuple[list[Payment], list[Envelope]]:
        """Of payments that were there before: those whose intent is still wanted, and how the others stand."""
        if not ids:
            return [], []
        async with self._repository.work() as work:
            payments = await work.load(list(ids))
            refunds = await work.refunds_of([id for id, p in payments.items() if p.amount_captured])
            disputes = await work.disputes_of([id for id, p in payments.items() if p.dispute_status])
        wanted = [payment for payment in payments.values() if payment.status is CREATING]
        return wanted, Books(payments, refunds, disputes).reports(payments.keys(), causes)

    async def _note_intents(
        self, answered: Sequence[Answered], new: Mapping[UUID, str], causes: dict[UUID, Delivery]
    ) -> list[Envelope]:
        """Take over what Stripe answered of each payment's intent; what it did not answer is asked again. Where
        nobody has written the row since it was made, as `new` says, it need not be read again."""
        now = self._clock()
        # An attempt counts once, which only the database knows.
        quick = [each for each in answered if each[0].booking_id in new and not _tells_of_attempt(each[1])]
        books = Books({payment.booking_id: payment for payment, _ in quick}, {}, {})
        _take_answers(books, quick, now, self._stripe.clock.now())
        changes = [(payment, new[payment.booking_id]) for _, payment in books.changes()]
        saved = await self._repository.save_unchanged(changes)
        told = self._follow(books, books.changed() & saved, causes)
        if rest := [each for each in answered if each[0].booking_id not in saved]:
            told += await self._note_carefully(rest, now, causes)
        return told

    async def _note_carefully(
        self, answered: Sequence[Answered], now: datetime, causes: dict[UUID, Delivery]
    ) -> list[Envelope]:
        asked, answers = zip(*answered, strict=True)
        async with self._repository.work() as work:
            books = await Books.open(work, [payment.booking_id for payment in asked], pictures=answers)
            _take_answers(books, books.answered(asked, answers), now, self._stripe.clock.now())
            await books.save(work)
        return self._follow(books, books.changed(), causes)

    def _follow(self, books: Books, ids: Iterable[UUID], causes: dict[UUID, Delivery]) -> list[Envelope]:
        cancels = [
            tell(CancelPaymentIntent(booking_id=id), id, cause=causes.get(id)) for id in books.now_to_cancel()
        ]
        return [*books.reports(ids, causes), *cancels]

    async def cancel_intents(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """See to it that no money comes by these payments any more; money that came before is reported."""
        causes = _by_booking(deliveries)
        now, deadline = self._clock(), _in(self._commands_asking_seconds)
        async with self._repository.work() as work:
            books = await Books.open(work, list(causes))
            lost = lost_ones(deliveries, books.payments)
            if never := causes.keys() - books.payments.keys() - _bookings(lost):
                # No row and no intent that the booking knows of: it was never asked for.
                await work.insert([domain.never_wanted(id, now) for id in never])
                # Opened again: one may have been asked for in this very moment.
                books = await Books.open(work, list(causes))
            for payment in list(books.payments.values()):
                books.put(domain.cancel(payment, now))
            await books.save(work)
        ended = [id for id, payment in books.payments.items() if payment.terminal and id not in _bookings(lost)]
        told = books.reports(ended, causes)
        live = [payment for payment in books.payments.values() if payment.must_be_canceled]
        if live:
            answers = await side_by_side(asking.cancel_intent(self._stripe, p, deadline) for p in live)
            told += await self._note_cancels(live, answers, causes)
        return [*told, *await self._again_when_back(lost, self.cancel_intents)]

    async def _again_when_back(self, lost: Sequence[Delivery], handle: Handler) -> Iterable[Envelope]:
        """Have `handle` take the messages whose rows could be brought back; the others are sent again."""
        back = await self._lost.recover(lost) if lost else ()
        return await handle(back) if back else ()

    async def _note_cancels(
        self, asked: Sequence[Payment], answers: Sequence[Picture | Nothing], causes: dict[UUID, Delivery]
    ) -> list[Envelope]:
        now = self._clock()
        async with self._repository.work() as work:
            books = await Books.open(work, [payment.booking_id for payment in asked], pictures=answers)
            for payment, answer in books.answered(asked, answers):
                old = books.payments[payment.booking_id]
                if isinstance(answer, Picture):
                    books.take(old, answer, now)
                    # Where Stripe will not cancel it (money is on its way), the booking asks again.
                    books.put(domain.not_canceled(books.payments[payment.booking_id], now))
                else:
                    books.put(_unanswered(old, answer, now))
            await books.save(work)
        answered = [p.booking_id for p, answer in zip(asked, answers, strict=True) if isinstance(answer, Picture)]
        return books.reports(answered, causes)

    async def sync(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Compare with Stripe's own objects, and report in any case: the booking asked."""
        causes = _by_booking(deliveries)
        deadline = _in(self._commands_asking_seconds)
        async with self._repository.work() as work:
            payments = await work.load(list(causes))
            refunds = await work.refunds_of(list(payments))
        lost = lost_ones(deliveries, payments)
        for id in causes.keys() - payments.keys() - _bookings(lost):
            log.warning("sync of an unknown payment", booking=str(id))
        await self._lost.decide(deliveries)
        known = [p for p in payments.values() if p.intent_id is not None and p.status is not CANCELED]
        fetched = await side_by_side(
            asking.fetch(self._stripe, payment, refunds.get(payment.booking_id, ()), deadline) for payment in known
        )
        now = self._clock()
        async with self._repository.work() as work:
            pictures = [each.picture for each in fetched if isinstance(each, Whole)]
            books = await Books.open(work, list(payments), pictures=pictures)
            for payment, whole in books.answered(known, fetched):
                if isinstance(whole, Whole):
                    books.take_whole(payment.booking_id, whole, now)
                if whole is not Nothing.UNANSWERED:
                    books.put(domain.looked(books.payments[payment.booking_id], payment.doubts))
            for payment in list(books.payments.values()):
                if payment.terminal and not payment.amount_captured:
                    books.put(domain.looked(payment, payment.doubts))  # there is nothing to be in doubt of
            await books.save(work)
        self._stripe.metrics.count_failed(books.failed_refunds)
        # Without an intent, being asked for it is what brings the payment on.
        creating = [p for p in books.payments.values() if p.status is CREATING]
        return [
            *self._follow(books, books.payments.keys() - _bookings(lost), causes),
            *await self._again_when_back(lost, self.sync),
            *(drive(payment, causes.get(payment.booking_id)) for payment in creating),
        ]

    async def refund(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Note refunds under their ids, have Stripe make them, note what came of it."""
        return await self._refunds.refund(deliveries, _by_booking(deliveries), _in(self._commands_asking_seconds))

    async def report_applied(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """The booking has taken a version in: the newest one need not be told again."""
        told = [(each.message.booking_id, each.message.version, each.message.conflict) for each in deliveries]
        for id in await self._repository.applied(told, self._clock()):
            log.error("payment is behind its booking: reported under a higher version", booking=str(id))
        return ()

    async def take_events(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Take webhook events in: each counts once, and moves its payment in the same transaction."""
        events = [(read_event(orjson.loads(each.message.payload)), each) for each in deliveries]
        foreign = await self._lost.foreign_accounts([event for event, _ in events])
        events = [each for each in events if each[0].id not in foreign]
        installation = await self._repository.installation()
        now = self._clock()
        sync: dict[UUID, str | None] = {}
        lost: list[StripeEvent] = []
        strays: list[StripeEvent] = []
        causes: dict[UUID, Delivery] = {}
        async with self._repository.work() as work:
            fresh = await work.store_events([event for event, _ in events], now)
            events = [each for each in events if each[0].id in fresh and each[0].shows is not None]
            events.sort(key=lambda each: each[0].created)
            books = await Books.open(
                work,
                [event.booking_id for event, _ in events if event.booking_id is not None],
                [event.intent_id for event, _ in events if event.intent_id is not None],
                [event.shows for event, _ in events],
            )
            of_intent = {p.intent_id: id for id, p in books.payments.items() if p.intent_id}
            for event, delivery in events:
                id = of_intent.get(event.intent_id or "") or event.booking_id
                before = books.payments.get(id) if id else None
                place = self._lost.judge(event, before, installation)
                if place is Place.NOWHERE or id is None:
                    continue
                causes[id] = delivery
                if place is Place.STRAY:
                    strays.append(event)
                elif place is Place.LOST:
                    lost.append(event)
                    sync[id] = event.intent_id
                elif not _take_event(books, books.payments[id], event, now) or _first_heard_paid(before, books, id):
                    sync.setdefault(id, None)
                    # The request to look may be lost: it is made again until Stripe's own object was seen.
                    books.put(domain.doubted(books.payments[id], now))
            await self._lost.note(work, lost, strays, now)
            await books.save(work)
        self._stripe.metrics.count_failed(books.failed_refunds)
        # Where an event does not say enough, Stripe's own object decides: never in a webhook's way.
        syncs = [tell(_sync(id, intent), id, cause=causes[id]) for id, intent in sync.items()]
        return [*self._follow(books, books.changed(), causes), *syncs]


def _first_heard_paid(before: Payment | None, books: Books, id: UUID) -> bool:
    """The row has forgotten its intent, as nobody pays what was not told: disputes, which name no booking, may have
    come before it was known whose they were."""
    return before is not None and before.intent_id is None and books.payments[id].amount_captured > 0


def _wanted(message: CreatePaymentIntent, now: datetime) -> Payment:
    return domain.wanted(
        message.booking_id, message.event_id, message.amount, message.currency, message.payment_methods, now
    )


def _tells_of_attempt(answer: Picture | PaymentError | Nothing) -> bool:
    return isinstance(answer, Picture) and answer.attempt is not None


def _take_answers(books: Books, answered: Iterable[Answered], now: datetime, stripe_now: datetime) -> None:
    for payment, answer in answered:
        old = books.payments[payment.booking_id]
        if isinstance(answer, Picture):
            books.take(old, answer, now)
            if domain.found_again(old, answer, stripe_now, now):
                # Stripe's own object is looked at, with its refunds and disputes.
                books.put(domain.doubted(books.payments[old.booking_id], now))
        elif isinstance(answer, PaymentError):
            books.put(domain.refused(old, answer, now))
        elif answer is Nothing.NEW_KEY:
            books.put(domain.with_new_key(old, now))
        else:
            books.put(_unanswered(old, answer, now))


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def _unanswered(old: Payment, answer: Nothing, now: datetime) -> Payment:
    """Asked again: much later where Stripe refuses even to show what there is."""
    spread = random.random()
    if answer is Nothing.REFUSED:
        return domain.unanswered(old, now, spread, REFUSED_PAUSES)
    return domain.unanswered(old, now, spread)


def drive(payment: Payment, cause: Delivery | None = None) -> Envelope:
    """The message that brings a payment on for which Stripe has to be asked."""
    if payment.status is not CREATING or payment.event_id is None:
        return tell(CancelPaymentIntent(booking_id=payment.booking_id), payment.booking_id, cause=cause)
    message = CreatePaymentIntent(
        booking_id=payment.booking_id,
        event_id=payment.event_id,
        amount=payment.amount,
        currency=payment.currency,
        payment_methods=payment.payment_methods,
    )
    return tell(message, payment.booking_id, cause=cause)


def _sync(booking_id: UUID, intent_id: str | None) -> SyncPayment:
    return SyncPayment(booking_id=booking_id, **({"intent_id": intent_id} if intent_id else {}))


def _bookings(deliveries: Sequence[Delivery]) -> set[UUID]:
    return {delivery.message.booking_id for delivery in deliveries}


def _by_booking(deliveries: Sequence[Delivery]) -> dict[UUID, Delivery]:
    """The first delivery about each booking: a second one in the same batch asks for the same."""
    found: dict[UUID, Delivery] = {}
    for delivery in deliveries:
        found.setdefault(delivery.message.booking_id, delivery)
    return found


def _take_event(books: Books, payment: Payment, event: StripeEvent, now: datetime) -> bool:
    """False where Stripe's own object has to be looked at."""
    shows = event.shows
    if isinstance(shows, Picture):
        return books.take(payment, shows, now) is not Doubt.AMBIGUOUS
    if payment.terminal and not payment.amount_captured:
        return True  # none of it was ever captured: money that was only held, or of a stray intent
    if payment.intent_id is not None and event.intent_id not in (None, payment.intent_id):
        return True  # of a stray intent
    if isinstance(shows, RefundPicture):
        # Of a payment that is not known to be paid, refunds are not known either: an older picture, of one that has
        # failed since, would be taken for news.
        return bool(payment.amount_captured) and books.take_refunds(payment, [shows], now)
    if isinstance(shows, DisputePicture):
        books.take_disputes(payment, [shows], now)
        return True
    if isinstance(shows, ChargeRefunded):
        # The refund's own event says more; without it the sum would not be explained. Less is an older sum.
        refunds = books.refunds(payment.booking_id)
        made = sum(refund.amount for refund in refunds if refund.stripe_refund_id is not None)
        known = payment.amount_captured - left(payment.amount_captured, refunds)
        return shows.amount_refunded <= made or shows.amount_refunded == known
    return True
