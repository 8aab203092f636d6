"""What each message does: load, decide by the rules, save, publish what follows.

A handler takes all deliveries of its message in one transaction. It is right when its message comes late, twice
or never: what is repeated changes nothing and is answered as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from booking import domain
from booking.admission import Request, admit, asked_for, has_seats, take_seats
from booking.availability import Availability
from booking.books import Books
from booking.domain import Signal
from booking.queue import placed
from booking.repository import Repository
from booking.requests import Requests, by_operator, check_version
from booking.rules import Decision, Moment
from booking.state import Booking, Event, Follow, Refusal, Terms
from common.contracts.currencies import part_fault_of
from common.contracts.errors import AmountMismatch, HoldfastError, IdempotencyKeyReused, NotFound, error_for
from common.contracts.messages import (
    BookingUnknown,
    CancelBooking,
    CreateBooking,
    OperatorCommand,
    PaymentReport,
    PaymentReportApplied,
    RefundBooking,
    RequestPayment,
)
from common.messaging.envelope import Delivery, Envelope, answers, tell
from common.messaging.loop import Handlers
from common.runtime.telemetry import Metrics

log = structlog.get_logger()


Decide = Callable[[Booking, Delivery, dict[UUID, Event]], Decision]


class BookingHandlers:
    """The handlers of bookings; those of events are in `programme.py`, questions in `questions.py`."""

    def __init__(
        self,
        repository: Repository,
        availability: Availability,
        metrics: Metrics,
        clock: Callable[[], datetime],
        terms: Terms,
    ) -> None:
        self._repository = repository
        self._availability = availability
        self._metrics = metrics
        self._clock = clock
        self._terms = terms
        self.commands: Handlers = {
            CreateBooking: self.create,
            CancelBooking: self.cancel,
            RequestPayment: self.request_payment,
            RefundBooking: self.refund,
        }
        self.payments: Handlers = {PaymentReport: self.take_reports}

    async def create(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Give seats in stream order; a repeated request finds its booking there. Places in the queue for intents
        are the gateway's to add: to count them here would hold up a rush on its way in."""
        now = self._clock()
        requests = [_request(delivery.message) for delivery in deliveries]
        async with self._repository.work() as work:
            sales = await work.lock_sales(sorted({request.event_id for request in requests}))
            books = Books(await work.load([request.booking_id for request in requests]))
            results = self._admit_all(requests, deliveries, sales, books, now)
            await books.save(work)
        self._availability.touched(books.events_moved())
        return [*books.envelopes(), *answers(zip(deliveries, results, strict=True))]

    def _admit_all(
        self,
        requests: Sequence[Request],
        deliveries: Sequence[Delivery],
        sales: dict[UUID, Event],
        books: Books,
        now: datetime,
    ) -> list[Any]:
        """The answer to each request: the booking and whether it is new, or an error."""
        free = {each.id: each.free for event in sales.values() for each in event.ticket_types.values()}
        results: list[Any] = []
        for request, delivery in zip(requests, deliveries, strict=True):
            booking = books.bookings.get(request.booking_id)
            if booking is None:
                admitted = admit(request, sales.get(request.event_id), free, now, self._terms)
                if isinstance(admitted, Refusal):
                    results.append(error_for(admitted.code, admitted.detail, dict(admitted.extra)))
                else:
                    books.add(admitted, delivery)
                    results.append({"booking": books.shown(admitted.id), "created": True})
            elif asked_for(booking, request):
                books.tell_again(booking.id, delivery)
                results.append({"booking": books.shown(booking.id), "created": False})
            else:
                results.append(IdempotencyKeyReused())
        return results

    async def take_reports(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Take in the newest report of each payment, and say so: the newest alone suffices."""
        newest = _newest(deliveries)
        now = self._clock()
        applied: list[Envelope] = []
        async with self._repository.work() as work:
            books = await Books.open(work, list(newest))
            payments = {id: delivery.message.payment for id, delivery in newest.items()}
            again = any(domain.wants_seats_again(b, payments[id]) for id, b in books.bookings.items())
            # All that this batch may move, at once and in order: with two steps there could be a deadlock.
            moved = books.bookings.values() if again else ()
            free = await work.lock_seats({item.ticket_type_id for booking in moved for item in booking.items}, now)
            for id, booking in tuple(books.bookings.items()):
                if domain.of_another_intent(booking, payments[id]):
                    self._ask_for_own_intent(books, booking, newest[id])
                    continue
                decision = Decision(booking)
                if not (conflict := domain.conflicts(booking, payments[id])):
                    decision = domain.take_report(booking, payments[id], self._moment(now, booking, free))
                self._take(books, decision, newest[id], free)
                if payments[id].version <= booking.payment_version:
                    books.tell_again(id, newest[id])
                applied.append(_applied(decision.booking, newest[id], conflict=conflict))
            await books.save(work)
        unknown = [self._unknown(newest[id]) for id in newest.keys() - books.bookings.keys()]
        self._availability.touched(books.events_moved())
        return [*books.envelopes(), *applied, *unknown]

    def _ask_for_own_intent(self, books: Books, booking: Booking, delivery: Delivery) -> None:
        """Not acknowledged: payment reports again, until it goes by the intent that the booking names."""
        self._metrics.orphans.labels("other_intent").inc()
        told = delivery.message.payment.intent_id
        log.error("report of another intent", booking=str(booking.id), intent=told, own=booking.intent_id)
        books.take(Decision(booking, (Follow.SYNC,)), delivery)

    def _unknown(self, delivery: Delivery) -> Envelope:
        """The answer to a report of a booking that is not there, or not any more."""
        report: PaymentReport = delivery.message
        payment = report.payment
        self._metrics.orphans.labels("no_booking").inc()
        log.error(
            "report of an unknown booking",
            booking=str(report.booking_id),
            intent=payment.intent_id,
            status=payment.status,
            captured=payment.amount_captured,
        )
        message = BookingUnknown(
            booking_id=report.booking_id,
            version=payment.version,
            intent_id=payment.intent_id,
            amount=payment.amount,
            currency=payment.currency,
            amount_captured=payment.amount_captured,
        )
        return tell(message, report.booking_id, cause=delivery)

    def _moment(self, now: datetime, booking: Booking, free: dict[UUID, int]) -> Moment:
        return Moment(now, self._terms, seats_free=has_seats(booking.items, free))

    def _take(self, books: Books, decision: Decision, delivery: Delivery, free: dict[UUID, int]) -> None:
        before = books.bookings[decision.booking.id]
        if decision.unexpected:
            self._metrics.unexpected.labels(delivery.envelope.message.type, before.status).inc()
            log.warning(
                "unexpected",
                type=delivery.envelope.message.type,
                id=delivery.envelope.id,
                subject=str(before.id),
                status=before.status,
            )
        if domain.takes(decision.booking.status) and not domain.takes(before.status):
            take_seats(decision.booking.items, free)  # the next one that wants its seats again finds these taken
        books.take(decision, delivery)

    async def cancel(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Cancel bookings, by the event's policy or by an operator."""
        now = self._clock()

        def decide(booking: Booking, delivery: Delivery, of: dict[UUID, Event]) -> Decision:
            message: CancelBooking = delivery.message
            reason = domain.cancel_reason(booking, message.reason, of.get(booking.event_id), now)
            return domain.decide(booking, Signal.CANCEL, Moment(now, self._terms, cancel=reason))

        return await self._each(deliveries, decide, now)

    async def refund(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Owe money back; `refund_id` makes it once only."""
        now = self._clock()

        def decide(booking: Booking, delivery: Delivery, _: dict[UUID, Event]) -> Decision:
            message: RefundBooking = delivery.message
            moment = Moment(now, self._terms, refund_id=message.refund_id, refund_amount=message.amount)
            decision = domain.decide(booking, Signal.REFUND, moment)
            fault = part_fault_of(message.amount or 0, booking.currency)
            if fault is not None and decision.refusal == fault.code:
                raise error_for(fault.code, fault.text, {"limit": fault.limit})
            return decision

        return await self._each(deliveries, decide, now)

    async def request_payment(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Answer with the booking, which holds what there is to pay."""

        def decide(booking: Booking, delivery: Delivery, _: dict[UUID, Event]) -> Decision:
            message: RequestPayment = delivery.message
            wanted = (message.amount, message.currency)
            if any(
                given not in (None, due)
                for given, due in zip(wanted, (booking.amount, booking.currency), strict=True)
            ):
                raise AmountMismatch
            return Decision(booking)

        return await self._each(deliveries, decide, self._clock())

    async def _each(self, deliveries: Sequence[Delivery], decide: Decide, now: datetime) -> list[Envelope]:
        """Decide one by one in one transaction; answers with each booking as it is then, or an error."""
        results: list[tuple[Delivery, Any]] = []
        async with self._repository.work() as work:
            books = await Books.open(work, [delivery.message.booking_id for delivery in deliveries])
            of = await work.events({booking.event_id for booking in books.bookings.values()})
            requests = await Requests.open(work, deliveries, now)
            for delivery in deliveries:
                try:
                    results.append((delivery, self._one(delivery, books, of, requests, decide)))
                except HoldfastError as refused:
                    results.append((delivery, refused))
            await books.save(work)
            await requests.save(work)
        self._availability.touched(books.events_moved())
        done = [books.shown(result) for _, result in results if isinstance(result, UUID)]
        told = await placed(self._repository.counts, done)
        as_they_are = [
            (delivery, told[result] if isinstance(result, UUID) else result) for delivery, result in results
        ]
        return [*books.envelopes(), *answers(as_they_are)]

    def _one(
        self, delivery: Delivery, books: Books, of: dict[UUID, Event], requests: Requests, decide: Decide
    ) -> Any:
        """The id of the booking that is to be shown when all are done; to operators what they are answered now and
        again. Raises the error that refuses it."""
        message = delivery.message
        booking = books.bookings.get(message.booking_id)
        # RefundBooking has no owner: only an operator can send it.
        if booking is None or getattr(message, "owner", None) not in (None, booking.owner):
            raise NotFound
        operators = by_operator(message)
        if operators and (answered := requests.answer_to(delivery)) is not None:
            books.tell_again(booking.id, delivery)
            return answered
        if isinstance(message, OperatorCommand) and not _is_done(message, booking):
            check_version(message, booking.version)
        decision = decide(booking, delivery, of)
        if decision.refusal is not None:
            raise error_for(decision.refusal, "", {})
        self._take(books, decision, delivery, {})
        if decision.booking == booking and not isinstance(message, RequestPayment):
            books.tell_again(booking.id, delivery)
        if not operators:
            return booking.id
        answer = books.shown(booking.id).redacted()
        requests.keep(delivery, answer)
        return answer


def _is_done(message: OperatorCommand, booking: Booking) -> bool:
    """A customer's cancel that comes again after its commit: If-Match named the version before it. RFC 9110, 13.1.1
    lets a request succeed whose change has been made already. (Operators' requests have rows.)"""
    wish = message.reason if isinstance(message, CancelBooking) and message.owner is not None else None
    return wish is not None and wish in (booking.closing, booking.reason)


def _request(message: CreateBooking) -> Request:
    items = tuple((item.ticket_type_id, item.quantity) for item in message.items)
    return Request(message.booking_id, message.owner, message.event_id, items)


def _applied(booking: Booking, delivery: Delivery, *, conflict: bool) -> Envelope:
    values: dict[str, Any] = {"conflict": True} if conflict else {}
    message = PaymentReportApplied(booking_id=booking.id, version=booking.payment_version, **values)
    return tell(message, booking.id, cause=delivery)


def _newest(deliveries: Sequence[Delivery]) -> dict[UUID, Delivery]:
    """The report with the highest version of each booking; of equals the last."""
    newest: dict[UUID, Delivery] = {}
    for delivery in deliveries:
        known = newest.get(delivery.message.booking_id)
        if known is None or delivery.message.payment.version >= known.message.payment.version:
            newest[delivery.message.booking_id] = delivery
    return newest
