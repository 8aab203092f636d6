"""Objects match the SDK's own resource classes: every required field is there, and of its type."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, ForwardRef, Literal

import pytest
import stripe

from tests.sandbox.stand import Json, Stand

CLASSES: dict[str, type[stripe.StripeObject]] = {
    "account": stripe.Account,
    "balance": stripe.Balance,
    "balance_transaction": stripe.BalanceTransaction,
    "charge": stripe.Charge,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "refund": stripe.Refund,
}
SCALARS = (str, int, float, bool)


def faults_of(body: Any, declared: Any, path: str) -> Iterator[str]:
    """The paths at which a value does not match the SDK's declaration."""
    if isinstance(declared, str | ForwardRef):
        # The classes name each other before they are defined; an expanded object is checked by itself.
        return
    origin, args = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        if not any(fits(body, choice, path) for choice in args):
            yield f"{path}: {body!r} is not one of {args}"
    elif origin is Literal:
        if body not in args:
            yield f"{path}: {body!r} is not one of {args}"
    elif origin is list:
        if not isinstance(body, list):
            yield f"{path}: {body!r} is no list"
        else:
            for index, element in enumerate(body):
                yield from faults_of(element, args[0], f"{path}[{index}]")
    elif declared in SCALARS:
        if type(body) is not declared and not (declared is float and type(body) is int):
            yield f"{path}: {body!r} is no {declared.__name__}"
    elif declared is type(None):
        if body is not None:
            yield f"{path}: {body!r} is not null"
    elif isinstance(origin, type):
        if not isinstance(body, dict):
            yield f"{path}: {body!r} is no hash"
    elif isinstance(declared, type) and issubclass(declared, stripe.StripeObject):
        yield from faults_of_object(body, declared, path)


def fits(body: Any, declared: Any, path: str) -> bool:
    if isinstance(declared, ForwardRef):
        return isinstance(body, dict)
    return not list(faults_of(body, declared, path))


def faults_of_object(body: Any, declared: type[stripe.StripeObject], path: str) -> Iterator[str]:
    if not isinstance(body, dict):
        yield f"{path}: {body!r} is no object"
        return
    fields = {name: kind for name, kind in declared.__annotations__.items() if name != "OBJECT_NAME"}
    for name, kind in fields.items():
        optional = type(None) in typing.get_args(kind)
        if name in body:
            yield from faults_of(body[name], kind, f"{path}.{name}")
        elif not optional:
            yield f"{path}.{name} is missing"


async def bodies(stand: Stand) -> list[Json]:
    """Objects of every kind, in every state that they can have."""
    for card in ("pm_card_visa", "pm_card_authenticationRequired", "pm_usBankAccount_processing"):
        await stand.paid(5000, card=card, metadata={"a": "1"})
    await stand.paid(5000, capture_method="manual")
    await stand.stripe.v1.payment_intents.cancel_async((await stand.intent()).id)
    with pytest.raises(stripe.CardError):
        await stand.paid(card="pm_card_visa_chargeDeclined")
    await stand.confirm((await stand.intent(2000, "eur")).id, "pm_sepaDebit_processing")
    failing = await stand.paid(card="pm_card_refundFail")
    pending = await stand.paid(card="pm_card_pendingRefund")
    for paid in (failing, pending):
        await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id, "amount": 1000})
    disputed = await stand.paid(card="pm_card_createDispute")
    await stand.receiver.until(1, "charge.dispute.funds_withdrawn", of=disputed.id)
    await stand.receiver.until(1, "refund.failed", of=failing.id)
    await stand.receiver.until(1, "refund.updated", of=pending.id)

    found: list[Json] = []
    for kind in ("payment_intents", "charges", "refunds", "disputes", "events"):
        page = await stand.call("GET", f"/v1/{kind}", {"limit": "100"})
        assert page.body["data"]
        found += page.body["data"]
    for kind in ("account", "balance"):
        found.append((await stand.call("GET", f"/v1/{kind}")).body)
    for charge in [each for each in found if each["object"] == "charge"]:
        found.append((await stand.call("GET", f"/v1/payment_methods/{charge['payment_method']}")).body)
        if charge["balance_transaction"] is not None:
            path = f"/v1/balance_transactions/{charge['balance_transaction']}"
            found.append((await stand.call("GET", path)).body)
    return found


async def test_objects_have_the_shapes_that_the_sdk_declares(stand: Stand) -> None:
    """Every object of every kind, and the objects inside events."""
    found = await bodies(stand)
    found += [event["data"]["object"] for event in found if event["object"] == "event"]
    wrong = [
        fault for body in found for fault in faults_of_object(body, CLASSES[body["object"]], str(body["object"]))
    ]
    assert {body["object"] for body in found} == set(CLASSES)
    assert sorted(set(wrong)) == []


async def test_objects_have_no_fields_that_the_sdk_does_not_know(stand: Stand) -> None:
    """Fields that Stripe no longer sends are not sent here, either."""
    unknown = {
        f"{body['object']}.{name}"
        for body in await bodies(stand)
        for name in set(body) - set(CLASSES[body["object"]].__annotations__)
    }
    assert unknown == set()


def test_the_check_finds_a_wrong_shape() -> None:
    """So the comparison can fail."""
    refund = {"id": "re_1", "object": "refund", "amount": "5", "created": 1, "status": "succeeded"}
    assert set(faults_of_object(refund, stripe.Refund, "refund")) == {
        "refund.amount: '5' is no int",
        "refund.currency is missing",
    }
