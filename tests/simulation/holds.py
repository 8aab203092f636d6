"""A hold has a last moment that nothing moves; a failed attempt is counted, and extends it up to that moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from booking.schedule import CLOCKS_APART
from booking.state import HoldPolicy
from payment.stripe_objects import FAILED_TYPE
from tests.simulation.world import World

HELD = """
SELECT id::text, payment, closing, expires_at, hold_until, last_attempt_at FROM bookings WHERE status = 'pending'
"""
COUNTED = "SELECT booking_id::text, intent_id, failed_attempts, version FROM payments WHERE intent_id IS NOT NULL"
REPORTED = "SELECT id::text, payment_version, attempts FROM bookings"
PROMISE = "2 holds end"
# The least time to try again after a decline, however far the clocks are apart.
LEAST = HoldPolicy().extension - CLOCKS_APART


@dataclass(frozen=True)
class Held:
    """A pending booking."""

    id: str
    payment: str
    closing: str | None
    expires_at: datetime
    hold_until: datetime | None
    last_attempt_at: datetime | None

    def fault(self, fixed: datetime | None) -> str | None:
        """What is wrong with this booking, if anything. `fixed`: its last moment at the earlier check."""
        if fixed is not None and self.hold_until != fixed:
            return f"its last moment was moved from {fixed} to {self.hold_until}"
        if self.payment != "creating" and self.hold_until is None:
            return "it has no last moment"
        if self.hold_until is not None and self.expires_at > self.hold_until:
            return f"it ends at {self.expires_at}, after its last moment {self.hold_until}"
        return None if self._has_its_time() else f"the attempt of {self.last_attempt_at} gave it no time"

    def _has_its_time(self) -> bool:
        if self.last_attempt_at is None or self.closing is not None:
            return True
        due = self.last_attempt_at + max(LEAST, timedelta())
        return self.expires_at >= min(due, self.hold_until or due)


class Holds:
    """Checks holds, and remembers the last moment of each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fixed: dict[str, datetime] = {}

    def forget(self) -> None:
        """A database has lost rows: they may be older now, and change in another way than before."""
        self._fixed.clear()

    async def check(self) -> None:
        """Check all holds, after every commit."""
        for record in await self._world.lasting.booking.raw.fetch(HELD):
            held = Held(*record)
            if (fault := held.fault(self._fixed.get(held.id))) is not None:
                self._world.story.violate(PROMISE, f"{held.id}: {fault}")
            if held.hold_until is not None:
                self._fixed.setdefault(held.id, held.hold_until)

    async def check_reported(self) -> None:
        """A booking that has the report of a payment's newest version has counted all of its attempts."""
        lasting = self._world.lasting
        reported = {id: (version, attempts) for id, version, attempts in await lasting.booking.raw.fetch(REPORTED)}
        for id, _, counted, version in await lasting.payment.raw.fetch(COUNTED):
            version_reported, attempts = reported.get(id, (0, 0))
            if version_reported == version and attempts != counted:
                self._world.story.violate("attempts count", f"{id} v{version}: counted {counted}, not {attempts}")

    async def check_finished(self) -> None:
        """Every attempt that failed at Stripe is counted once, and was reported to its booking."""
        lasting = self._world.lasting
        events = self._world.stripe.ledger.read("SELECT body FROM events WHERE type = ?", (FAILED_TYPE,))
        failed = Counter(orjson.loads(body)["data"]["object"]["id"] for (body,) in events)
        reported = {id: attempts for id, _, attempts in await lasting.booking.raw.fetch(REPORTED)}
        for id, intent_id, counted, _ in await lasting.payment.raw.fetch(COUNTED):
            if (counted, reported.get(id, counted)) != (failed[intent_id], failed[intent_id]):
                text = f"{failed[intent_id]} attempts failed, counted {counted}, reported {reported.get(id)}"
                self._world.story.violate("attempts count", f"{id}: {text}")
