"""Faults that a test switches on: of requests, and of webhooks. A seed makes a run repeatable."""

import asyncio
import contextlib
import random
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sandbox.errors import ApiError, RefusedError


class Count(BaseModel):
    """This number of times, then no more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(ge=0)


PendingReason = Literal["processing", "insufficient_funds", "charge_pending"]
"""https://docs.stripe.com/api/refunds/object#refund_object-pending_reason"""

Chance = Annotated[float, Field(ge=0, le=1)] | Count
"""How often a fault happens: as a share, or the next `count` times."""


class WebhookSwitches(BaseModel):
    """Faults of webhook deliveries, of events of these `types`; without `types`, of all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    types: list[str] = []
    drop: Chance = 0.0
    """The delivery is never sent, as if the endpoint had accepted and lost it."""
    double: Chance = 0.0
    delay: Chance = 0.0
    delay_ms: float = Field(default=0, ge=0, le=3_600_000)
    reorder: Chance = 0.0
    reorder_window_ms: float = Field(default=500, ge=0, le=3_600_000)
    """A reordered delivery is delayed by a random part of this time, so that later ones overtake it."""


class Switches(BaseModel):
    """All faults. Those of requests apply to these `methods` and `paths`; without them, to all under `/v1`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    methods: list[str] = []
    paths: list[str] = []
    """Patterns such as `/v1/payment_intents` or `/v1/payment_intents/*`."""
    latency_ms: float = Field(default=0, ge=0, le=600_000)
    latency_jitter_ms: float = Field(default=0, ge=0, le=600_000)
    """A random part of this is added to `latency_ms`."""
    error_before: Chance = 0.0
    """The work is not done and the answer is `error_status`; an idempotency key does not keep it."""
    error_after: Chance = 0.0
    """The work is done and the answer is `error_status`, which the idempotency key keeps and repeats."""
    error_status: int = Field(default=500, ge=500, le=599)
    timeout_after: Chance = 0.0
    """The work is done and never answered: after `hang_seconds` the connection is closed."""
    hang_seconds: float = Field(default=120, ge=0, le=3600)
    limit: Chance = 0.0
    """The work is not done and the answer is 429 with `Retry-After: retry_after_seconds`."""
    retry_after_seconds: float = Field(default=1, ge=0, le=3600)
    refund_refused: Chance = 0.0
    """`POST /v1/refunds` is refused because the balance is too low; the idempotency key keeps and repeats that."""
    refund_pending: Chance = 0.0
    """A new refund is pending, with `refund_pending_reason`, until `/_sandbox/refunds/{id}/succeed` or `/fail`."""
    refund_pending_reason: PendingReason = "insufficient_funds"
    clock_ahead_seconds: float = Field(default=0, ge=-86_400, le=86_400)
    """The stand-in's clock, which it uses to date objects, to answer and to sign, is ahead by this."""
    event_lag_seconds: float = Field(default=0, ge=0, le=86_400)
    """Events appear in `/v1/events` this long after they were created."""
    event_lag_share: float = Field(default=1, ge=0, le=1)
    """The share of events that appear late; the others are listed at once."""
    webhooks: WebhookSwitches = WebhookSwitches()


class Fault(NamedTuple):
    """The faults of one request."""

    latency_seconds: float = 0
    limited: bool = False
    error_before: bool = False
    error_after: bool = False
    timeout_after: bool = False
    refund_refused: bool = False
    refund_pending: PendingReason | None = None


class Fate(NamedTuple):
    """The faults of one delivery."""

    dropped: bool = False
    doubled: bool = False
    delay_seconds: float = 0


REFUND = ("POST", "/v1/refunds")
NO_FAULT = Fault()
NO_FATE = Fate()
ALL_OFF = Switches()


class Faults:
    """The current switches, and how often each was applied."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()
        self.set(ALL_OFF)

    def set(self, switches: Switches) -> None:
        """Replace all earlier switches. Random numbers start again with the new seed, and counts at zero.

        Requests that wait because of earlier switches continue at once.
        """
        self._closing.set()
        self._closing = asyncio.Event()
        self.switches = switches
        self.done: dict[str, int] = {}
        self._random = random.Random(switches.seed)

    def close(self) -> None:
        """Let all requests that wait continue at once."""
        self._closing.set()

    def of_request(self, method: str, path: str) -> Fault:
        """The fault of a request that has just arrived."""
        on = self.switches
        if on is ALL_OFF:
            return NO_FAULT
        if on.methods and method not in on.methods:
            return NO_FAULT
        if on.paths and not any(fnmatchcase(path, pattern) for pattern in on.paths):
            return NO_FAULT
        jitter = self._random.random() * on.latency_jitter_ms
        limited = self._strikes("limit", on.limit)
        before = not limited and self._strikes("error_before", on.error_before)
        after = not limited and not before
        return Fault(
            latency_seconds=(on.latency_ms + jitter) / 1000,
            limited=limited,
            error_before=before,
            error_after=after and self._strikes("error_after", on.error_after),
            timeout_after=after and self._strikes("timeout_after", on.timeout_after),
            **(self._of_refund() if after and (method, path) == REFUND else {}),
        )

    def _of_refund(self) -> dict[str, Any]:
        """Faults of a refund that depend on the account's balance."""
        on = self.switches
        if self._strikes("refund_refused", on.refund_refused):
            return {"refund_refused": True}
        pending = self._strikes("refund_pending", on.refund_pending)
        return {"refund_pending": on.refund_pending_reason} if pending else {}

    def of_delivery(self, event_type: str) -> Fate:
        """The faults of a delivery that will be sent for the first time."""
        on = self.switches.webhooks
        if self.switches is ALL_OFF or (on.types and event_type not in on.types):
            return NO_FATE
        if self._strikes("webhooks.drop", on.drop):
            return Fate(dropped=True)
        delay = on.delay_ms if self._strikes("webhooks.delay", on.delay) else 0
        if self._strikes("webhooks.reorder", on.reorder):
            delay += self._random.random() * on.reorder_window_ms
        return Fate(doubled=self._strikes("webhooks.double", on.double), delay_seconds=delay / 1000)

    def _strikes(self, name: str, chance: float | Count) -> bool:
        done = self.done.get(name, 0)
        strikes = done < chance.count if isinstance(chance, Count) else self._random.random() < chance
        if strikes:
            self.done[name] = done + 1
        return strikes

    async def delay(self, fault: Fault) -> None:
        """Wait for the request's latency.

        Raises:
            RefusedError: the request must fail before any work.
        """
        if fault.latency_seconds:
            await self._wait(fault.latency_seconds)
        if fault.error_before:
            raise RefusedError(self.switches.error_status, BROKEN, type="api_error")

    async def hang(self) -> None:
        """Wait for `hang_seconds`."""
        await self._wait(self.switches.hang_seconds)

    async def _wait(self, seconds: float) -> None:
        """Wait, but only until other switches are set."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    def limited(self) -> RefusedError:
        """The answer to a request over the limit."""
        seconds = self.switches.retry_after_seconds
        return rate_limited({"Retry-After": f"{seconds:g}"})

    def broken_after(self) -> ApiError:
        """The error that is answered although the work is done."""
        return ApiError(self.switches.error_status, BROKEN, type="api_error")


BROKEN = "An unknown error occurred"


def rate_limited(headers: dict[str, str] | None = None) -> RefusedError:
    """https://docs.stripe.com/rate-limits#handling-limiting-gracefully"""
    return RefusedError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": "global-rate", **(headers or {})},
    )
