"""Whole lives of payments by Stripe's events: in every order, one by one, together and doubled."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from common.contracts.messages import SyncPayment
from payment.stripe_objects import CREATED_TYPE, EVENT_TYPES
from tests.payment.rows import Json, bank, by_hand
from tests.payment.stage import Booking, Stage, booking, received

# What depends on the order: how many changes were visible, and when.
REPORTED = {"version", "report_after", "report_attempts", "last_change"}
# So does this. A late attempt gives no time, so which attempt was the last to give some depends on the order, too.
PATH = REPORTED | {"seen_at", "updated_at", "drive_after", "doubts", "look_attempts", "last_attempt_at"}
INTENT = "payment_intent"


async def pay(stage: Stage, intent: str, *cards: str) -> None:
    for card in cards:
        await stage.pay(intent, card)


async def declined_and_then_paid(stage: Stage, intent: str) -> None:
    """A declined card, a card with a challenge that is left open, and a debit that takes a while."""
    await pay(stage, intent, "pm_card_chargeDeclined", "pm_card_authenticationRequired", "pm_sepaDebit_success")
    await bank(stage, f"payment_intents/{intent}/succeed")


async def declined_and_then_canceled(stage: Stage, intent: str) -> None:
    await pay(stage, intent, "pm_card_chargeDeclined", "pm_sepaDebit_failed")
    await bank(stage, f"payment_intents/{intent}/fail")
    await stage.call("POST", f"/v1/payment_intents/{intent}/cancel")


async def held_and_then_captured(stage: Stage, intent: str) -> None:
    form = {"payment_method": "pm_card_visa", "return_url": "https://shop.example/", "capture_method": "manual"}
    await stage.call("POST", f"/v1/payment_intents/{intent}/confirm", **form)
    await stage.call("POST", f"/v1/payment_intents/{intent}/capture")


async def refunded_in_parts(stage: Stage, intent: str) -> None:
    await pay(stage, intent, "pm_card_visa")
    await bank(stage, f"payment_intents/{intent}/refund", amount=1500)
    await bank(stage, f"payment_intents/{intent}/refund")


async def refund_that_fails_in_the_end(stage: Stage, intent: str) -> None:
    """Under way, then reported as succeeded, then failed days later."""
    await pay(stage, intent, "pm_card_pendingRefund")
    refund = await bank(stage, f"payment_intents/{intent}/refund", amount=2000)
    await bank(stage, f"refunds/{refund['id']}/succeed")
    await bank(stage, f"refunds/{refund['id']}/fail")


async def refund_that_failed_and_was_made_again(stage: Stage, intent: str) -> None:
    await pay(stage, intent, "pm_card_visa")
    refund = await bank(stage, f"payment_intents/{intent}/refund")
    await bank(stage, f"refunds/{refund['id']}/fail")
    await bank(stage, f"payment_intents/{intent}/refund")


async def dispute_that_is_won(stage: Stage, intent: str) -> None:
    await pay(stage, intent, "pm_card_visa")
    dispute = await bank(stage, f"payment_intents/{intent}/dispute")
    await stage.call("POST", f"/v1/disputes/{dispute['id']}", **{"evidence[product_description]": "A concert"})
    await bank(stage, f"disputes/{dispute['id']}/won")


async def dispute_that_is_lost(stage: Stage, intent: str) -> None:
    await pay(stage, intent, "pm_card_visa")
    dispute = await bank(stage, f"payment_intents/{intent}/dispute")
    await bank(stage, f"disputes/{dispute['id']}/lost")


Life = Callable[[Stage, str], Awaitable[None]]
PAID, REFUND = f"{INTENT}.succeeded", "refund.created"
DISPUTE = "charge.dispute"
# What happens; its Stripe events in their order; the payment at the end: status, captured, refunded, dispute
# status; and its refunds.
LIVES: dict[str, tuple[Life, tuple[str, ...], tuple[Any, ...], list[tuple[str, int]]]] = {
    "paid at the third try": (
        declined_and_then_paid,
        (CREATED_TYPE, f"{INTENT}.payment_failed", f"{INTENT}.requires_action", f"{INTENT}.processing", PAID),
        ("succeeded", 5000, 0, None),
        [],
    ),
    "canceled after two tries": (
        declined_and_then_canceled,
        (f"{INTENT}.payment_failed", f"{INTENT}.processing", f"{INTENT}.payment_failed", f"{INTENT}.canceled"),
        ("canceled", 0, 0, None),
        [],
    ),
    "held, then captured": (
        held_and_then_captured,
        (CREATED_TYPE, f"{INTENT}.amount_capturable_updated", PAID),
        ("succeeded", 5000, 0, None),
        [],
    ),
    "refunded in parts": (
        refunded_in_parts,
        (PAID, REFUND, "charge.refunded", REFUND, "charge.refunded"),
        ("succeeded", 5000, 5000, None),
        [("succeeded", 1500), ("succeeded", 3500)],
    ),
    "a refund that fails in the end": (
        refund_that_fails_in_the_end,
        (PAID, REFUND, "refund.updated", "charge.refund.updated", "refund.failed"),
        ("succeeded", 5000, 0, None),
        [("failed", 2000)],
    ),
    "a refund that failed and was made again": (
        refund_that_failed_and_was_made_again,
        (PAID, REFUND, "refund.failed", REFUND),
        ("succeeded", 5000, 5000, None),
        [("failed", 5000), ("succeeded", 5000)],
    ),
    "a dispute that is won": (
        dispute_that_is_won,
        tuple(
            f"{DISPUTE}.{each}" for each in ("created", "funds_withdrawn", "updated", "funds_reinstated", "closed")
        ),
        ("succeeded", 5000, 0, "won"),
        [],
    ),
    "a dispute that is lost": (
        dispute_that_is_lost,
        (PAID, f"{DISPUTE}.created", f"{DISPUTE}.closed"),
        ("succeeded", 5000, 0, "lost"),
        [],
    ),
}


async def lived(stage: Stage, name: str) -> tuple[Booking, list[Json], Any]:
    """The booking, the Stripe events of its payment's life, and the payment's row before any of them."""
    live, types, _, _ = LIVES[name]
    of = booking()
    (report,) = await stage.do(of.create)
    assert report.payment.intent_id is not None
    await live(stage, report.payment.intent_id)
    happened = await stage.events(*set(types), of=report.payment.intent_id)
    kept: list[Json] = []
    for kind in types:
        kept.append(next(each for each in happened if each["type"] == kind and each not in kept))
    if PAID not in types and name.startswith("a dispute"):
        await stage.webhooks(*await stage.events(PAID, of=report.payment.intent_id))
    return of, kept, dict(await stage.row(of))


async def again(stage: Stage, of: Booking, payment: Any) -> None:
    """Restore the database to the state before the first event."""
    async with stage.database.connection() as connection:
        for table in ("stripe_events", "refunds", "disputes", "payment_attempts", "payments"):
            await connection.execute(f"DELETE FROM {table}")
        columns = ", ".join(payment)
        numbers = ", ".join(f"${number}" for number, _ in enumerate(payment, start=1))
        await connection.execute(f"INSERT INTO payments ({columns}) VALUES ({numbers})", *payment.values())


async def end(stage: Stage, of: Booking) -> tuple[Any, ...]:
    """Everything that must not depend on the order."""
    row = await stage.row(of)
    refunds = await stage.rows("SELECT status, amount, by_hand, stripe_refund_id FROM refunds ORDER BY 4")
    attempts = await stage.rows("SELECT id, code FROM payment_attempts ORDER BY 1")
    seen = {name: value for name, value in dict(row).items() if name not in PATH}
    return seen, [tuple(each) for each in refunds], [tuple(each) for each in attempts]


def orders(count: int) -> list[tuple[int, ...]]:
    """All orders if there are at most twelve, else the first, the last, and ten others: the same ones each time."""
    every = list(permutations(range(count)))
    return [every[0], every[-1], *random.Random(count).sample(every, 10)] if len(every) > 12 else every


@pytest.mark.parametrize("apart_s", [0, 7])
@pytest.mark.parametrize("life", LIVES)
async def test_a_payments_events_end_alike_in_every_order(stage: Stage, life: str, apart_s: int) -> None:
    """Also if all happened within one second of Stripe's time; and no repeated event changes the result."""
    of, events, payment = await lived(stage, life)
    for number, event in enumerate(events):
        event["created"] = events[0]["created"] + number * apart_s
    _, _, expected, refunds = LIVES[life]
    ends = []
    for order in orders(len(events)):
        shuffled = [events[number] for number in order]
        for batches in ([[each] for each in shuffled], [shuffled + shuffled]):
            await again(stage, of, payment)
            reports = [report for batch in batches for report in await stage.webhooks(*batch)]
            ends.append(await end(stage, of))
            newest = (await stage.row(of))["version"]
            assert max((report.payment.version for report in reports), default=newest) == newest
            assert await stage.webhooks(*shuffled) == []
            assert await end(stage, of) == ends[-1], order

    seen, made, _ = ends[0]
    shown = (seen["status"], seen["amount_captured"], seen["amount_refunded"], seen["dispute_status"])
    assert shown == expected
    assert sorted((status, amount) for status, amount, *_ in made) == sorted(refunds)
    assert all(each == ends[0] for each in ends)


def test_every_event_that_changes_a_payment_is_in_a_life() -> None:
    """A new type needs a life here, too."""
    assert {kind for _, types, _, _ in LIVES.values() for kind in types} == EVENT_TYPES


async def test_a_lost_sync_is_published_again(stage: Stage) -> None:
    """A refund by hand arrives before the money that it refunds, and the process dies before it fetches both: the
    payment stays due until Stripe's own object has been read."""
    of, events, _ = await lived(stage, "refunded in parts")
    lost = await stage.give(*map(received, events[1:]))
    assert {type(envelope.message) for envelope in lost} == {SyncPayment}
    await stage.webhooks(events[0])
    assert (await stage.row(of))["amount_refunded"] == 0

    assert len(await stage.rows("SELECT id FROM stripe_events")) == len(events)
    (due,) = await stage.due("check_at", timedelta(minutes=1))
    await stage.do(SyncPayment(booking_id=due.booking_id))
    row = await stage.row(of)
    assert (row["amount_refunded"], row["look_after"]) == (5000, None)


async def test_an_event_of_money_never_captured_needs_no_fetch(stage: Stage) -> None:
    """Held money that is released, reported in the way of older API versions, or a stray intent's refund: neither
    is money that this payment has captured."""
    held, other = booking(), booking()
    made, paid = (await stage.do(held.create))[0], await stage.paid(other)
    form = {"payment_method": "pm_card_visa", "return_url": "https://shop.example/", "capture_method": "manual"}
    await stage.call("POST", f"/v1/payment_intents/{made.payment.intent_id}/confirm", **form)
    await stage.do(held.cancel)
    stray = (await by_hand(stage, [other]))[other.id]["id"]
    await stage.pay(stray)
    await bank(stage, f"payment_intents/{stray}/refund")
    refunded = await stage.events(of=stray)
    charge = {"id": "ch_1", "object": "charge", "payment_intent": made.payment.intent_id, "amount_refunded": 5000}
    released = [{**refunded[0], "id": "evt_released", "type": "charge.refunded", "data": {"object": charge}}]

    assert len(released) == 1
    assert len(refunded) >= 4
    assert await stage.webhooks(*released, *refunded) == []
    stored = {row["id"] for row in await stage.rows("SELECT id FROM stripe_events")}
    assert stored >= {event["id"] for event in (*released, *refunded)}
    assert (await stage.row(other))["version"] == paid.payment.version
