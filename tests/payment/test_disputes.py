"""Each dispute is kept by itself; a payment is disputed while any of its disputes is open or lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from typing import Any
from uuid import UUID

import pytest

from common.contracts.messages import PaymentReport
from payment.disputes import DROPPED, STATUSES, Dispute, summary, updated_disputes
from tests.payment.rows import bank
from tests.payment.stage import Booking, Stage, booking

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
BOOKING = UUID(int=7)
LIFE = ("needs_response", "under_review", "won")
DISPUTE = "charge.dispute"


def snapshot(status: str, after_s: int = 0, id: str = "dp_1", **values: Any) -> Dispute:
    return Dispute(id, status, NOW + timedelta(seconds=after_s), **values)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("apart_s", [0, 1])
def test_a_dispute_ends_alike_in_every_order(order: tuple[int, ...], apart_s: int) -> None:
    """Its last status counts, also if all came within one second, one by one, together or twice."""
    snapshots = [snapshot(LIFE[number], apart_s * number) for number in order]
    together = updated_disputes(BOOKING, (), snapshots)
    one_by_one: tuple[Dispute, ...] = ()
    for each in (*snapshots, *snapshots):
        one_by_one = updated_disputes(BOOKING, one_by_one, [each])

    assert together == one_by_one
    assert [each.status for each in together] == ["won"]


@pytest.mark.parametrize(("first", "second"), list(product(STATUSES, repeat=2)))
def test_one_dispute_changes_no_other(first: str, second: str) -> None:
    """Whichever comes last: the payment is disputed while any of them is open or lost."""
    either = [snapshot(first, 0, "dp_1"), snapshot(second, 5, "dp_2")]
    for snapshots in (either, either[::-1]):
        disputes = updated_disputes(BOOKING, (), snapshots)
        assert [(each.id, each.status) for each in disputes] == [("dp_1", first), ("dp_2", second)]
        stands = not {first, second} <= DROPPED
        assert (summary(disputes) not in DROPPED) is stands


@pytest.mark.parametrize("status", STATUSES)
def test_a_field_that_a_later_snapshot_leaves_out_is_kept(status: str) -> None:
    """The later one is a Stripe event of an older form, without these fields."""
    full = snapshot("needs_response", 0, amount=500, currency="eur", reason="fraudulent", opened_at=NOW)
    (after,) = updated_disputes(BOOKING, updated_disputes(BOOKING, (), [full]), [snapshot(status, 1)])
    assert (after.status, after.amount, after.reason, after.opened_at) == (status, 500, "fraudulent", NOW)


def test_a_status_that_stripe_adds_later_counts_as_open() -> None:
    """Holdfast does not know what it means, so the dispute counts as open: a person has to decide."""
    assert (
        summary(updated_disputes(BOOKING, (), [snapshot("arbitration"), snapshot("won", 1, "dp_2")]))
        == "arbitration"
    )
    assert summary(()) is None


# --- of a payment ---------------------------------------------------------------------------------------------


async def disputed_twice(stage: Stage) -> tuple[Booking, PaymentReport]:
    """The first dispute is lost, the second won; payment has received no event of either."""
    of = booking()
    paid = await stage.paid(of)
    path = f"payment_intents/{paid.payment.intent_id}/dispute"
    first, second = await bank(stage, path, amount=2000), await bank(stage, path)
    await bank(stage, f"disputes/{first['id']}/lost")
    await bank(stage, f"disputes/{second['id']}/won")
    return of, paid


def seen(report: PaymentReport) -> list[tuple[str, int | None]]:
    return [(each.status, each.amount) for each in report.payment.disputes or ()]


async def test_of_two_disputes_the_lost_one_is_reported(stage: Stage) -> None:
    """In whatever order their events come; each is reported with its amount."""
    of, paid = await disputed_twice(stage)
    events = await stage.events(f"{DISPUTE}.created", f"{DISPUTE}.closed", of=paid.payment.intent_id)
    assert [event["type"] for event in events] == [f"{DISPUTE}.created"] * 2 + [f"{DISPUTE}.closed"] * 2
    reports = await stage.webhooks(*events)

    assert [each.type for each in reports] == ["payment.dispute_updated"]
    assert (reports[0].payment.disputed, seen(reports[0])) == (True, [("lost", 2000), ("won", 3000)])
    rows = await stage.rows("SELECT * FROM disputes WHERE booking_id = $1 ORDER BY amount", of.id)
    assert [(row["status"], row["amount"], row["currency"], row["reason"]) for row in rows] == [
        ("lost", 2000, "eur", "fraudulent"),
        ("won", 3000, "eur", "fraudulent"),
    ]
    assert {row["charge_id"] for row in rows} == {(await stage.row(of))["charge_id"]}
    assert all(row["respond_by"] > row["opened_at"] for row in rows)


async def test_a_sync_applies_all_disputes(stage: Stage) -> None:
    """Not only the newest, which was won; the second fetch changes nothing."""
    of, _ = await disputed_twice(stage)
    (report,) = await stage.do(of.sync)
    assert (report.payment.disputed, seen(report)) == (True, [("lost", 2000), ("won", 3000)])
    assert await stage.do(of.sync) == [report]


async def test_a_newer_snapshot_that_shows_the_same_is_no_change(stage: Stage) -> None:
    """Whichever second it is of: else each check of a disputed payment would be reported."""
    of, _ = await disputed_twice(stage)
    (report,) = await stage.do(of.sync)
    await stage.rows("UPDATE disputes SET seen_at = seen_at - interval '5 s'")
    assert await stage.do(of.sync) == [report]


async def test_each_change_of_a_dispute_is_reported(stage: Stage) -> None:
    """Also a change of one dispute that does not change whether the payment is disputed."""
    of = booking()
    paid = await stage.paid(of)
    path = f"payment_intents/{paid.payment.intent_id}/dispute"
    first, second = await bank(stage, path, amount=2000), await bank(stage, path)
    (opened,) = await stage.webhooks(*await stage.events(f"{DISPUTE}.created", of=paid.payment.intent_id))
    reported = [seen(opened)]
    for dispute, end in ((second, "lost"), (first, "won")):
        await bank(stage, f"disputes/{dispute['id']}/{end}")
        closed = await stage.events(f"{DISPUTE}.closed", of=dispute["id"])
        (report,) = await stage.webhooks(*closed)
        assert report.payment.disputed
        reported.append(seen(report))

    assert reported == [
        [("needs_response", 2000), ("needs_response", 3000)],
        [("needs_response", 2000), ("lost", 3000)],
        [("won", 2000), ("lost", 3000)],
    ]
    assert report.payment.version == paid.payment.version + 4


async def test_a_report_that_is_published_again_has_the_disputes(stage: Stage) -> None:
    """The reconciler's report, too."""
    of, _ = await disputed_twice(stage)
    (reported,) = await stage.do(of.sync)
    (due,) = await stage.due("report_retry_at", timedelta(minutes=1))
    assert [(each.status, each.amount) for each in due.disputes] == seen(reported)
    assert await stage.do(of.create) == [reported]


async def test_a_dispute_status_written_by_the_release_before_is_corrected(stage: Stage) -> None:
    """That process knows one dispute only: this one asks Stripe for all of them."""
    of, _ = await disputed_twice(stage)
    await stage.rows(
        "UPDATE payments SET dispute_status = 'won', dispute_seen_at = now() WHERE booking_id = $1", of.id
    )
    (due,) = await stage.due("check_at", timedelta(minutes=1))
    assert due.booking_id == of.id
    (report,) = await stage.do(of.sync)
    assert (report.payment.disputed, seen(report)) == (True, [("lost", 2000), ("won", 3000)])
    row = await stage.row(of)
    assert (row["look_after"], row["dispute_status"]) == (None, "lost")
