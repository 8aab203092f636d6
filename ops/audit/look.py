"""Checks everything once, then again the bookings that looked wrong: in a running system a difference may be work
under way, as no two of the three sources are read at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ops.audit.databases import PAGE, Databases
from ops.audit.facts import Case, Finding, UnderWay, tally
from ops.audit.ledger import Ledger
from ops.audit.rules import judge, judge_seats

# How many bookings that looked wrong are checked again: each costs calls to Stripe, CONCURRENCY at a time.
SUSPECTS_MAX = 5000
# The first pause before the next check; each further one is twice as long.
FIRST_PAUSE_S = 2.0


@dataclass
class Outcome:
    """What an audit has found. `once`: found in the last look only, so it may be work under way. `unseen`: how many
    bookings looked wrong and were not checked again, as they were too many."""

    since: datetime | None
    settle_s: float
    started_at: datetime
    looked_at: dict[str, int] = field(default_factory=dict)
    looks: int = 1
    mismatches: list[Finding] = field(default_factory=list)
    once: list[Finding] = field(default_factory=list)
    unseen: int = 0
    under_way: dict[str, UnderWay] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.mismatches and not self.unseen


class Audit:
    """One audit. `wait` sleeps for seconds; `clock` returns the time, by which rows are overdue."""

    def __init__(
        self,
        databases: Databases,
        ledger: Ledger,
        *,
        since: datetime | None = None,
        settle_s: float = 30.0,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._databases = databases
        self._ledger = ledger
        self._wait = wait
        self._clock = clock
        self._suspects: dict[str, tuple[Finding, ...]] = {}
        self.outcome = Outcome(since, settle_s, clock())

    async def run(self) -> Outcome:
        """Raises CannotLook when a database or Stripe is away."""
        outcome = self.outcome
        self._ledger.installation = await self._databases.installation()
        await self._ledger.read(outcome.since)
        await self._seats()
        await self._first_look()
        outcome.looked_at |= self._ledger.counts()
        before = await self._settle()
        for finding in (each for findings in self._suspects.values() for each in findings):
            (outcome.mismatches if finding.key in before else outcome.once).append(finding)
        outcome.seconds = (self._clock() - outcome.started_at).total_seconds()
        return outcome

    async def _seats(self) -> None:
        """Check the counters: read at one moment with the bookings, so that no difference is work under way."""
        looked_at = 0
        async for row in self._databases.seats(self.outcome.since):
            looked_at += 1
            self.outcome.mismatches += judge_seats(row)
        self.outcome.looked_at["ticket types"] = looked_at

    async def _first_look(self) -> None:
        since, looked_at = self.outcome.since, self.outcome.looked_at
        looked_at |= {"bookings": 0, "payments": 0, "refunds": 0}
        async for page in self._databases.bookings(since):
            self._take(page)
        # Stripe's other intents belong to bookings made meanwhile, to bookings made before `since`, or to none.
        for ids in self._ledger.left_over():
            cases = await self._databases.cases(ids)
            self._take([case for case in cases if not _older(case, since)])
        async for ids in self._databases.payments_alone(since):
            self._take([case for case in await self._databases.cases(ids) if case.id not in self._suspects])

    def _take(self, cases: Sequence[Case]) -> None:
        outcome, now = self.outcome, self._clock()
        for case in self._ledger.complete(cases):
            outcome.looked_at["bookings"] += case.booking is not None
            outcome.looked_at["payments"] += case.payment is not None
            outcome.looked_at["refunds"] += len(case.refunds)
            verdict = judge(case, now)
            tally(verdict.under_way, case.id, outcome.under_way)
            if not verdict.findings:
                continue
            if len(self._suspects) < SUSPECTS_MAX:
                self._suspects[case.id] = verdict.findings
            else:
                outcome.unseen += 1

    async def _settle(self) -> set[tuple[str, str]]:
        """Check again what looked wrong, until nothing does or the time is over. Returns the keys of what was found
        in the look before the last one; if there is no time to look again, of the only look."""
        before = _keys(self._suspects)
        for pause in pauses(self.outcome.settle_s):
            if not self._suspects:
                break
            await self._wait(pause)
            before = _keys(self._suspects)
            self._suspects = await self._again(list(self._suspects))
            self.outcome.looks += 1
        return before

    async def _again(self, ids: Sequence[str]) -> dict[str, tuple[Finding, ...]]:
        found = {}
        for start in range(0, len(ids), PAGE):
            cases = await self._ledger.again(await self._databases.cases(ids[start : start + PAGE]))
            for case in cases:
                if findings := judge(case, self._clock()).findings:
                    found[case.id] = findings
        return found


def pauses(settle_s: float) -> Iterator[float]:
    """Growing pauses, `settle_s` in all: they begin short, as most of what is under way is done soon."""
    pause = FIRST_PAUSE_S
    while settle_s > 0:
        # The last pause is not a short one, after which a look would find nothing new.
        pause = settle_s if settle_s < 2 * pause else pause
        yield pause
        settle_s -= pause
        pause *= 2


def _keys(suspects: dict[str, tuple[Finding, ...]]) -> set[tuple[str, str]]:
    findings: Iterable[Finding] = (each for findings in suspects.values() for each in findings)
    return {finding.key for finding in findings}


def _older(case: Case, since: datetime | None) -> bool:
    """Whether the booking was made before `since`: the list of Stripe begins a little earlier."""
    return since is not None and case.booking is not None and case.booking.created_at < since
