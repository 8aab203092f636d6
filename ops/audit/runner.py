"""Checks everything once, then again the bookings that did not match: in a running system a difference may be work
under way, as no two of the three sources are read at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from ops.audit.databases import PAGE, Databases
from ops.audit.ledger import Ledger
from ops.audit.records import Case, Finding, UnderWay, tally
from ops.audit.rules import (
    judge,
    judge_buyer,
    judge_check_in,
    judge_event,
    judge_offer,
    judge_promo_code,
    judge_seats,
    judge_unsent,
)

T = TypeVar("T")

# How many bookings that did not match are checked again: each costs calls to Stripe, CONCURRENCY at a time.
SUSPECTS_MAX = 5000
# The first pause before the next check; each further one is twice as long.
FIRST_PAUSE_S = 2.0


@dataclass
class AuditResult:
    """What an audit has found. `seen_once`: found in the last check only, so it may be work under way.
    `not_checked_again`: how many bookings did not match and were not checked again, as they were too many."""

    since: datetime | None
    wait_seconds: float
    started_at: datetime
    checked: dict[str, int] = field(default_factory=dict)
    checks: int = 1
    mismatches: list[Finding] = field(default_factory=list)
    seen_once: list[Finding] = field(default_factory=list)
    not_checked_again: int = 0
    under_way: dict[str, UnderWay] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.mismatches and not self.not_checked_again


class Audit:
    """One audit. `wait` sleeps for seconds; `clock` returns the time, by which rows are overdue."""

    def __init__(
        self,
        databases: Databases,
        ledger: Ledger,
        *,
        since: datetime | None = None,
        wait_seconds: float = 30.0,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._databases = databases
        self._ledger = ledger
        self._wait = wait
        self._clock = clock
        self._suspects: dict[str, tuple[Finding, ...]] = {}
        self.result = AuditResult(since, wait_seconds, clock())

    async def run(self) -> AuditResult:
        """Raises SourceUnavailable when a database or Stripe does not answer."""
        result = self.result
        self._ledger.installation = await self._databases.installation()
        await self._ledger.read(result.since)
        await self._counters()
        await self._first_check()
        result.checked |= self._ledger.counts()
        before = await self._check_until_clean()
        for finding in (each for findings in self._suspects.values() for each in findings):
            (result.mismatches if finding.key in before else result.seen_once).append(finding)
        result.seconds = (self._clock() - result.started_at).total_seconds()
        return result

    async def _counters(self) -> None:
        """Check the counters, the check-ins and the histories of events: each is read at one moment with what it
        must match, so that no difference is work under way."""
        since, databases = self.result.since, self._databases
        checked = self.result.checked
        checked["ticket types"] = await self._judged(databases.seats(since), judge_seats)
        checked["buyers"] = await self._judged(databases.buyers(since), judge_buyer)
        await self._judged(databases.unsent(since), judge_unsent)
        checked["promo codes"] = await self._judged(databases.promo_codes(since), judge_promo_code)
        checked["check-ins"] = await self._judged(databases.check_ins(since), judge_check_in)
        checked["offers"] = await self._judged(databases.offers(since), judge_offer)
        checked["events"] = await self._judged(databases.events(since), judge_event)

    async def _judged(self, rows: AsyncIterator[T], judge: Callable[[T], Iterable[Finding]]) -> int:
        """Check these rows; returns how many there were."""
        count = 0
        async for row in rows:
            count += 1
            self.result.mismatches += judge(row)
        return count

    async def _first_check(self) -> None:
        since, checked = self.result.since, self.result.checked
        checked |= {"bookings": 0, "payments": 0, "refunds": 0}
        async for page in self._databases.bookings(since):
            self._check_page(page)
        # Stripe's other intents belong to bookings made meanwhile, to bookings made before `since`, or to none.
        for ids in self._ledger.left_over():
            cases = await self._databases.cases(ids)
            self._check_page([case for case in cases if not _older(case, since)])
        async for ids in self._databases.payments_alone(since):
            self._check_page([case for case in await self._databases.cases(ids) if case.id not in self._suspects])

    def _check_page(self, cases: Sequence[Case]) -> None:
        result, now = self.result, self._clock()
        for case in self._ledger.complete(cases):
            result.checked["bookings"] += case.booking is not None
            result.checked["payments"] += case.payment is not None
            result.checked["refunds"] += len(case.refunds)
            verdict = judge(case, now)
            tally(verdict.under_way, case.id, result.under_way)
            if not verdict.findings:
                continue
            if len(self._suspects) < SUSPECTS_MAX:
                self._suspects[case.id] = verdict.findings
            else:
                result.not_checked_again += 1

    async def _check_until_clean(self) -> set[tuple[str, str]]:
        """Check again what did not match, until all does or the time is over. Returns the keys of what was found in
        the check before the last one; if there is no time for another, of the only check."""
        before = _keys(self._suspects)
        for pause in pauses(self.result.wait_seconds):
            if not self._suspects:
                break
            await self._wait(pause)
            before = _keys(self._suspects)
            self._suspects = await self._again(list(self._suspects))
            self.result.checks += 1
        return before

    async def _again(self, ids: Sequence[str]) -> dict[str, tuple[Finding, ...]]:
        found = {}
        for start in range(0, len(ids), PAGE):
            cases = await self._ledger.again(await self._databases.cases(ids[start : start + PAGE]))
            for case in cases:
                if findings := judge(case, self._clock()).findings:
                    found[case.id] = findings
        return found


def pauses(wait_seconds: float) -> Iterator[float]:
    """Growing pauses, `wait_seconds` in all: they begin short, as most of what is under way is done soon."""
    pause = FIRST_PAUSE_S
    while wait_seconds > 0:
        # The last pause is not a short one, after which a check would find nothing new.
        pause = wait_seconds if wait_seconds < 2 * pause else pause
        yield pause
        wait_seconds -= pause
        pause *= 2


def _keys(suspects: dict[str, tuple[Finding, ...]]) -> set[tuple[str, str]]:
    findings: Iterable[Finding] = (each for findings in suspects.values() for each in findings)
    return {finding.key for finding in findings}


def _older(case: Case, since: datetime | None) -> bool:
    """Whether the booking was made before `since`: the list of Stripe begins a little earlier."""
    return since is not None and case.booking is not None and case.booking.created_at < since
