"""Makes webhook deliveries: from announcements of bookings in the announcer's transaction, and from the changes of
events, each of which stands in their history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import asyncpg

from booking.announcements import Announcement
from booking.announcer import Announce
from booking.webhook_rows import WebhookRows
from booking.webhooks import owed_for_booking, owed_for_event
from common.postgres.database import Database
from common.runtime.reconciler import Reconciler

# Changes of events are rare: one that changes many of them at once is announced in several passes.
PASS_MAX = 100


def announced_by_webhook(retried_for: timedelta) -> Announce:
    """What makes the deliveries of announcements; each is retried for this long."""

    async def announce(
        connection: asyncpg.Connection, announcements: Sequence[Announcement], now: datetime
    ) -> None:
        rows = WebhookRows(connection)
        if await rows.any_enabled():
            owed = [owed_for_booking(each) for each in announcements]
            await rows.owe(owed, now, now + retried_for)

    return announce


class EventAnnouncer(Reconciler):
    """Any number may run at once: each takes changes that no other has locked."""

    def __init__(self, database: Database, clock: Callable[[], datetime], retried_for: timedelta) -> None:
        super().__init__(clock)
        self._database = database
        self._retried_for = retried_for

    async def next_due(self) -> datetime | None:
        async with self._database.connection() as connection:
            return await WebhookRows(connection).first_event_change()

    async def retry_due(self, now: datetime) -> None:
        async with self._database.transaction() as connection:
            rows = WebhookRows(connection)
            changes = await rows.event_changes(PASS_MAX)
            await rows.owe([owed_for_event(change) for change in changes], now, now + self._retried_for)
            await rows.announced([change.id for change in changes])
