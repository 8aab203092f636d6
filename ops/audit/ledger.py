"""Stripe's ledger: read through its API and kept in a temporary file, which is searched for each booking's part.

Stripe's lists begin with the newest object and cannot be read by booking, so they are read once and completely. The
file is an SQLite database without a name: no other process sees it, and it is deleted when it is closed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from math import inf
from typing import Any

from prometheus_client import CollectorRegistry

from common.runtime.health import Gate
from ops.audit.databases import SourceUnavailable
from ops.audit.records import Case, Intent, StripeRefund
from payment.rate_limiter import Priority, StripeRateLimiter
from payment.sdk import open_client
from payment.stripe_api import StripeApi, StripeMetrics
from payment.stripe_errors import Refused, StripeFailure
from payment.stripe_objects import BOOKING_ID, REFUND_ID, Json, id_of, installation_of, own_id

TIMEOUT_S = 20.0
# Calls under way at once when single bookings are read again: far below Stripe's limits, which payment needs.
CONCURRENCY = 4
# An audit as a whole has no deadline, so this is longer than any; each call has its own, TIMEOUT_S.
FOREVER_S = 7 * 86_400
# How far Stripe's clock may be behind ours: far more than it is, as this costs only a few more objects.
SKEW = timedelta(minutes=10)
PAGE = 1000  # ids in one query of the file
GONE = "resource_missing"

TABLES = """
CREATE TABLE intents (
    id TEXT PRIMARY KEY, booking_id TEXT, status TEXT, amount INT, received INT, currency TEXT,
    matched INT DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE refunds (
    id TEXT PRIMARY KEY, intent_id TEXT, refund_id TEXT, amount INT, status TEXT
) WITHOUT ROWID;
CREATE INDEX intents_booking ON intents (booking_id);
CREATE INDEX refunds_intent ON refunds (intent_id);
"""
INTENT_COLUMNS = "id, booking_id, status, amount, received, currency"
REFUND_COLUMNS = "id, intent_id, refund_id, amount, status"


class Ledger:
    """Stripe's intents and refunds. Methods that call Stripe raise SourceUnavailable."""

    def __init__(self, stripe: StripeApi, gate: Gate) -> None:
        self._stripe = stripe
        self._gate = gate
        # Ours. An intent that names another installation is not ours, whatever booking it names.
        self.installation: str | None = None
        self._kept = sqlite3.connect("", isolation_level=None)
        # Nothing in it must survive a crash, so it has no journal and does not wait for the disk.
        self._kept.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {TABLES}")

    def close(self) -> None:
        self._kept.close()

    async def read(self, since: datetime | None) -> None:
        """Read all refunds, then all intents (made since): so the intent of each refund is in the second list."""
        narrowed: dict[str, Any] = {}
        if since is not None:
            narrowed = {"created": {"gte": int((since - SKEW).timestamp())}}
        async for page in self._list("/v1/refunds", **narrowed):
            self._put("refunds", (_columns_of_refund(each) for each in page if each.get("payment_intent")), 5)
        async for page in self._list("/v1/payment_intents", **narrowed):
            self._put("intents", ((*self._columns_of_intent(each), 0) for each in page), 7)

    def complete(self, cases: Sequence[Case]) -> Iterator[Case]:
        """Add to the cases what Stripe has: intents that name the booking or that payment names; their refunds."""
        ids = [case.id for case in cases]
        named = {case.payment.intent_id: case.id for case in cases if case.payment and case.payment.intent_id}
        found: dict[str, dict[str, Intent]] = defaultdict(dict)
        for row in self._select(INTENT_COLUMNS, "intents", "booking_id", ids):
            found[row[1]][row[0]] = Intent(*row)
        for row in self._select(INTENT_COLUMNS, "intents", "id", list(named)):
            found[named[row[0]]][row[0]] = Intent(*row)
        intent_ids = list(chain.from_iterable(found.values()))
        self._match(intent_ids)
        refunds: dict[str, list[StripeRefund]] = defaultdict(list)
        for row in self._select(REFUND_COLUMNS, "refunds", "intent_id", intent_ids):
            refunds[row[1]].append(StripeRefund(*row))
        for case in cases:
            intents = tuple(found[case.id].values())
            given = tuple(refund for intent in intents for refund in refunds[intent.id])
            yield replace(case, intents=intents, stripe_refunds=given)

    def left_over(self) -> Iterator[list[str]]:
        """In pages, the bookings that intents at Stripe name and that were not in any case yet."""
        query = f"""SELECT DISTINCT booking_id FROM intents WHERE matched = 0 AND booking_id > ?
            ORDER BY booking_id LIMIT {PAGE}"""
        last = ""
        while rows := self._kept.execute(query, (last,)).fetchall():
            last = rows[-1][0]
            yield [id for (id,) in rows]

    def counts(self) -> dict[str, int]:
        """How many objects were read; intents of others are those that name no booking of ours."""
        strangers = "SELECT count(*) FROM intents WHERE matched = 0 AND booking_id IS NULL"
        queries = {
            "intents": "SELECT count(*) FROM intents",
            "refunds at Stripe": "SELECT count(*) FROM refunds",
            "intents of others": strangers,
        }
        return {name: self._kept.execute(query).fetchone()[0] for name, query in queries.items()}

    async def again(self, cases: Sequence[Case]) -> list[Case]:
        """Add to the cases what Stripe has of them now."""
        slots = asyncio.Semaphore(CONCURRENCY)

        async def one(case: Case) -> Case:
            async with slots:
                return await self._again(case)

        return list(await asyncio.gather(*(one(case) for case in cases)))

    async def _again(self, case: Case) -> Case:
        ids = {row[0] for row in self._select("id", "intents", "booking_id", [case.id])}
        ids |= {case.payment.intent_id or ""} if case.payment else set()
        ids |= {case.booking.intent_id or ""} if case.booking else set()
        intents, refunds = [], []
        for id in sorted(filter(None, ids)):
            if (intent := await self._retrieve(id)) is None:
                continue
            intents.append(intent)
            async for page in self._list("/v1/refunds", payment_intent=id):
                refunds += [StripeRefund(*_columns_of_refund(each)) for each in page]
        return replace(case, intents=tuple(intents), stripe_refunds=tuple(refunds))

    async def _retrieve(self, id: str) -> Intent | None:
        with _answered(self._gate):
            try:
                answer = await self._stripe.retrieve_intent(id, deadline=_deadline())
            except Refused as refused:
                if refused.code == GONE:
                    return None
                raise
        return Intent(*self._columns_of_intent(answer.body))

    def _columns_of_intent(self, intent: Json) -> tuple[Any, ...]:
        named = own_id(intent, BOOKING_ID)
        if self.installation is not None and installation_of(intent) not in (None, self.installation):
            named = None
        return (
            intent["id"],
            None if named is None else str(named),
            intent["status"],
            intent["amount"],
            intent["amount_received"],
            intent["currency"],
        )

    async def _list(self, path: str, **params: Any) -> AsyncIterator[list[Json]]:
        pages = self._stripe.list_all(path, deadline=_deadline(), **params)
        while True:
            with _answered(self._gate):
                page = await anext(pages, None)
            if page is None:
                return
            yield page

    def _put(self, table: str, rows: Iterable[tuple[Any, ...]], width: int) -> None:
        # While pages are read, new objects move others to the next page: these are read twice, and replaced.
        placeholders = ", ".join("?" * width)
        self._kept.execute("BEGIN")
        self._kept.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({placeholders})", rows)
        self._kept.execute("COMMIT")

    def _select(self, columns: str, table: str, column: str, values: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(values), PAGE):
            part = values[start : start + PAGE]
            placeholders = ", ".join("?" * len(part))
            query = f"SELECT {columns} FROM {table} WHERE {column} IN ({placeholders})"
            yield from self._kept.execute(query, part).fetchall()

    def _match(self, intent_ids: Sequence[str]) -> None:
        self._kept.execute("BEGIN")
        self._kept.executemany("UPDATE intents SET matched = 1 WHERE id = ?", ((id,) for id in intent_ids))
        self._kept.execute("COMMIT")


def _columns_of_refund(refund: Json) -> tuple[Any, ...]:
    refund_id = own_id(refund, REFUND_ID)
    named = None if refund_id is None else str(refund_id)
    return refund["id"], id_of(refund["payment_intent"]), named, refund["amount"], refund["status"]


def _now() -> datetime:
    return datetime.now(UTC)


def _deadline() -> float:
    return asyncio.get_running_loop().time() + FOREVER_S


@contextmanager
def _answered(gate: Gate) -> Iterator[None]:
    """Raises SourceUnavailable when Stripe does not answer or refuses a call."""
    try:
        yield
    except StripeFailure as error:
        reason = gate.reason or f"Stripe does not answer: {error}"
        raise SourceUnavailable(" ".join(reason.split())) from error


class _LocalRateLimiter(StripeRateLimiter):
    """The audit does not use the fleet's rate limit: it makes few calls at a time, and when Stripe asks it to wait
    it waits alone."""

    def __init__(self) -> None:
        self._not_before = 0.0

    async def acquire(self, priority: Priority, deadline: float = inf) -> None:
        await asyncio.sleep(max(0.0, min(self._not_before, deadline) - asyncio.get_running_loop().time()))

    async def slow_down(self, seconds: float) -> None:
        self._not_before = asyncio.get_running_loop().time() + seconds


@asynccontextmanager
async def open_ledger(key: str, base: str | None) -> AsyncIterator[Ledger]:
    """Stripe's ledger, read through the API at `base`; None: the real Stripe."""
    gate = Gate("stripe")
    gate.open()
    async with open_client(key, base, concurrency=CONCURRENCY) as client:
        stripe = StripeApi(client, _LocalRateLimiter(), StripeMetrics(CollectorRegistry()), gate, TIMEOUT_S, _now)
        ledger = Ledger(stripe, gate)
        try:
            yield ledger
        finally:
            ledger.close()
