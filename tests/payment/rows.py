"""Payments that calls to the sandbox bring to each status, and snapshots that a test makes up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from payment.stripe_calls import create_intent
from tests.payment.stage import Booking, Stage, booking, wanted
from tests.sandbox.stand import CONTROL

INTENTS = "/v1/payment_intents"
NUMBERS = count(1)
Json = dict[str, Any]

# The statuses that Stripe may show of an intent, each with a Stripe event that shows it.
SHOWN = {
    "requires_payment_method": "payment_intent.payment_failed",
    "requires_confirmation": "payment_intent.payment_failed",
    "requires_action": "payment_intent.requires_action",
    "processing": "payment_intent.processing",
    "requires_capture": "payment_intent.amount_capturable_updated",
    "succeeded": "payment_intent.succeeded",
    "canceled": "payment_intent.canceled",
}
TERMINAL = ("succeeded", "canceled")


async def made(stage: Stage, of: Sequence[Booking]) -> list[str]:
    """Make intents for these bookings; returns their ids."""
    reports = await stage.do(*(each.create for each in of))
    ids = {report.booking_id: report.payment.intent_id for report in reports}
    return [ids[each.id] or "" for each in of]


async def interrupted(stage: Stage, of: Sequence[Booking]) -> None:
    """Stripe has made the intents, but the process that asked for them was killed before the answer."""
    await stage.record(*of)
    for each in of:
        payment = wanted(each, stage.clock())
        await create_intent(stage.stripe, payment, await stage.store.installation(), deadline=float("inf"))


def confirmed(card: str, **form: Any) -> Callable[[Stage, Sequence[Booking]], Awaitable[None]]:
    """The customer pays with this card, and the webhooks arrive."""

    async def begin(stage: Stage, of: Sequence[Booking]) -> None:
        intents = await made(stage, of)
        form_ = {"payment_method": card, "return_url": "https://shop.example/", **form}
        for intent in intents:
            await stage.call("POST", f"{INTENTS}/{intent}/confirm", **form_)
        events = await stage.events(*set(SHOWN.values()))
        await stage.webhooks(*(event for event in events if event["data"]["object"]["id"] in intents))

    return begin


async def payable(stage: Stage, of: Sequence[Booking]) -> None:
    await made(stage, of)


async def chosen(stage: Stage, of: Sequence[Booking]) -> None:
    """The customer has chosen how to pay: Stripe has no event for that."""
    for intent in await made(stage, of):
        await stage.call("POST", f"{INTENTS}/{intent}", payment_method="pm_card_visa")
    await stage.do(*(each.sync for each in of))


async def canceled(stage: Stage, of: Sequence[Booking]) -> None:
    await made(stage, of)
    await stage.do(*(each.cancel for each in of))


async def never_wanted(stage: Stage, of: Sequence[Booking]) -> None:
    await stage.do(*(each.cancel for each in of))


async def rejected(stage: Stage, of: Sequence[Booking]) -> None:
    for each in of:
        each.amount = 1  # less than Stripe's minimum
    await stage.do(*(each.create for each in of))


# What brings a payment to each status.
STARTS: dict[str, Callable[[Stage, Sequence[Booking]], Awaitable[None]]] = {
    "creating": interrupted,
    "requires_payment_method": payable,
    "requires_payment_method, declined": confirmed("pm_card_chargeDeclined"),
    "requires_confirmation": chosen,
    "requires_action": confirmed("pm_card_authenticationRequired"),
    "processing": confirmed("pm_sepaDebit_success"),
    "requires_capture": confirmed("pm_card_visa", capture_method="manual"),
    "succeeded": confirmed("pm_card_visa"),
    "canceled": canceled,
    "canceled, never wanted": never_wanted,
    "rejected": rejected,
}
WITHOUT_INTENT = ("canceled, never wanted", "rejected")


async def begin(stage: Stage, start: str, number: int) -> list[Booking]:
    """As many payments in that status as `number` says."""
    of = [booking() for _ in range(number)]
    await STARTS[start](stage, of)
    rows = [await stage.row(each) for each in of]
    assert {row["status"] for row in rows} == {start.partition(",")[0]}
    return of


async def intents_of(stage: Stage, of: Sequence[Booking]) -> dict[Any, Json]:
    """The intents at Stripe whose metadata names these bookings."""
    listed = (await stage.call("GET", INTENTS, limit=100))["data"]
    named = {intent["metadata"].get("booking_id"): intent for intent in listed}
    return {each.id: named[str(each.id)] for each in of}


async def by_hand(stage: Stage, of: Sequence[Booking]) -> dict[Any, Json]:
    """Intents that somebody makes for these bookings by hand at Stripe."""
    form = {"amount": 700, "currency": "eur", "automatic_payment_methods[enabled]": "true"}
    return {
        each.id: await stage.call("POST", INTENTS, **form, **{"metadata[booking_id]": str(each.id)}) for each in of
    }


async def bank(stage: Stage, path: str, **form: Any) -> Json:
    """An act of a bank, a customer or the dashboard, by the sandbox's control requests."""
    async with stage.session.post(f"{stage.stripe_url}/_sandbox/{path}", json=form, headers=CONTROL) as answer:
        assert answer.status == 200, await answer.text()
        done: Json = await answer.json()
        return done


def shown_as(intent: Json, status: str) -> Json:
    """The intent as Stripe shows it in that status."""
    return {**intent, "status": status, "amount_received": intent["amount"] if status == "succeeded" else 0}


def event(intent: Json, status: str, seen_at: datetime | None, age_s: int) -> Json:
    """A Stripe event with the intent in that status, `age_s` seconds younger than the payment's last snapshot."""
    at = (seen_at or datetime.fromtimestamp(intent["created"])) + timedelta(seconds=age_s)  # noqa: DTZ006
    return {
        "id": f"evt_made_up_{next(NUMBERS)}",
        "object": "event",
        "type": SHOWN[status],
        "created": int(at.timestamp()),
        "livemode": False,
        "data": {"object": shown_as(intent, status)},
    }
