"""What each message does: load, decide by the rules, save, publish what follows.

A handler handles all deliveries of its message in one transaction. It is right when its message comes late, twice
or never: a repeated message changes nothing and is answered as before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

import structlog

from booking import domain, triggers
from booking.admission import Seats
from booking.creation import Creation
from booking.operator_requests import OperatorRequests, by_operator, check_version, with_customer
from booking.presenters import for_operators
from booking.promo_codes import PromoCodes, owner_key
from booking.queue import with_positions
from booking.repository import Store, Transaction
from booking.rules import Decision
from booking.state import Booking, Event, FollowUp, HoldPolicy
from booking.tickets import seats_of
from booking.triggers import Cancel, Refund, Report
from booking.unit_of_work import UnitOfWork, cause_of
from common.contracts.errors import AmountMismatch, HoldfastError, NotFound
from common.contracts.messages import (
    BookingUnknown,
    CancelBooking,
    CreateBooking,
    CreateBookingWithCode,
    OperatorCommand,
    PaymentReport,
    PaymentReportApplied,
    RefundBooking,
    RefundTickets,
    RequestPayment,
    SetCustomer,
)
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answers, envelope_for
from common.runtime.telemetry import Metrics

log = structlog.get_logger()


# What a message makes of a booking, with the booking's event and the time.
Decide = Callable[[Booking, Any, Event | None, datetime], Decision]


class BookingHandlers:
    """The handlers of bookings; those of events are in `event_handlers.py`, queries in `query_handlers.py`."""

    def __init__(
        self,
        store: Store,
        unit: Callable[[], UnitOfWork],
        metrics: Metrics,
        clock: Callable[[], datetime],
        policy: HoldPolicy,
    ) -> None:
        self._store = store
        self._unit = unit
        self._metrics = metrics
        self._clock = clock
        self._policy = policy
        creation = Creation(store, unit, clock, policy)
        self.commands: Handlers = {
            CreateBooking: creation.create,
            CreateBookingWithCode: creation.create,
            CancelBooking: partial(self._each, self._cancel),
            RequestPayment: partial(self._each, self._request_payment),
            RefundBooking: partial(self._each, self._refund),
            RefundTickets: partial(self._each, self._refund),
            SetCustomer: partial(self._each, self._set_customer),
        }
        self.payments: Handlers = {PaymentReport: self.apply_reports}

    async def apply_reports(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Apply the newest report of each payment, which alone suffices, and answer PaymentReportApplied."""
        newest, now = _newest(deliveries), self._clock()
        unit = await self._apply_from_memory(newest, now)
        left = {id: delivery for id, delivery in newest.items() if id not in unit.written}
        applied = (_applied(unit.bookings[id], each) for id, each in newest.items() if id in unit.written)
        return chain(unit.envelopes(), applied, await self._apply_under_lock(left, now) if left else ())

    async def _apply_from_memory(self, newest: dict[UUID, Delivery], now: datetime) -> UnitOfWork:
        """Apply reports by one statement, but not those that change nothing or need more than the booking's row."""
        unit = self._unit()
        unit.take(await self._store.find(self._store.bookings, newest, lambda rows, ids: rows.bookings.load(ids)))
        for id, booking in tuple(unit.bookings.items()):
            payment = newest[id].message.payment
            if not domain.is_special(booking, payment):
                decision = domain.apply_report(booking, Report(payment, now, self._policy))
                if decision.booking != booking and not decision.unexpected:
                    unit.change(decision, newest[id])
        await unit.save()
        return unit

    async def _apply_under_lock(self, newest: dict[UUID, Delivery], now: datetime) -> list[Envelope]:
        """The locked path: decide under the locks of the bookings."""
        unit, applied = self._unit(), []
        payments = {id: delivery.message.payment for id, delivery in newest.items()}
        async with unit.locked() as rows:
            unit.take(await rows.bookings.lock(list(newest)))
            again = any(domain.wants_seats_again(b, payments[id]) for id, b in unit.bookings.items())
            # All that this batch may move is locked at once and in order: locking in two steps could deadlock.
            moved = unit.bookings.values() if again else ()
            types = {item.ticket_type_id for booking in moved for item in booking.items}
            seats = Seats(await rows.bookings.lock_seats(types, now))
            codes = await _codes_of(rows, moved)
            for id, booking in tuple(unit.bookings.items()):
                if domain.of_another_intent(booking, payments[id]):
                    self._ask_for_own_intent(unit, booking, newest[id])
                    continue
                decision = Decision(booking)
                if not (conflict := domain.conflicts(booking, payments[id])):
                    free = seats.have(booking.items) and codes.has_use_for(booking)
                    report = Report(payments[id], now, self._policy, free)
                    decision = domain.apply_report(booking, report)
                if again and sum(domain.seats_moved(booking.status, decision.booking.status)) > 0:
                    seats.take(booking.items)  # the next one that wants its seats again finds these taken
                    codes.take(booking)
                self._change(unit, decision, newest[id])
                if payments[id].version <= booking.payment_version:
                    unit.notify_again(id, newest[id])
                applied.append(_applied(decision.booking, newest[id], conflict=conflict))
        unknown = [self._unknown(newest[id]) for id in newest.keys() - unit.bookings.keys()]
        return [*unit.envelopes(), *applied, *unknown]

    def _ask_for_own_intent(self, unit: UnitOfWork, booking: Booking, delivery: Delivery) -> None:
        """The report is not acknowledged: payment reports again, until it has adopted the intent of the booking."""
        self._metrics.orphans.labels("other_intent").inc()
        reported = delivery.message.payment.intent_id
        log.error("report of another intent", booking=str(booking.id), intent=reported, own=booking.intent_id)
        unit.change(Decision(booking, (FollowUp.SYNC,)), delivery)

    def _unknown(self, delivery: Delivery) -> Envelope:
        """The answer to a report of a booking that does not exist, or no longer exists."""
        report: PaymentReport = delivery.message
        payment = report.payment
        message = BookingUnknown(
            booking_id=report.booking_id,
            version=payment.version,
            intent_id=payment.intent_id,
            amount=payment.amount,
            currency=payment.currency,
            amount_captured=payment.amount_captured,
        )
        self._metrics.orphans.labels("no_booking").inc()
        log.error("report of an unknown booking", status=payment.status, **message.model_dump(mode="json"))
        return envelope_for(message, report.booking_id, cause=delivery)

    def _change(self, unit: UnitOfWork, decision: Decision, delivery: Delivery) -> None:
        if decision.unexpected:
            type, id, _ = cause_of(delivery)
            before = unit.bookings[decision.booking.id]
            self._metrics.unexpected.labels(type, before.status).inc()
            log.warning("unexpected", type=type, id=id, subject=str(before.id), status=before.status)
        unit.change(decision, delivery)

    def _cancel(self, booking: Booking, message: CancelBooking, event: Event | None, now: datetime) -> Decision:
        """A customer may cancel within the event's policy, an operator always."""
        allowed = domain.may_cancel(booking, message.reason, event, now)
        return domain.decide(booking, Cancel(message.reason.value, allowed, message.requester), now, self._policy)

    def _refund(self, booking: Booking, message: RefundBooking, _: Event | None, now: datetime) -> Decision:
        """Owe money back, or note that it was given back at the box office; once for each `refund_id`. Raises
        TicketInvalid for tickets of another booking."""
        seats = seats_of(booking, message.ticket_ids) if isinstance(message, RefundTickets) else ()
        asked = Refund(message.refund_id, message.amount, message.requester, now, seats)
        return domain.decide(booking, asked, now, self._policy)

    def _set_customer(self, booking: Booking, message: SetCustomer, _: Event | None, now: datetime) -> Decision:
        return domain.decide(booking, triggers.SetCustomer(message.customer), now, self._policy)

    def _request_payment(self, booking: Booking, message: RequestPayment, *_: object) -> Decision:
        """Answer with the booking, which has what its client needs to pay. Raises AmountMismatch."""
        if message.amount not in (None, booking.amount) or message.currency not in (None, booking.currency):
            raise AmountMismatch
        return Decision(booking)

    async def _each(self, decide: Decide, deliveries: Sequence[Delivery]) -> list[Envelope]:
        """Decide on each delivery, all in one transaction; answer with its booking as it is then, or an error."""
        results: list[tuple[Delivery, Any]] = []
        unit, now = self._unit(), self._clock()
        async with unit.locked() as rows:
            unit.take(await rows.bookings.lock([delivery.message.booking_id for delivery in deliveries]))
            events = await rows.events.find({booking.event_id for booking in unit.bookings.values()})
            await rows.requests.open(deliveries, now)

            def decided(booking: Booking, message: Any) -> Decision:
                return decide(booking, message, events.get(booking.event_id), now)

            for delivery in deliveries:
                try:
                    results.append((delivery, self._one(delivery, unit, rows.requests, decided)))
                except HoldfastError as refused:
                    results.append((delivery, refused))
            await rows.requests.save()
        done = [unit.shown(result) for _, result in results if isinstance(result, UUID)]
        bookings = await with_positions(self._store, done)
        shown = ((each, bookings[result] if isinstance(result, UUID) else result) for each, result in results)
        return [*unit.envelopes(), *answers(shown)]

    def _one(
        self,
        delivery: Delivery,
        unit: UnitOfWork,
        requests: OperatorRequests,
        decide: Callable[[Booking, Any], Decision],
    ) -> Any:
        """The id of the booking to answer with when all are decided; for operators' requests the answer itself,
        which is kept. Raises the error that refuses the request."""
        message = delivery.message
        booking = unit.bookings.get(message.booking_id)
        # RefundBooking has no owner: only an operator can send it.
        if booking is None or getattr(message, "owner", None) not in (None, booking.owner):
            raise NotFound
        operators = by_operator(message)
        if operators and (answered := requests.answer_to(delivery)) is not None:
            unit.notify_again(booking.id, delivery)
            return with_customer(answered, booking)
        if isinstance(message, OperatorCommand) and not _is_done(message, booking):
            check_version(message, booking.version)
        decision = decide(booking, message)
        self._change(unit, decision, delivery)
        if decision.booking == booking and not isinstance(message, RequestPayment):
            unit.notify_again(booking.id, delivery)
        if not operators:
            return booking.id
        answer = for_operators(unit.shown(booking.id), decision.booking)
        requests.keep_booking(delivery, answer)
        return answer


async def _codes_of(rows: Transaction, bookings: Collection[Booking]) -> PromoCodes:
    """The promo codes of these bookings, locked until the transaction ends."""
    ids = {each.code_id for each in bookings if each.code_id is not None}
    keys = {owner_key(each.code_id, each.owner) for each in bookings if each.code_id is not None}
    codes, uses = await rows.codes.lock(ids, keys)
    return PromoCodes(codes.values(), uses)


def _is_done(message: OperatorCommand, booking: Booking) -> bool:
    """Whether an owner's command was carried out before: its If-Match names the version from then. RFC 9110, 13.1.1
    lets a request succeed whose change has been made already. (Operators' requests have rows.)"""
    if by_operator(message):
        return False
    if isinstance(message, SetCustomer):
        return message.customer == booking.customer
    return isinstance(message, CancelBooking) and message.reason in (booking.closing, booking.reason)


def _applied(booking: Booking, delivery: Delivery, *, conflict: bool = False) -> Envelope:
    values: dict[str, Any] = {"conflict": True} if conflict else {}
    message = PaymentReportApplied(booking_id=booking.id, version=booking.payment_version, **values)
    return envelope_for(message, booking.id, cause=delivery)


def _newest(deliveries: Sequence[Delivery]) -> dict[UUID, Delivery]:
    """The report with the highest version of each booking; of equals the last."""
    newest: dict[UUID, Delivery] = {}
    for delivery in deliveries:
        known = newest.get(delivery.message.booking_id)
        if known is None or delivery.message.payment.version >= known.message.payment.version:
            newest[delivery.message.booking_id] = delivery
    return newest
