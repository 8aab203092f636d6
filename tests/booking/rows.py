"""Bookings that real messages and the reconciler bring to the states of `samples.STATES`, and what happens then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

from booking import domain
from booking.rules import Decision, Rule
from booking.state import Booking as Known
from booking.triggers import Trigger
from common.contracts.messages import (
    BookingChanged,
    CancelBooking,
    Message,
    PaymentReport,
    PaymentReportApplied,
    PaymentReportsApplied,
    RefundBooking,
    Reply,
)
from common.contracts.resources import Booking
from common.contracts.statuses import BookingStatus, CancelReason, IntentStatus
from common.messaging.envelope import decode
from common.messaging.streams import Entry
from tests.booking.samples import AMOUNT, DECLINE, FIRST, OTHER, PART
from tests.booking.stage import TERMS, Show, Stage, report

SECOND = timedelta(seconds=1)
ASKING = ("payment.intents", "payment.commands")
STREAMS = (*ASKING, "notifications", "replies:t")
CUSTOMER, OPERATOR = CancelReason.BY_CUSTOMER, CancelReason.BY_OPERATOR


@dataclass
class Published:
    """All that was published about one booking."""

    asked: list[Message] = field(default_factory=list)
    changes: list[Booking] = field(default_factory=list)
    applied: list[int] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def take(self, message: Message) -> None:
        if isinstance(message, BookingChanged):
            self.changes.append(message.booking)
        elif isinstance(message, Reply):
            self.replies.append(message)
        elif isinstance(message, PaymentReportApplied):
            self.applied.append(message.version)
        else:
            self.asked.append(message)

    @property
    def asked_for(self) -> set[str]:
        return {message.type.removeprefix("payment.") for message in self.asked}

    @property
    def answers(self) -> list[str | None]:
        """The error of each reply."""
        return [reply.error for reply in self.replies]


@dataclass
class Scene:
    """One booking of two seats. `version` is of its payment's newest report; `row` is its row in the database."""

    stage: Stage
    show: Show
    booking: Booking
    version: int = 0
    row: Any = None

    async def happen(self, what: Happening) -> Published:
        """Deliver a message, or let time pass; returns what was published."""
        await happen([self], [what])
        return await self.published()

    async def published(self) -> Published:
        """What has been published about the booking since the last call."""
        return (await published(self.stage)).get(str(self.booking.id), Published())

    async def transition(self) -> Any:
        """The newest transition of the booking."""
        query = "SELECT * FROM booking_transitions WHERE booking_id = $1 ORDER BY version DESC LIMIT 1"
        (row,) = await self.stage.rows(query, self.booking.id)
        return row


# A message, or the time at which the reconciler runs.
Happening = Message | datetime
Occurrence = Callable[[Scene], Happening]


async def happen(made: Sequence[Scene], what: Sequence[Happening]) -> None:
    """Deliver messages of one type as one batch; or let time pass, with a reconciler per time, at most three."""
    stage = made[0].stage
    messages = [each for each in what if isinstance(each, Message)]
    times = [each for each in what if isinstance(each, datetime)]
    if messages:
        await stage.bus.publish(await stage.give(*messages))
        await stage.bus.flush()
    else:
        stage.clock.ahead = max(times) - datetime.now(UTC)
        await asyncio.gather(*(stage.reconciler.run_once() for _ in times[:3]))
    reports = [each for each in messages if isinstance(each, PaymentReport)]
    for each in made:
        versions = [report.payment.version for report in reports if report.booking_id == each.booking.id]
        each.version = max(each.version, *versions, 0)
    await refresh(made)


async def refresh(made: Sequence[Scene]) -> None:
    ids = [each.booking.id for each in made]
    rows = await made[0].stage.rows("SELECT * FROM bookings WHERE id = ANY($1::uuid[])", ids)
    of = {row["id"]: row for row in rows}
    for each in made:
        each.row = of[each.booking.id]


async def published(stage: Stage) -> dict[str, Published]:
    """What has been published since the last call, by booking."""
    async with stage.redis.pipeline(transaction=True) as pipe:
        for stream in STREAMS:
            pipe.xrange(stream)
        pipe.delete(*STREAMS)
        answers = await pipe.execute()
    found: dict[str, Published] = {}
    for stream, entries in zip(STREAMS, answers, strict=False):
        for id, fields in entries:
            envelope = decode(stream, Entry(id, fields)).envelope
            if isinstance(envelope.message, PaymentReportsApplied):
                for each in envelope.message.reports:
                    found.setdefault(str(each.booking_id), Published()).take(each)
            else:
                found.setdefault(envelope.subject, Published()).take(envelope.message)
    return found


def reported(status: str, *, ours: bool = False, **values: Any) -> Occurrence:
    """The payment's next report; with `ours` it contains the refund that the booking asked for."""

    def occurrence(scene: Scene) -> PaymentReport:
        ids = {"refund_ids": (scene.row["refund_id"],)} if ours else {}
        money = {"amount_captured": AMOUNT if status == "succeeded" else 0}
        return report(scene.booking, IntentStatus(status), scene.version + 1, **(money | ids | values))

    return occurrence


def cancels(reason: CancelReason) -> Occurrence:
    owner = "alice" if reason is CUSTOMER else None
    return lambda scene: CancelBooking(booking_id=scene.booking.id, owner=owner, reason=reason)


def refunds(id: UUID, amount: int | None = None) -> Occurrence:
    return lambda scene: RefundBooking(booking_id=scene.booking.id, refund_id=id, amount=amount)


def past(end: timedelta) -> Occurrence:
    """The time `end` after the end of the hold, at which the booking is due for the reconciler in any case."""
    return lambda scene: max(scene.row["expires_at"] + end + 2 * SECOND, scene.row["settle_after"] + SECOND / 100)


INTENT, ACTION = reported("requires_payment_method"), reported("requires_action")
DECLINED = reported("requires_payment_method", last_error=DECLINE)
PROCESSING, PAID, CANCELED = reported("processing"), reported("succeeded"), reported("canceled")
REJECTED = reported("rejected", intent_id=None, client_secret=None, last_error=DECLINE)
EXPIRED, GRACE_OVER = past(timedelta()), past(TERMS.grace)
UNDER_WAY = reported("succeeded", ours=True, refund_pending=True)
FAILED_BACK = reported("succeeded", ours=True, refund_failed=True)

# The messages and times that bring a booking to each of the states of `samples.STATES`.
STORIES: dict[str, tuple[Occurrence, ...]] = {
    "creating": (),
    "awaiting": (INTENT,),
    "declined": (INTENT, DECLINED),
    "action required": (INTENT, ACTION),
    "processing": (INTENT, PROCESSING),
    "expiring": (INTENT, EXPIRED),
    "expiring, no intent": (EXPIRED,),
    "expiring, processing": (INTENT, EXPIRED, PROCESSING),
    "cancelling": (INTENT, cancels(CUSTOMER)),
    "cancelling, no intent": (cancels(OPERATOR),),
    "cancelling, processing": (INTENT, cancels(CancelReason.EVENT_CANCELLED), PROCESSING),
    "confirmed": (INTENT, PAID),
    "confirmed, free": (),
    "confirmed, part owed": (INTENT, PAID, refunds(FIRST, PART)),
    "confirmed, part on its way": (INTENT, PAID, refunds(FIRST, PART), UNDER_WAY),
    "confirmed, part back": (
        INTENT,
        PAID,
        refunds(FIRST, PART),
        reported("succeeded", ours=True, amount_refunded=PART),
    ),
    "confirmed, refund failed": (INTENT, PAID, refunds(FIRST, PART), FAILED_BACK),
    "confirmed, disputed": (INTENT, PAID, reported("succeeded", disputed=True)),
    "hold expired": (INTENT, EXPIRED, GRACE_OVER, CANCELED),
    "released": (INTENT, EXPIRED, GRACE_OVER),
    "hold expired, owed": (INTENT, EXPIRED, GRACE_OVER, reported("succeeded", amount_captured=AMOUNT)),
    "hold expired, refund failed": (INTENT, EXPIRED, GRACE_OVER, PAID, FAILED_BACK),
    "cancelled unpaid": (INTENT, cancels(CUSTOMER), CANCELED),
    "cancelled, owed": (INTENT, cancels(CUSTOMER), PAID),
    "cancelled, on its way": (INTENT, cancels(CUSTOMER), PAID, UNDER_WAY),
    "cancelled, refunded": (INTENT, PAID, refunds(FIRST), reported("succeeded", ours=True, amount_refunded=AMOUNT)),
    "cancelled, refund failed": (INTENT, PAID, cancels(OPERATOR), FAILED_BACK),
    "sold out": (),
    "rejected": (REJECTED,),
    "mismatch, owed": (INTENT, reported("succeeded", amount_captured=AMOUNT, currency="usd")),
}
# Another customer has the seats: before the booking is made, or before what happens to it last.
SOLD_OUT = ("sold out",)
SEATS_GONE = ("hold expired, owed", "hold expired, refund failed")

# What can happen, as in `test_domain.WHAT_HAPPENS`, with the message or the time that brings it about.
HAPPENINGS: dict[str, Occurrence] = {
    "intent": INTENT,
    "rejected": REJECTED,
    "declined": DECLINED,
    "action": ACTION,
    "processing": PROCESSING,
    "paid": PAID,
    "paid, seats free": PAID,
    "too little": reported("succeeded", amount_captured=AMOUNT - 1),
    "too much": reported("succeeded", amount_captured=AMOUNT + 1),
    "other currency": reported("succeeded", currency="usd"),
    "canceled": CANCELED,
    "cancel": cancels(OPERATOR),
    "cancel too late": cancels(CUSTOMER),
    "refund": refunds(OTHER),
    "refund of a part": refunds(OTHER, PART),
    "refund of too much": refunds(OTHER, AMOUNT + 1),
    "expired": EXPIRED,
    "grace over": GRACE_OVER,
}


async def scenes(stage: Stage, state: str, count: int, *, seats_free: bool = True) -> list[Scene]:
    """Bookings of one event, brought to `state` together. Where they have no seats, another customer has these
    seats, unless `seats_free`."""
    show = await stage.show(
        2 * count, unit_amount=0 if state == "confirmed, free" else AMOUNT // 2, max_per_booking=400
    )
    if state in SOLD_OUT:
        await stage.book(show.order(2 * count, owner="bob"))
    bookings = await stage.book(*(show.order(2) for _ in range(count)))
    made = [Scene(stage, show, booking) for booking in bookings]
    await refresh(made)
    for occurrence in STORIES[state]:
        if state in SEATS_GONE and made[0].row["status"] == "cancelled" and occurrence is not FAILED_BACK:
            await stage.book(show.order(2 * count, owner="bob"))
        await happen(made, [occurrence(each) for each in made])
    if not seats_free and state in ("hold expired", "released"):
        await stage.book(show.order(2 * count, owner="bob"))
    await made[0].published()
    return made


async def scene(stage: Stage, state: str, *, seats_free: bool = True) -> Scene:
    """One booking in `state`."""
    return (await scenes(stage, state, 1, seats_free=seats_free))[0]


Row = tuple[BookingStatus, Trigger, str]


def rows_of_table() -> set[Row]:
    """The rows of the state table, each as its status, its trigger and the name of its rule."""
    return {(*key, rule.__name__) for key, rows in domain.TABLE.items() for _, rule in rows}


@contextmanager
def rows_met() -> Iterator[set[Row]]:
    """The rows of the state table that are applied inside this context."""
    met: set[Row] = set()

    def watched(key: tuple[BookingStatus, Trigger], rule: Rule) -> Rule:
        def apply(booking: Known, what: Any) -> Decision:
            met.add((*key, rule.__name__))
            return rule(booking, what)

        return apply

    table = {key: tuple((guard, watched(key, rule)) for guard, rule in rows) for key, rows in domain.TABLE.items()}
    with patch.object(domain, "TABLE", table):
        yield met
