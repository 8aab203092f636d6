"""The webhook endpoint: events that Stripe did not sign, signed ones of a strange form, and random bytes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
from hypothesis import strategies as st
from stripe import WebhookSignature

from payment.stripe_objects import EVENT_TYPES
from tests.acceptance.client import Json
from tests.fuzz.answers import ONCE, check
from tests.fuzz.examples import JSON, Progress, tried
from tests.fuzz.harness import Harness
from tests.fuzz.tally import Tally

REFUSED, STRANGE = "webhook: not Stripe's", "webhook: strange"
BODY_MAX = 512 * 1024
PROBLEMS = frozenset({"invalid_signature", "malformed_request", "payload_too_large"})
VERSIONS = ("2020-08-27", "2025-03-31.basil", "2099-01-01.future", "", "yesterday")
# Fields of a victim's intent that decide about money: they get only values that cannot be read at all.
DECISIVE = frozenset(
    {
        "id",
        "object",
        "status",
        "amount_received",
        "amount",
        "currency",
        "client_secret",
        "latest_charge",
        "last_payment_error",
    }
)


@dataclass(frozen=True)
class Hook:
    """One webhook request. `signature`: the header, if any."""

    body: bytes
    signature: str | None


async def refused(harness: Harness, requests: int, seed: int, tally: Tally, progress: Progress) -> None:
    """None of these comes from Stripe: each is answered 400, and changes nothing."""

    async def attempt(hook: Hook) -> None:
        await _post(harness, REFUSED, hook, tally, (400,))

    await tried(REFUSED, _refused(harness), attempt, requests, seed, tally, progress)


async def strange(harness: Harness, requests: int, seed: int, tally: Tally, progress: Progress) -> None:
    """Bodies of every form, signed with the right secret: accepted, or refused because they are no event."""

    async def attempt(hook: Hook) -> None:
        await _post(harness, STRANGE, hook, tally, (200, 400))

    intents = [
        await harness.holdfast.stripe.intent(victim.booking["payment"]["intent_id"]) for victim in harness.victims
    ]
    await tried(STRANGE, _strange(harness, intents), attempt, requests, seed, tally, progress)


# --- what is sent -----------------------------------------------------------------------------------------


def _refused(harness: Harness) -> st.SearchStrategy[Hook]:
    secret = harness.holdfast.stack.secrets.webhook_secret
    bodies = st.binary(max_size=500) | _events([]).map(_dump)
    headers = st.none() | st.text(st.characters(min_codepoint=32, exclude_characters="\x7f"), max_size=99)
    forged = headers | st.builds("t={},v1={}".format, st.integers(), st.text("0123456789abcdefé", max_size=64))

    def of_another(body: bytes) -> Hook:
        return Hook(body, signed(body, "whsec_of_another"))

    def stale(body: bytes, age_s: int) -> Hook:
        return Hook(body, signed(body, secret, time.time() - age_s))

    def tampered(body: bytes, at: int) -> Hook:
        at %= len(body)
        return Hook(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], signed(body, secret))

    def truncated(body: bytes, size: int) -> Hook:
        return Hook(body[: size % len(body)], signed(body, secret))

    events = _events([]).map(_dump)
    return st.one_of(
        st.builds(Hook, bodies, forged),
        events.map(of_another),
        st.builds(stale, events, st.integers(310, 10**9)),
        st.builds(tampered, events, st.integers(0, 10**6)),
        st.builds(truncated, events, st.integers(0, 10**6)),
        # Rarely, because each has half a megabyte.
        st.integers(0, 99).flatmap(
            lambda die: st.just(Hook(b" " * (BODY_MAX + 1), None)) if die == 0 else events.map(of_another)
        ),
    )


def _strange(harness: Harness, intents: list[Json]) -> st.SearchStrategy[Hook]:
    secret = harness.holdfast.stack.secrets.webhook_secret
    bookings = [victim.booking["id"] for victim in harness.victims]
    events = _events(bookings) | _events(bookings) | _of_victims(intents) | JSON
    return events.map(_dump).map(lambda body: Hook(body, signed(body, secret)))


def _events(bookings: list[str]) -> st.SearchStrategy[Json]:
    """Stripe events about objects that payment does not know, with any content, and fields missing or wrong."""
    kinds = st.sampled_from(sorted(EVENT_TYPES)) | st.text(max_size=40) | st.just("customer.created")
    ids = st.builds(lambda prefix: f"{prefix}_{uuid4().hex}", st.sampled_from(["pi", "re", "ch", "dp", "cus"]))
    named = st.sampled_from([*bookings, str(uuid4()), "", "none of ours"]) | JSON
    metadata = (
        st.fixed_dictionaries({}, optional={"booking_id": named, "refund_id": named, "event_id": named}) | JSON
    )
    stripe_object = st.fixed_dictionaries(
        {"id": ids, "object": st.sampled_from(["payment_intent", "refund", "charge", "dispute", "customer"])},
        optional={
            "status": st.sampled_from(["succeeded", "canceled", "processing", "requires_action", "new"]) | JSON,
            "amount": st.integers(-1, 2**40) | JSON,
            "currency": st.just("eur") | JSON,
            "client_secret": JSON,
            "amount_received": st.integers(-1, 2**40) | JSON,
            "amount_refunded": st.integers() | JSON,
            "payment_intent": ids | JSON,
            "latest_charge": ids | JSON,
            "last_payment_error": JSON,
            "metadata": metadata,
        },
    )
    event = st.fixed_dictionaries(
        {
            "id": st.builds(lambda: f"evt_{uuid4().hex}"),
            "object": st.just("event"),
            "type": kinds,
            "created": st.integers(1_500_000_000, 1_900_000_000) | JSON,
            "livemode": st.just(False) | JSON,
            "data": st.fixed_dictionaries({"object": stripe_object | JSON}) | JSON,
        },
        optional={"api_version": st.sampled_from(VERSIONS) | JSON, "pending_webhooks": JSON, "request": JSON},
    )
    return event | st.builds(
        _without, event, st.sampled_from(["id", "object", "type", "created", "livemode", "data"])
    )


def _of_victims(intents: list[Json]) -> st.SearchStrategy[Json]:
    """Stripe events about the victims' intents that are true, except one field with another value."""

    def spoiled(intent: Json, kind: str, name: str, value: Any) -> Json:
        if name in DECISIVE:
            value = [value]
        stripe_object = {**intent, name: value}
        return {
            "id": f"evt_{uuid4().hex}",
            "object": "event",
            "type": kind,
            "created": int(time.time()),
            "livemode": False,
            "data": {"object": stripe_object},
        }

    names = sorted({name for intent in intents for name in intent})
    kinds = sorted(kind for kind in EVENT_TYPES if kind.startswith("payment_intent."))
    return st.builds(spoiled, st.sampled_from(intents), st.sampled_from(kinds), st.sampled_from(names), JSON)


def _without(event: Json, name: str) -> Json:
    return {key: value for key, value in event.items() if key != name}


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def signed(body: bytes, secret: str, at: float | None = None) -> str:
    """Stripe's header for `body`."""
    sign: Callable[..., str] = WebhookSignature.generate_signature_header
    return sign(body.decode(), secret, int(at or time.time()))


# --- what comes back --------------------------------------------------------------------------------------


async def _post(harness: Harness, part: str, hook: Hook, tally: Tally, allowed: tuple[int, ...]) -> None:
    headers = ONCE if hook.signature is None else {**ONCE, "Stripe-Signature": hook.signature}
    url = harness.holdfast.stack.webhook_url
    try:
        async with harness.holdfast.session.post(url, data=hook.body, headers=headers) as answer:
            raw = await answer.read()
    except aiohttp.ClientConnectionError:
        # A body that is too large is refused while it is still being sent.
        assert len(hook.body) > BODY_MAX, "the connection broke"
        tally.sent(part, "cut off")
        return
    tally.sent(part, answer.status)
    tally.count_searched(part)
    check(answer.status, answer.content_type, raw, answer.headers)
    if answer.status == 503:
        return
    assert answer.status in allowed, f"status {answer.status}"
    secrets = harness.holdfast.stack.secrets
    assert secrets.webhook_secret not in raw.decode(), "the answer shows the secret"
    body = json.loads(raw)
    if answer.status == 200:
        assert body == {"received": True}, "an answer that says more than it should"
    else:
        assert body["code"] in PROBLEMS, f"code {body['code']}"
