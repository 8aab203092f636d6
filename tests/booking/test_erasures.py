"""Who asks to be forgotten is erased from all bookings, some at a time; what money needs stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from booking import reconciler
from booking.reconciler import EVENT_CLAIM
from common.contracts.messages import BookingChanged, CreateBooking, EraseCustomers, OperatorRequest, Reply
from common.contracts.resources import Booking, Erasure
from common.contracts.statuses import IntentStatus
from common.contracts.values import Customer
from tests.booking.samples import CUSTOMER
from tests.booking.stage import Show, Stage, of, report
from tests.subjects import holding

OTHER = Customer("Grace Hopper", "grace@example.org", "en-US")
# All that is kept of a customer, in no order.
WORDS = ("Lovelace", "ada@example.com", "ADA@example.com", "+442079460000")


def order(show: Show, customer: Customer | None = CUSTOMER, **values: Any) -> CreateBooking:
    return show.order(**values).model_copy(update={"customer": customer})


def erasing(**who: str) -> EraseCustomers:
    request = OperatorRequest(subject="root", operation="POST", key=str(uuid4()), content_hash="")
    return EraseCustomers(erasure_id=uuid4(), request=request, **who)


async def asked(stage: Stage, message: EraseCustomers) -> Erasure:
    (reply,) = of(await stage.give(message), Reply)
    assert reply.error is None
    return Erasure.model_validate(reply.result)


async def customers(stage: Stage) -> list[tuple[str, str | None]]:
    query = "SELECT owner, customer ->> 'email' AS email FROM bookings ORDER BY owner, created_at, id"
    return [tuple(row) for row in await stage.rows(query)]


async def left(stage: Stage) -> set[tuple[str, str]]:
    """The columns in which something is left of the customer."""
    found: set[tuple[str, str]] = set()
    for word in WORDS:
        found |= await holding(stage.database, word)
    return found


@pytest.mark.parametrize(
    ("who", "count", "erased"),
    [
        ({"email": "Ada@Example.COM"}, 3, {"alice", "bob"}),
        ({"subject": "alice"}, 2, {"alice"}),
        ({"email": "nobody@example.com"}, 0, set[str]()),
        ({"subject": "nobody"}, 0, set[str]()),
    ],
)
async def test_the_customers_of_an_email_or_an_owner_are_erased(
    stage: Stage, who: dict[str, str], count: int, erased: set[str]
) -> None:
    """Whatever the case of the address, and nobody else's."""
    show = await stage.show(10)
    await stage.book(order(show), order(show), order(show, owner="bob"), order(show, OTHER, owner="carol"))
    assert (await asked(stage, erasing(**who))).bookings == count
    await stage.reconcile_now()
    await stage.reconcile_now()
    assert {owner for owner, email in await customers(stage) if email is None} == erased
    assert await stage.rows("SELECT 1 FROM erasures") == []


async def test_nothing_is_left_of_who_was_erased(stage: Stage) -> None:
    """In no table, however the bookings stand; and all else is as it was."""
    show = await stage.show(20)
    (first,) = await stage.book(order(show))
    paid, failed = await stage.book(order(show), order(show, quantity=10, id=uuid4()))
    await stage.apply(report(paid, IntentStatus.SUCCEEDED, 1))
    await stage.cancel(failed)
    upper = Customer("Ada Lovelace", "ADA@example.com", "en")
    await stage.book(order(show, upper))
    kept = "id, owner, items, amount, status, reason, payment, intent_id, amount_captured, description"
    before = await stage.rows(f"SELECT {kept} FROM bookings ORDER BY id")
    assert await left(stage) == {("bookings", "customer")}
    await asked(stage, erasing(email="ada@example.com"))
    await stage.reconcile_now()
    await stage.reconcile_now()
    assert await left(stage) == set()
    assert await stage.rows("SELECT 1 FROM bookings WHERE customer_digest IS NOT NULL") == []
    assert await stage.rows(f"SELECT {kept} FROM bookings ORDER BY id") == before
    await stage.audit()
    (repeated,) = await stage.call(order(show, id=first.id))
    assert Booking.model_validate(repeated.result["booking"]).customer is None


async def test_each_erased_booking_names_who_asked_and_is_notified(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(order(show))
    await asked(stage, erasing(email=CUSTOMER.email))
    await stage.redis.delete("notifications")
    await stage.reconcile_now()
    query = "SELECT version, from_status, to_status, cause_type, by FROM booking_transitions ORDER BY version DESC"
    assert tuple((await stage.rows(query))[0]) == (2, "pending", "pending", "time", "root")
    entries: Any = await stage.redis.xrange("notifications")
    (changed,) = [
        BookingChanged.model_validate_json(fields[b"data"])
        for _, fields in entries
        if fields[b"type"] == b"booking.changed"
    ]
    assert (changed.booking.id, changed.booking.customer) == (booking.id, None)


@pytest.mark.parametrize("who", [{"email": CUSTOMER.email}, {"subject": "alice"}])
async def test_many_are_erased_in_parts(stage: Stage, monkeypatch: pytest.MonkeyPatch, who: dict[str, str]) -> None:
    """A process that ends between two parts leaves the rest to another one."""
    monkeypatch.setattr(reconciler, "PASS_MAX", 3)
    show = await stage.show(20)
    await stage.book(*(order(show) for _ in range(8)))
    assert (await asked(stage, erasing(**who))).bookings == 8
    counts = []
    for _ in range(3):
        await stage.reconcile_now()
        counts.append(sum(email is not None for _, email in await customers(stage)))
    assert counts == [5, 2, 0]
    assert len(await stage.rows("SELECT 1 FROM erasures")) == 1  # until a pass from the first booking on finds none
    other = Stage.build(stage.database, stage.redis, clock=stage.clock)
    await stage.book(order(show))
    await other.reconcile_now()
    await other.reconcile_now()
    assert {email for _, email in await customers(stage)} == {None}
    assert await stage.rows("SELECT 1 FROM erasures") == []


async def test_a_process_that_ends_in_the_middle_is_followed_by_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has claimed the erasure, and erased nothing."""
    show = await stage.show(10)
    await stage.book(order(show))
    await asked(stage, erasing(email=CUSTOMER.email))

    def killed(*_: Any) -> Any:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("booking.domain.decide", killed)
        with pytest.raises(RuntimeError, match="killed"):
            await stage.reconcile_now()
    assert await customers(stage) == [("alice", CUSTOMER.email)]
    await stage.reconcile(EVENT_CLAIM + timedelta(seconds=1))
    assert await customers(stage) == [("alice", None)]


async def test_who_comes_back_later_is_kept(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.book(order(show))
    await asked(stage, erasing(email=CUSTOMER.email))
    await stage.reconcile_now()
    await stage.reconcile_now()
    await stage.book(order(show))
    await stage.reconcile(timedelta(hours=1))
    assert sorted(email or "" for _, email in await customers(stage)) == ["", CUSTOMER.email]


async def test_a_change_that_a_process_remembers_does_not_bring_the_customer_back(stage: Stage) -> None:
    """It decides by its memory, which another process has made old."""
    show = await stage.show(10)
    (booking,) = await stage.book(order(show))
    other = Stage.build(stage.database, stage.redis, clock=stage.clock)
    await asked(other, erasing(email=CUSTOMER.email))
    await other.reconcile_now()
    (changed,) = await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    assert changed.customer is None
    assert await customers(stage) == [("alice", None)]
