"""Each kind of fault that can be switched on, and that a seed repeats them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import stripe
from aiohttp import ClientSession, ServerDisconnectedError

from sandbox.faults import Fate, Fault, Faults, Switches
from tests.sandbox.stand import Answer, Stand, client

INTENTS = "/v1/payment_intents"
FORM = {"amount": "2000", "currency": "usd"}
SHORT_S = 0.5


async def create(stand: Stand, key: str) -> Answer:
    return await stand.call("POST", INTENTS, FORM, Idempotency_Key=key)


async def made(stand: Stand) -> int:
    return len((await stand.control("GET", "/ledger"))["payment_intents"])


async def test_after_an_error_before_the_work_nothing_is_stored(stand: Stand) -> None:
    """A repeated request with the same key succeeds."""
    await stand.faults(error_before={"count": 2}, error_status=503)
    first, second = await create(stand, "k"), await create(stand, "k")
    assert (first.status, second.status, first.error["type"]) == (503, 503, "api_error")
    assert await made(stand) == 0

    assert (await create(stand, "k")).status == 200
    assert (await stand.control("GET", "/faults"))["done"] == {"error_before": 2}


async def test_an_error_after_the_work_is_repeated(stand: Stand) -> None:
    """The intent exists, and the key is answered with the same error again."""
    await stand.faults(error_after={"count": 1})
    first, again = await create(stand, "k"), await create(stand, "k")
    assert (first.status, again.status, again.body) == (500, 500, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await made(stand) == 1
    assert len(await stand.receiver.until(1, "payment_intent.created")) == 1
    with pytest.raises(stripe.APIError):
        await stand.stripe.v1.payment_intents.create_async(
            {"amount": 2000, "currency": "usd"}, {"idempotency_key": "k"}
        )
    assert (await create(stand, "other")).status == 200


async def test_a_retry_after_a_timeout_gets_the_stored_answer(stand: Stand, session: ClientSession) -> None:
    """The caller has given up; the same key is answered with the intent that was made."""
    await stand.faults(timeout_after={"count": 1})
    hasty = client(stand.url, session, timeout_s=SHORT_S)
    with pytest.raises(stripe.APIConnectionError):
        await hasty.v1.payment_intents.create_async({"amount": 2000, "currency": "usd"}, {"idempotency_key": "k"})

    answered = await create(stand, "k")
    (event,) = await stand.receiver.until(1, "payment_intent.created")
    assert (answered.status, answered.headers["Idempotent-Replayed"]) == (200, "true")
    assert answered.body["id"] == event["data"]["object"]["id"]
    assert await made(stand) == 1


async def test_a_hanging_connection_is_closed_in_the_end(stand: Stand) -> None:
    """After `hang_seconds`, or when the switches change."""
    await stand.faults(timeout_after=1, hang_seconds=0.05)
    with pytest.raises(ServerDisconnectedError):
        await create(stand, "one")
    await stand.faults(timeout_after=1)
    waiting = asyncio.create_task(create(stand, "two"))
    while await made(stand) < 2:
        assert not waiting.done()
    assert (await stand.control("DELETE", "/faults"))["done"] == {}
    with pytest.raises(ServerDisconnectedError):
        await waiting
    assert (await create(stand, "two")).status == 200


async def test_a_forced_rate_limit_has_retry_after(stand: Stand) -> None:
    """Nothing is done, and nothing is stored."""
    await stand.faults(limit={"count": 1}, retry_after_seconds=0.5)
    with pytest.raises(stripe.RateLimitError) as limited:
        await stand.intent()
    assert limited.value.headers is not None
    assert limited.value.headers["Retry-After"] == "0.5"
    assert await made(stand) == 0
    await stand.intent()


async def test_latency_delays_the_answer(stand: Stand) -> None:
    """By at least the time that was asked for."""
    await stand.faults(latency_ms=100, latency_jitter_ms=20)
    started = time.monotonic()
    await stand.intent()
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize(
    ("switches", "struck"),
    [
        ({"paths": [INTENTS]}, {"create", "list"}),
        ({"paths": [INTENTS], "methods": ["POST"]}, {"create"}),
        ({"paths": [f"{INTENTS}/*"]}, {"retrieve"}),
        ({"methods": ["GET"]}, {"list", "retrieve"}),
        ({}, {"create", "list", "retrieve"}),
    ],
)
async def test_faults_apply_only_to_their_methods_and_paths(
    stand: Stand, switches: dict[str, Any], struck: set[str]
) -> None:
    """They are chosen by method and path."""
    known = await stand.intent()
    await stand.faults(error_before=1, **switches)
    calls = {"create": ("POST", INTENTS), "list": ("GET", INTENTS), "retrieve": ("GET", f"{INTENTS}/{known.id}")}
    found = set()
    for name, (method, path) in calls.items():
        if (await stand.call(method, path, FORM if method == "POST" else None)).status == 500:
            found.add(name)
    assert found == struck


async def test_dropped_webhooks_are_not_delivered(stand: Stand) -> None:
    """Only those of the named types. The event list still has them, and a control request can send them."""
    await stand.faults(webhooks={"drop": {"count": 1}, "types": ["payment_intent.succeeded"]})
    lost, kept = await stand.paid(), await stand.paid()
    await stand.receiver.until(1, "payment_intent.succeeded", of=kept.id)
    await stand.receiver.until(3, of=lost.id)
    assert stand.receiver.accepted("payment_intent.succeeded", of=lost.id) == []
    assert (await stand.control("GET", "/webhooks"))["deliveries"]["dropped"] == 1

    (event,) = (await stand.stripe.v1.events.list_async({"delivery_success": False})).data
    assert event.data.object["id"] == lost.id
    await stand.control("POST", f"/events/{event.id}/redeliver")
    await stand.receiver.until(1, "payment_intent.succeeded", of=lost.id)
    assert "dropped" not in (await stand.control("GET", "/webhooks"))["deliveries"]


async def test_all_webhooks_can_be_dropped(stand: Stand) -> None:
    """Until the fault is switched off."""
    await stand.faults(webhooks={"drop": 1})
    await stand.paid()
    await stand.control("DELETE", "/faults")
    paid = await stand.paid()
    await stand.receiver.until(4, of=paid.id)
    assert len(stand.receiver.arrivals) == 4


async def test_doubled_webhooks_are_delivered_twice(stand: Stand) -> None:
    """Both have the same event."""
    await stand.faults(webhooks={"double": 1})
    intent = await stand.intent()
    first, second = await stand.receiver.until(2, of=intent.id)
    assert first["id"] == second["id"]


async def test_delayed_webhooks_are_delivered_late(stand: Stand) -> None:
    """By at least the time that was asked for."""
    await stand.faults(webhooks={"delay": 1, "delay_ms": 150})
    started = time.monotonic()
    intent = await stand.intent()
    await stand.receiver.until(1, of=intent.id)
    assert stand.receiver.arrivals[0].at - started >= 0.15


async def test_reordered_webhooks_are_delivered_in_another_order(stand: Stand) -> None:
    """All of them arrive."""
    await stand.faults(webhooks={"reorder": 1, "reorder_window_ms": 200}, seed=7)
    await asyncio.gather(*(stand.intent() for _ in range(8)))
    received = [event["id"] for event in await stand.receiver.until(8)]
    listed = [event.id for event in reversed((await stand.stripe.v1.events.list_async()).data)]
    assert sorted(received) == sorted(listed)
    assert received != listed


def strikes(seed: int) -> list[Fault | Fate]:
    faults = Faults()
    faults.set(
        Switches.model_validate(
            {
                "seed": seed,
                "latency_jitter_ms": 50,
                "error_before": 0.3,
                "error_after": 0.3,
                "timeout_after": 0.3,
                "limit": 0.3,
                "webhooks": {"drop": 0.2, "double": 0.5, "reorder": 0.5},
            }
        )
    )
    requests: list[Fault | Fate] = [faults.of_request("POST", INTENTS) for _ in range(100)]
    return requests + [faults.of_delivery("charge.refunded") for _ in range(100)]


async def test_the_same_seed_gives_the_same_faults() -> None:
    """Another seed is another run; every fault occurs."""
    first = strikes(1)
    assert first == strikes(1)
    assert first != strikes(2)
    requests = [strike for strike in first if isinstance(strike, Fault)]
    for name in ("limited", "error_before", "error_after", "timeout_after"):
        assert 0 < sum(getattr(fault, name) for fault in requests) < 100
    assert not any(fault.limited and fault.error_after for fault in requests)


@pytest.mark.parametrize(
    "switches",
    [
        {"error_before": 1.5},
        {"error_before": {"count": -1}},
        {"error_before": "often"},
        {"latency": 5},
        {"webhooks": {"lose": 1}},
        {"error_status": 404},
        {"latency_ms": -1},
        [],
    ],
)
async def test_wrong_switches_are_refused(stand: Stand, switches: Any) -> None:
    """They change nothing."""
    await stand.faults(latency_ms=1)
    answer = await stand.try_control("POST", "/faults", json=switches)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert (await stand.control("GET", "/faults"))["switches"]["latency_ms"] == 1


async def test_faults_never_apply_to_control_requests(stand: Stand) -> None:
    """So faults can always be switched off."""
    await stand.faults(error_before=1)
    assert await stand.control("GET", "/health") == {"status": "ok"}
    assert (await stand.control("DELETE", "/faults"))["switches"]["error_before"] == 0
    await stand.intent()
