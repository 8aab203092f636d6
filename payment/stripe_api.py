"""Calls of Stripe's API: the only module, beside the webhook's signature check, that imports `stripe`.

The raw requests of the official client are used: they cost less than half of what its resource objects do, and
answers, webhooks and listed events are then all read by the same functions (`pictures.py`).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Final, Protocol

import aiohttp
import stripe
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.telemetry import LATENCY_S
from payment.circuit_breaker import CircuitBreaker
from payment.pacing import Lane, Pacer
from payment.pictures import Json
from payment.refunds import Refund
from payment.sdk_bodies import write_and_read_quickly
from payment.sdk_log import write_only_lines_that_are_read
from payment.stripe_clock import StripeClock

# The version whose shapes `pictures.py` reads.
STRIPE_VERSION: Final = "2026-10-28.endive"
REAL_STRIPE: Final = "https://api.stripe.com"
# A request that Stripe did not answer well is sent so often in one go; after that state drives it again.
TRIES_MAX = 4
# Where Stripe says 429 without saying for how long.
RETRY_AFTER_S = 1.0
RETRY_AFTER_MAX_S = 60.0
PAGE = 100

log = structlog.get_logger()


class StripeFailure(Exception):
    """A call that brought no answer to take over. `outcome` is what metrics and logs call it."""

    outcome: ClassVar[str]


class Unanswered(StripeFailure):
    """Stripe did not say what became of the request: it may have been done. Ask again."""

    outcome = "unanswered"


class Limited(Unanswered):
    """Too many requests: nothing was done."""

    outcome = "limited"


class Unauthorized(Unanswered):
    """Stripe refuses the key: nothing was done."""

    outcome = "barred"


class KeySpent(StripeFailure):
    """The idempotency key can bring no good answer any more: its first answer was an error, or for other
    parameters. What came of it must be looked up before another key is used."""

    outcome = "spent"


class Refused(StripeFailure):
    """The request is wrong, or the object's state does not allow it: asking the same again would not help.

    `code` is Stripe's error code; where it names none (as for want of balance), the code of its message or the kind
    of the error. `param` is the parameter that it is about.
    """

    outcome = "refused"

    def __init__(self, code: str, message: str, intent: Json | None, param: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.param = param
        self.intent = intent  # as it is, where Stripe showed it


class StripeMetrics:
    """Stripe calls by operation and outcome (done, refused, unanswered, limited, spent, barred)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter("holdfast_stripe_calls", "Stripe calls", ("operation", "outcome"), registry=registry)
        self.skew_seconds = Gauge(
            "holdfast_stripe_clock_skew_seconds",
            "How far Postgres' clock is ahead of Stripe's; negative where it is behind",
            registry=registry,
        )
        self.seconds = Histogram(
            "holdfast_stripe_call_seconds",
            "Time of a Stripe call, without the wait for its turn",
            ("operation",),
            buckets=LATENCY_S,
            registry=registry,
        )
        self.failed_refunds = Counter(
            "holdfast_refunds_failed", "Refunds that want an operator, by reason", ("reason",), registry=registry
        )
        self.turn_seconds = Histogram(
            "holdfast_stripe_turn_seconds",
            "Wait for the turn to call Stripe",
            ("lane",),
            buckets=LATENCY_S,
            registry=registry,
        )

    def count_failed(self, refunds: Iterable[Refund]) -> None:
        """After the commit, of refunds that have just failed."""
        for refund in refunds:
            self.failed_refunds.labels(refund.reason or "unknown").inc()


@dataclass(frozen=True, slots=True)
class Answer:
    """What Stripe answered, and when by its clock. It read what it shows between `asked_at` and `at`: what has
    happened since `asked_at` may not be in it."""

    body: Json
    at: datetime
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, newest first, and when it was given by Stripe's clock."""

    data: list[Json]
    has_more: bool
    at: datetime


class Accounts(Protocol):
    """Where Stripe's account is kept."""

    async def keep_account(self, own: str) -> str:
        """The account that is kept: `own` where there was none yet."""


class StripeApi:
    """Paced, timed and logged calls. `deadline` is the loop's time by which the caller must have an answer.

    Each raises Unanswered, Refused and, where a key is given, KeySpent; and RedisAway while turns
    cannot be had. With `accounts`, the key's account is compared before the first call: with another one every
    call is Unanswered, and raises database errors while that cannot be known.
    """

    def __init__(
        self,
        client: stripe.StripeClient,
        pacer: Pacer,
        metrics: StripeMetrics,
        gate: Gate,
        timeout_s: float,
        clock: Callable[[], datetime],
        accounts: Accounts | None = None,
    ) -> None:
        self.clock = StripeClock(clock, metrics.skew_seconds)
        self._client = client
        self._pacer = pacer
        self.metrics = metrics
        self._breaker = CircuitBreaker(gate)
        self._timeout_s = timeout_s
        self._accounts = accounts
        self._checking = asyncio.Lock()
        self._account_checked = False
        self._wrong_account: str | None = None

    async def create_intent(
        self,
        *,
        amount: int,
        currency: str,
        offered: Mapping[str, Any],
        metadata: dict[str, str],
        key: str,
        deadline: float,
    ) -> Answer:
        """https://docs.stripe.com/api/payment_intents/create; `offered`: the parameters of `methods.offered`."""
        return await self._ask(
            "create_intent",
            Lane.INTENTS,
            "post",
            "/v1/payment_intents",
            deadline,
            amount=amount,
            currency=currency,
            **offered,
            metadata=metadata,
            idempotency_key=key,
        )

    async def cancel_intent(self, intent_id: str, *, deadline: float) -> Answer:
        """https://docs.stripe.com/api/payment_intents/cancel; safe to repeat by its nature."""
        path = f"/v1/payment_intents/{intent_id}/cancel"
        return await self._ask("cancel_intent", Lane.MONEY, "post", path, deadline)

    async def retrieve_intent(self, intent_id: str, *, deadline: float) -> Answer:
        """https://docs.stripe.com/api/payment_intents/retrieve, with its latest charge."""
        path = f"/v1/payment_intents/{intent_id}"
        return await self._ask("retrieve_intent", Lane.MONEY, "get", path, deadline, expand=["latest_charge"])

    async def create_refund(
        self, *, intent_id: str, amount: int, metadata: dict[str, str], key: str, deadline: float
    ) -> Answer:
        """https://docs.stripe.com/api/refunds/create"""
        return await self._ask(
            "create_refund",
            Lane.MONEY,
            "post",
            "/v1/refunds",
            deadline,
            payment_intent=intent_id,
            amount=amount,
            metadata=metadata,
            idempotency_key=key,
        )

    async def list_all(
        self, path: str, *, deadline: float, after: str | None = None, **params: Any
    ) -> AsyncIterator[list[Json]]:
        """Page after page, newest first, from behind `after` on: https://docs.stripe.com/api/pagination."""
        while True:
            page = await self.list_page(path, after, deadline=deadline, **params)
            yield page.data
            if not page.has_more:
                return
            after = page.data[-1]["id"]

    async def list_page(
        self, path: str, after: str | None, *, deadline: float, limit: int = PAGE, **params: Any
    ) -> Page:
        """The newest things, or those behind `after`: https://docs.stripe.com/api/pagination."""
        operation = f"list_{path.rsplit('/', 1)[-1]}"
        cursor = {} if after is None else {"starting_after": after}
        answer = await self._ask(operation, Lane.MONEY, "get", path, deadline, limit=limit, **cursor, **params)
        return Page(answer.body["data"], answer.body["has_more"], answer.at)

    async def _ask(
        self, operation: str, lane: Lane, method: str, path: str, deadline: float, **params: Any
    ) -> Answer:
        """Ask until there is an answer that says something, or the time is over."""
        if self._accounts is not None and not self._account_checked:
            await self._check_account(self._accounts, deadline)
        return await self._ask_until_answered(operation, lane, method, path, deadline, params)

    async def _check_account(self, accounts: Accounts, deadline: float) -> None:
        """Before anything else is asked: is the key still of the account that the payments are at? With another one
        every intent would be missing, and every refund refused."""
        try:
            async with asyncio.timeout_at(deadline), self._checking:
                if self._account_checked:
                    return
                if self._wrong_account is None:
                    await self._compare_account(accounts, deadline)
        except TimeoutError:
            raise Unanswered("Stripe's account is not known yet") from None
        if self._wrong_account is not None:
            raise Unanswered(self._wrong_account)

    async def _compare_account(self, accounts: Accounts, deadline: float) -> None:
        try:
            answer = await self._ask_until_answered("account", Lane.MONEY, "get", "/v1/account", deadline, {})
        except Refused as refusal:
            # A restricted key need not be allowed to read it.
            log.warning("stripe account not known", reason=refusal.message)
            self._account_checked = True
            return
        own = str(answer.body["id"])
        if (kept := await accounts.keep_account(own)) != own:
            self._wrong_account = f"the key is of Stripe's account {own}, and the payments are at {kept}"
            self._breaker.unauthorized(self._wrong_account)
            log.critical("another stripe account", own=own, kept=kept)
            return
        self._account_checked = True

    async def _ask_until_answered(
        self, operation: str, lane: Lane, method: str, path: str, deadline: float, params: dict[str, Any]
    ) -> Answer:
        backoff = Backoff(first=0.2, most=2.0)
        for attempt in range(1, TRIES_MAX + 1):
            try:
                return await self._try(operation, lane, method, path, deadline, attempt, params)
            except Unanswered:
                pause = backoff.next()
                late = asyncio.get_running_loop().time() + pause >= deadline
                if attempt == TRIES_MAX or late or self._breaker.is_open:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError  # the last attempt returns or raises

    async def _try(
        self, operation: str, lane: Lane, method: str, path: str, deadline: float, attempt: int, params: Any
    ) -> Answer:
        await self._turn(lane, deadline)
        loop = asyncio.get_running_loop()
        started, sent = time.perf_counter(), self.clock.ours()
        outcome, status, request_id = "unanswered", 0, None
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._timeout_s)):
                response = await self._client.raw_request_async(method, path, **params)
            outcome, status, request_id = "done", response.code, response.request_id
            self._breaker.authorized()
            self._breaker.answered()
            date = _date(response.headers)
            took_s = time.perf_counter() - started
            if date is None:
                date = self.clock.now()
            else:
                self.clock.answered(sent, took_s, date)
            return Answer(response.data, date, asked_at(date, took_s))
        except stripe.StripeError as error:
            status, request_id = error.http_status or 0, error.request_id
            if 0 < status < 500:
                self._breaker.answered()
            else:
                self._breaker.unanswered()
            failure = await self._judge(operation, error)
            outcome = failure.outcome
            raise failure from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._breaker.unanswered()
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        finally:
            elapsed = time.perf_counter() - started
            self._breaker.ended()
            self.metrics.calls.labels(operation, outcome).inc()
            self.metrics.seconds.labels(operation).observe(elapsed)
            log.info(
                "stripe",
                operation=operation,
                path=path,
                key=params.get("idempotency_key"),
                outcome=outcome,
                status=status,
                request=request_id,
                attempt=attempt,
                ms=round(elapsed * 1000, 2),
            )

    async def _turn(self, lane: Lane, deadline: float) -> None:
        if not self._breaker.admits():
            raise Unanswered("Stripe is away, or refuses the key")
        started = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                await self._pacer.turn(lane)
        except TimeoutError:
            raise Unanswered("no turn in time") from None
        finally:
            self.metrics.turn_seconds.labels(lane).observe(time.perf_counter() - started)

    async def _judge(self, operation: str, error: stripe.StripeError) -> StripeFailure:
        """What an error means, and what follows from it for all calls."""
        said = f"{type(error).__name__}: {error}"
        details = _details(error)
        if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)) and not (
            operation == "account" and isinstance(error, stripe.PermissionError)
        ):
            self._breaker.unauthorized(f"Stripe refuses the key: {type(error).__name__}")
            log.critical("stripe refuses the key", error=str(error))
            return Unauthorized(said)
        if not isinstance(error, stripe.PermissionError):
            self._breaker.authorized()
        if details.get("code") == "lock_timeout":
            return Unanswered(
                said
            )  # 429, but of one object alone: https://docs.stripe.com/rate-limits#object-lock-timeouts
        if isinstance(error, stripe.RateLimitError):
            await self._pacer.slow_down(_retry_after(error))
            return Limited(said)
        if isinstance(error, stripe.IdempotencyError):
            log.error("idempotency key of other parameters", error=str(error))
            return KeySpent(str(error))
        if isinstance(error, (stripe.InvalidRequestError, stripe.CardError, stripe.PermissionError)):
            code = error.code or details.get("message_code") or type(error).__name__
            return Refused(str(code), error.user_message or "", details.get("payment_intent"), details.get("param"))
        replayed = _header(error, "idempotent-replayed") == "true"
        return KeySpent(str(error)) if replayed and (error.http_status or 0) >= 500 else Unanswered(said)


def _details(error: stripe.StripeError) -> Json:
    """https://docs.stripe.com/api/errors"""
    body = error.json_body
    details = body.get("error") if isinstance(body, dict) else None
    return details if isinstance(details, dict) else {}


def _header(error: stripe.StripeError, name: str) -> str | None:
    headers = {key.lower(): value for key, value in (error.headers or {}).items()}
    return headers.get(name)


def _retry_after(error: stripe.StripeError) -> float:
    try:
        seconds = float(_header(error, "retry-after") or RETRY_AFTER_S)
    except ValueError:
        return RETRY_AFTER_S
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def asked_at(date: datetime, took_s: float) -> datetime:
    """By Stripe's clock, in whole seconds as its events are: no later than when the question was asked."""
    return (date - timedelta(seconds=took_s)).replace(microsecond=0)


def _date(headers: Any) -> datetime | None:
    """When Stripe answered, by its own clock, to the second: what its events are dated by; if it says so."""
    try:
        return parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError):
        return None


@asynccontextmanager
async def open_client(
    key: str, base: str | None, *, concurrency: int, timeout_s: float
) -> AsyncIterator[stripe.StripeClient]:
    """Stripe's client over a session of its own, with as many kept connections as calls may be under way."""
    stripe.enable_telemetry = False  # a header that costs more than the rest of the call, for Stripe's statistics
    write_only_lines_that_are_read()
    write_and_read_quickly()
    authorities = ssl.create_default_context(cafile=stripe.ca_bundle_path)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=60, ssl=authorities),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield stripe.StripeClient(
            key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": (base or REAL_STRIPE).rstrip("/")},
            # Retries are ours: they are paced, and know what may be asked again.
            max_network_retries=0,
            http_client=stripe.AIOHTTPClient(session=session, timeout=aiohttp.ClientTimeout(total=timeout_s)),
        )
