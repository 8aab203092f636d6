"""Calls of Stripe's API, by raw requests (`docs/decisions/`, 0013), so that the same functions
(`stripe_objects.py`) read answers, webhooks and listed Stripe events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

import stripe
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.telemetry import LATENCY_S
from payment.circuit_breaker import CircuitBreaker
from payment.rate_limiter import Priority, StripeRateLimiter
from payment.refunds import Refund
from payment.stripe_clock import StripeClock
from payment.stripe_errors import OutcomeUnknown, RateLimited, Refused, Unauthorized, failure_of
from payment.stripe_objects import Json

# Attempts per call, with pauses of at most 1.4 s in all; after that the retry time in the row takes over.
TRIES_MAX = 4
PAGE = 100

log = structlog.get_logger()


class StripeMetrics:
    """The metrics of Stripe calls. Outcomes: done, refused, unanswered, limited, spent, barred."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self.calls = counter("holdfast_stripe_calls", "Stripe calls", ("operation", "outcome"))
        self.skew_seconds = Gauge(
            "holdfast_stripe_clock_skew_seconds",
            "How far Postgres' clock is ahead of Stripe's; negative where it is behind",
            registry=registry,
        )
        self.seconds = histogram(
            "holdfast_stripe_call_seconds",
            "Time of a Stripe call, without the wait for its token",
            ("operation",),
            buckets=LATENCY_S,
        )
        self.failed_refunds = counter(
            "holdfast_refunds_failed", "Refunds that want an operator, by reason", ("reason",)
        )
        token_wait_seconds = histogram(
            "holdfast_stripe_token_wait_seconds",
            "Wait for a token of the rate limit for Stripe",
            ("priority",),
            buckets=LATENCY_S,
        )
        self.token_wait_seconds = {priority: token_wait_seconds.labels(priority) for priority in Priority}

    def count_failed(self, refunds: Iterable[Refund]) -> None:
        """Count refunds that have just failed, after the commit."""
        for refund in refunds:
            self.failed_refunds.labels(refund.reason or "unknown").inc()


class Answer(NamedTuple):
    """Stripe's answer, with two times by its clock. Stripe read the objects between `asked_at` and `at`, so a
    change after `asked_at` may not be in it."""

    body: Json
    at: datetime
    asked_at: datetime


class Request(NamedTuple):
    """A request to Stripe. `params` are the SDK's, with the idempotency key; `operation` is its name in metrics."""

    operation: str
    method: str
    path: str
    params: dict[str, Any]
    priority: Priority = Priority.MONEY


class StripeApi:
    """Rate-limited, timed and logged calls. `deadline` is the loop's time by which the caller must have an answer.

    Each call raises OutcomeUnknown, Refused and, with an idempotency key, IdempotencyKeySpent; and RedisOutage
    during an outage of Redis. `keep_account` returns the account of the payments (its argument if there is none
    yet). With it, the account of the secret key is compared before the first call: if it is another one, every call
    raises OutcomeUnknown; while the database cannot answer, its errors are raised.
    """

    def __init__(
        self,
        client: stripe.StripeClient,
        rate_limiter: StripeRateLimiter,
        metrics: StripeMetrics,
        gate: Gate,
        timeout_s: float,
        clock: Callable[[], datetime],
        keep_account: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self.clock = StripeClock(clock, metrics.skew_seconds)
        self._own_clock = clock
        self._client = client
        self._rate_limiter = rate_limiter
        self.metrics = metrics
        # Closed while Stripe refuses the secret key, or the key belongs to another account.
        self._gate = gate
        self._breaker = CircuitBreaker(gate)
        self._timeout_s = timeout_s
        self._keep_account = keep_account
        self._comparing = asyncio.Lock()
        # Why no call is allowed; "" if calls are allowed; None while the account is not compared yet.
        self._barred = None if keep_account else ""

    async def call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        deadline: float,
        priority: Priority = Priority.MONEY,
        **params: Any,
    ) -> Answer:
        """Send a `Request` until Stripe answers it, or attempts or time run out."""
        if self._barred != "":
            await self._compare_account(deadline)
        return await self._call_until_answered(Request(operation, method, path, params, priority), deadline)

    async def retrieve_intent(self, intent_id: str, *, deadline: float) -> Answer:
        """https://docs.stripe.com/api/payment_intents/retrieve, with its latest charge."""
        path = f"/v1/payment_intents/{intent_id}"
        return await self.call("retrieve_intent", "get", path, deadline=deadline, expand=("latest_charge",))

    async def list_all(
        self, path: str, *, deadline: float, after: str | None = None, **params: Any
    ) -> AsyncIterator[list[Json]]:
        """Page after page, newest first, starting after the object `after`:
        https://docs.stripe.com/api/pagination."""
        while True:
            page = (await self.list_page(path, after, deadline=deadline, **params)).body
            yield page["data"]
            if not page["has_more"]:
                return
            after = page["data"][-1]["id"]

    async def list_page(self, path: str, after: str | None, *, deadline: float, **params: Any) -> Answer:
        """One page: the newest objects, or those after `after`: https://docs.stripe.com/api/pagination."""
        operation = f"list_{path.rsplit('/', 1)[-1]}"
        if after is not None:
            params["starting_after"] = after
        return await self.call(operation, "get", path, deadline=deadline, limit=PAGE, **params)

    async def _compare_account(self, deadline: float) -> None:
        """Before the first call, check that the secret key belongs to the account of the payments. With another one
        every intent would be missing, and every refund refused."""
        try:
            async with asyncio.timeout_at(deadline), self._comparing:
                if self._barred is None:
                    self._barred = await self._other_account(deadline)
        except TimeoutError:
            raise OutcomeUnknown("Stripe's account is not known yet") from None
        if self._barred:
            raise OutcomeUnknown(self._barred)

    async def _other_account(self, deadline: float) -> str:
        """The reason, with both accounts, if the key does not belong to the account of the payments; else ""."""
        assert self._keep_account is not None
        try:
            answer = await self._call_until_answered(Request("account", "get", "/v1/account", {}), deadline)
        except Refused as refusal:
            # A restricted key may not be allowed to read it.
            log.warning("stripe account not known", reason=refusal.message)
            return ""
        own = str(answer.body["id"])
        if (kept := await self._keep_account(own)) == own:
            return ""
        log.critical("another stripe account", own=own, kept=kept)
        reason = f"the key is of Stripe's account {own}, and the payments are at {kept}"
        self._gate.close(reason)
        return reason

    async def _call_until_answered(self, request: Request, deadline: float) -> Answer:
        backoff: Backoff | None = None
        for attempt in range(1, TRIES_MAX + 1):
            try:
                await self._acquire_token(request.priority, deadline)
                return await self._send(request, deadline, attempt)
            except OutcomeUnknown:
                backoff = backoff or Backoff(first=0.2, most=2.0)
                pause = backoff.next()
                late = asyncio.get_running_loop().time() + pause >= deadline
                if attempt == TRIES_MAX or late or self._breaker.is_open:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError  # the last attempt returns or raises

    async def _acquire_token(self, priority: Priority, deadline: float) -> None:
        if not self._breaker.admits():
            raise OutcomeUnknown("Stripe is unavailable, or refuses the key")
        started = time.perf_counter()
        try:
            await self._rate_limiter.acquire(priority, deadline)
        except TimeoutError:
            raise OutcomeUnknown("no token in time") from None
        finally:
            self.metrics.token_wait_seconds[priority].observe(time.perf_counter() - started)

    async def _send(self, request: Request, deadline: float, attempt: int) -> Answer:
        until = min(deadline, asyncio.get_running_loop().time() + self._timeout_s)
        started, sent = time.perf_counter(), self._own_clock()
        outcome, status, request_id = "unanswered", 0, None
        answered: bool | None = None
        try:
            async with asyncio.timeout_at(until):
                response = await self._client.raw_request_async(request.method, request.path, **request.params)
            outcome, status, request_id = "done", response.code, response.headers.get("Request-Id")
            answered = True
            self._gate.open()
            return self._dated(response, sent, time.perf_counter() - started)
        except stripe.StripeError as error:
            status, request_id = error.http_status or 0, error.request_id
            answered = 0 < status < 500
            failure = failure_of(error, may_be_forbidden=request.operation == "account")
            outcome = failure.outcome
            await self._apply_failure(failure, error)
            raise failure from error
        except (OSError, TimeoutError) as error:
            answered = False
            raise OutcomeUnknown(f"{type(error).__name__}: {error}") from error
        finally:
            elapsed = time.perf_counter() - started
            self._breaker.ended(answered)
            self.metrics.calls.labels(request.operation, outcome).inc()
            self.metrics.seconds.labels(request.operation).observe(elapsed)
            log.info(
                "stripe",
                operation=request.operation,
                path=request.path,
                key=request.params.get("idempotency_key"),
                outcome=outcome,
                status=status,
                request=request_id,
                attempt=attempt,
                ms=round(elapsed * 1000, 2),
            )

    async def _apply_failure(self, failure: Exception, error: stripe.StripeError) -> None:
        """Apply what an error means for all later calls: a key that is refused, or a rate that is too high."""
        if isinstance(failure, Unauthorized):
            self._gate.close(f"Stripe refuses the key: {type(error).__name__}")
            log.critical("stripe refuses the key", error=str(error))
        elif not isinstance(error, stripe.PermissionError):
            self._gate.open()
        if isinstance(failure, RateLimited):
            await self._rate_limiter.slow_down(failure.retry_after_s)

    def _dated(self, response: Any, sent: datetime, took_s: float) -> Answer:
        """The answer with Stripe's time, to the second, as its events have; without a `Date`, with our estimate."""
        try:
            date = _date(response.headers["Date"])
        except (KeyError, ValueError):
            date = self.clock.now()
        else:
            self.clock.answered(sent, took_s, date)
        return Answer(response.data, date, asked_at(date, took_s))


# Cached, because many answers have the same second.
_date = lru_cache(maxsize=16)(parsedate_to_datetime)


def asked_at(date: datetime, took_s: float) -> datetime:
    """When the request was sent, or earlier: by Stripe's clock, in whole seconds as the times of Stripe events."""
    return (date - timedelta(seconds=took_s)).replace(microsecond=0)
