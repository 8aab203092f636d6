"""Makes from changes of bookings the mails and webhook deliveries that are owed for them.

The statement that makes a change marks the booking's row: it is to be announced. Here one transaction makes rows of
what is owed, and clears the mark: each change is announced once, whatever ends when. What sends these rows works by
their own retry times, outside any transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from booking.announcement_rows import AnnouncementRows
from booking.announcements import Announcement, announcements
from common.postgres.database import Database
from common.runtime.outages import Outage
from common.runtime.reconciler import Reconciler
from common.runtime.telemetry import Metrics

# Bookings announced in one transaction: their rows stay locked for a few milliseconds.
PASS_MAX = 300
# Seconds between passes that leave nothing: in a rush one pass announces what many would have announced one by one,
# and what a pass costs by itself is shared by all of them.
GATHER_SECONDS = 1.0
# A booking that cannot be announced, which only a mistake of ours can cause, holds up no other, and is tried again
# after this time.
FAILED_AGAIN = timedelta(minutes=1)

# Makes the rows that are owed for announcements, in the announcer's transaction; a row is known by the
# announcement's id.
Announce = Callable[[asyncpg.Connection, Sequence[Announcement], datetime], Awaitable[None]]

log = structlog.get_logger()


class Announcer(Reconciler):
    """Any number may run at once: each takes bookings that no other has locked."""

    def __init__(
        self, database: Database, announce: Sequence[Announce], clock: Callable[[], datetime], metrics: Metrics
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._announce = tuple(announce)
        self._metrics = metrics
        # By booking that could not be announced: when it is tried again.
        self._failed: dict[UUID, datetime] = {}
        # Whether the last pass announced as many bookings as one may: others wait.
        self._full = False

    async def run_once(self) -> float:
        self._full = False
        pause = await super().run_once()
        return pause if self._full else max(pause, GATHER_SECONDS)

    async def next_due(self) -> datetime | None:
        """When the oldest booking with something to announce was made, which is in the past: it is due at once."""
        now = self._clock()
        self._failed = {id: again for id, again in self._failed.items() if again > now}
        async with self._database.connection() as connection:
            return await AnnouncementRows(connection).oldest(self._failed)

    async def retry_due(self, now: datetime) -> None:
        try:
            await self._pass(now, PASS_MAX)
        except Outage:
            raise
        except Exception as error:
            log.exception("announcing failed, trying bookings one by one", exc_info=error)
            await self._one_by_one(now)

    async def _one_by_one(self, now: datetime) -> None:
        for _ in range(PASS_MAX):
            taken: list[UUID] = []
            try:
                await self._pass(now, 1, taken)
            except Outage:
                raise
            except Exception as error:
                self._metrics.announcements_failed.inc()
                log.exception("booking not announced", exc_info=error, booking=str(taken[0]) if taken else None)
                self._failed |= dict.fromkeys(taken, now + FAILED_AGAIN)
            if not taken:
                return

    async def _pass(self, now: datetime, limit: int, taken: list[UUID] | None = None) -> None:
        """Announce up to `limit` bookings, whose ids are added to `taken` before anything can fail."""
        async with self._database.transaction() as connection:
            rows = AnnouncementRows(connection)
            bookings = await rows.take(limit, self._failed)
            if taken is not None:
                taken += bookings
            self._full = len(bookings) == PASS_MAX
            if not bookings:
                return
            changes = await rows.clear(bookings)
            made = [each for change in changes for each in announcements(bookings[change.booking_id], change)]
            for announce in self._announce:
                await announce(connection, made, now)
        self._count(made)
        log.info("announced", bookings=len(bookings), announcements=len(made))

    def _count(self, made: Collection[Announcement]) -> None:
        for kind, number in Counter(each.kind for each in made).items():
            self._metrics.announcements.labels(kind).inc(number)
