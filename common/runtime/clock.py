"""The time by which a process acts: the time of the server that stores what it acts on, never its own.

One query every few seconds measures the difference between the server's clock and this process' monotonic clock.
The process' own wall clock is only compared: it may be set at any moment, and be wrong by any amount.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime

import structlog
from prometheus_client import Gauge

from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import Outage, error_text
from common.runtime.supervisor import raise_if_cancelled

# Seconds between measurements. The shorter pause follows the first measurements, and each one that shows a jump.
MEASURE_SECONDS = 10.0
MEASURE_SOON_SECONDS = 1.0
MEASURED_SOON = 3
# A measurement with a slower answer is ignored: half of the round trip is its possible error.
ROUND_TRIP_MAX_SECONDS = 2.0
# How far a monotonic clock and a server's may drift apart, in seconds for each second: the most that time daemons
# correct (https://man7.org/linux/man-pages/man2/adjtimex.2.html).
DRIFT = 0.0005
# The most seconds by which one measurement alone moves the time forward, or makes it stand still.
JUMP_MAX_SECONDS = 2.0
# This many in a row have to agree on a larger jump: another server is the primary, or its clock was set.
JUMP_CONFIRMED_BY = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """One clock is ahead of another by at least `low` and at most `high` seconds. A server's clock, compared with
    the monotonic one: `low` is its time minus the moment of the answer, `high` minus the moment of the request."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    def after(self, seconds: float) -> Bounds:
        """These bounds `seconds` after the measurement: wider by the possible drift."""
        return Bounds(self.low - seconds * DRIFT, self.high + seconds * DRIFT)

    def gap(self, other: Bounds) -> float:
        """How many seconds lie between the two; 0 when they overlap."""
        return max(0.0, self.low - other.high, other.low - self.high)

    def narrowed(self, other: Bounds) -> Bounds:
        """Where both overlap; `other` alone where they do not."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Bounds(low, high) if low <= high else other


# Asks the server for its time, and reads the monotonic time before and after by the given function. Raises
# Outage.
Read = Callable[[Callable[[], float]], Awaitable[Bounds]]


@dataclass(eq=False, slots=True)
class Clock:
    """The time of `source`; call it for the present moment.

    It never goes backwards, with one exception: when several measurements agree that the server's clock has jumped
    by more than JUMP_MAX_SECONDS, which is logged as an error. `own` is this process' wall clock (Unix seconds).
    """

    source: str
    read: Read
    _: KW_ONLY
    skew_max_s: float
    offset: Gauge
    own: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _bounds: Bounds | None = field(default=None, init=False)
    # The monotonic time at which `_bounds` was measured.
    _measured_s: float = field(default=0.0, init=False)
    # The last time that was returned.
    _last_s: float = field(default=0.0, init=False)
    # The newest measurement that contradicts `_bounds`, and how many such measurements there were in a row.
    _conflicting: Bounds | None = field(default=None, init=False)
    _conflicts: int = field(default=0, init=False)
    _logged_wrong: bool = field(default=False, init=False)

    def __call__(self) -> datetime:
        """Raises Outage before the first measurement."""
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def timestamp(self) -> float:
        """In Unix seconds. Raises Outage before the first measurement."""
        if self._bounds is None:
            raise Outage(f"the time is not known yet: {self.source} has not answered", reported=True)
        self._last_s = max(self._last_s, self.monotonic() + self._bounds.middle)
        return self._last_s

    async def own_clock_problem(self) -> str | None:
        """What is wrong with this process' own clock; None when nothing is, or before the first measurement."""
        if self._bounds is None or abs(ahead := self.own() - self.timestamp()) <= self.skew_max_s:
            return None
        where = "ahead of" if ahead > 0 else "behind"
        return f"this process' clock is {abs(ahead):.1f} s {where} that of {self.source}; it does not act by it"

    async def run(self, gate: Gate) -> None:
        """Measure until cancelled. `gate` opens with the first measurement; the time continues while its server is
        unavailable."""
        backoff = Backoff(first=0.1, most=MEASURE_SOON_SECONDS)
        measured = 0
        while True:
            raise_if_cancelled()
            pause = MEASURE_SECONDS
            try:
                await self.measure()
                measured += 1
                if self._bounds is not None:
                    gate.open()
                if measured < MEASURED_SOON or self._conflicts:
                    pause = MEASURE_SOON_SECONDS
            except Outage as outage:
                if self._bounds is None:
                    gate.close(error_text(outage))
                    pause = backoff.next()
            await asyncio.sleep(pause)

    async def measure(self) -> None:
        """Ask the server for its time once, and compare the own clock. Raises Outage."""
        self.apply(await self.read(self.monotonic))
        if self._bounds is None:
            return
        ahead = self.own() - self.timestamp()
        self.offset.labels(self.source).set(ahead)
        wrong = abs(ahead) > self.skew_max_s
        if wrong != self._logged_wrong:
            self._logged_wrong = wrong
            write, event = (log.error, "own clock is wrong") if wrong else (log.info, "own clock is right again")
            write(event, source=self.source, ahead_seconds=round(ahead, 1), limit_seconds=self.skew_max_s)

    def apply(self, new: Bounds) -> None:
        """Apply what was measured just now."""
        if new.high - new.low > ROUND_TRIP_MAX_SECONDS:
            return
        now_s = self.monotonic()
        known = None if self._bounds is None else self._bounds.after(now_s - self._measured_s)
        if known is not None and known.gap(new) <= JUMP_MAX_SECONDS:
            new = known.narrowed(new)
        elif known is not None:
            agrees = self._conflicting is None or self._conflicting.gap(new) <= JUMP_MAX_SECONDS
            self._conflicts = self._conflicts + 1 if agrees else 1
            self._conflicting = new
            if self._conflicts < JUMP_CONFIRMED_BY:
                return
            jumped = new.middle - known.middle
            log.error("clock jumped", source=self.source, seconds=round(jumped, 3))
            self._last_s = 0.0
        self._bounds, self._measured_s = new, now_s
        self._conflicting, self._conflicts = None, 0
