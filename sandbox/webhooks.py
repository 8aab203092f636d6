"""Events are sent to the endpoints: signed, several at once, and again until an endpoint accepts them.

https://docs.stripe.com/webhooks
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence

import aiohttp
import structlog

from sandbox.faults import Faults
from sandbox.ledger import Ledger
from sandbox.timetable import Timetable
from sandbox.work import Delivery, Endpoint

UNDER_WAY_MAX = 32
"""The most deliveries to one endpoint at once; like Stripe's, they have no order."""

TIMEOUT_SECONDS = 20.0
"""How many seconds an endpoint has to answer."""

RETRY_SECONDS_MAX = 3600.0
GIVE_UP_SECONDS = 3 * 24 * 3600.0
"""https://docs.stripe.com/webhooks#retries: Stripe retries for up to three days."""

HEADERS = {
    "Accept": "*/*; q=0.5, application/xml",
    "Cache-Control": "no-cache",
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
}

log = structlog.get_logger()


def signature(payload: bytes, secret: str, timestamp: int) -> str:
    """The `Stripe-Signature` header: https://docs.stripe.com/webhooks#verify-manually."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class Webhooks:
    """Sends to all endpoints. Deliveries are in the ledger until they are done, so a restart continues them."""

    def __init__(
        self, ledger: Ledger, faults: Faults, session: aiohttp.ClientSession, retry_seconds: float
    ) -> None:
        self._ledger = ledger
        self._faults = faults
        self._session = session
        self._retry_seconds = retry_seconds
        self._lines: dict[int, _Line] = {}
        self.endpoints: tuple[Endpoint, ...] = ()
        self.paused = False

    async def point(self, endpoints: Sequence[Endpoint]) -> None:
        """Send to these endpoints from now on; deliveries for any other position stay in the ledger."""
        with self._ledger.atomic():
            self._ledger.write("DELETE FROM endpoints")
            for endpoint in endpoints:
                self._ledger.write(
                    "INSERT INTO endpoints (position, url, secret, enabled_events) VALUES (?, ?, ?, ?)",
                    (endpoint.position, endpoint.url, endpoint.secret, ",".join(sorted(endpoint.enabled_events))),
                )
        self.endpoints = tuple(endpoints)
        await self._ledger.committed()
        await self.stop()
        self.start()

    def start(self) -> None:
        """Start with the endpoints in the ledger, and with the deliveries that an earlier process has left."""
        rows = self._ledger.read("SELECT position, url, secret, enabled_events FROM endpoints ORDER BY position")
        self.endpoints = tuple(
            Endpoint(position, url, secret, frozenset(events.split(","))) for position, url, secret, events in rows
        )
        for endpoint in self.endpoints:
            line = _Line(endpoint, self._ledger, self._faults, self._session, self._retry_seconds)
            line.waiting.pause(self.paused)
            self._lines[endpoint.position] = line
        pending = self._ledger.read(
            "SELECT deliveries.due, deliveries.seq, event, events.type, endpoint, attempts FROM deliveries "
            "JOIN events ON events.id = event WHERE status = 'pending' ORDER BY deliveries.seq"
        )
        for due, *fields in pending:
            self._add(due, Delivery(*fields))

    async def stop(self) -> None:
        """Cancel the deliveries in progress; in the ledger they are still pending."""
        lines = list(self._lines.values())
        self._lines.clear()
        for line in lines:
            line.task.cancel()
        await asyncio.gather(*(line.task for line in lines), return_exceptions=True)

    def pause(self, paused: bool) -> None:
        """Send nothing while paused."""
        self.paused = paused
        for line in self._lines.values():
            line.waiting.pause(paused)

    def hand_over(self, deliveries: Sequence[Delivery]) -> None:
        """Send these deliveries, which are committed, with their faults applied."""
        now = time.time()
        for delivery in deliveries:
            fate = self._faults.of_delivery(delivery.type)
            if fate.dropped:
                self._ledger.write("UPDATE deliveries SET status = 'dropped' WHERE seq = ?", (delivery.seq,))
                continue
            self._add(now + fate.delay_seconds, delivery)
            if fate.doubled:
                row = self._ledger.write(
                    "INSERT INTO deliveries (event, endpoint, status, due) VALUES (?, ?, 'pending', ?)",
                    (delivery.event, delivery.endpoint, now),
                )
                assert row.lastrowid is not None
                self._add(now + fate.delay_seconds, delivery._replace(seq=row.lastrowid))

    def _add(self, due: float, delivery: Delivery) -> None:
        line = self._lines.get(delivery.endpoint)
        if line is not None:
            line.waiting.add(due, delivery)


class _Line:
    """The deliveries to one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        faults: Faults,
        session: aiohttp.ClientSession,
        retry_seconds: float,
    ) -> None:
        self.endpoint = endpoint
        self.waiting: Timetable[Delivery] = Timetable()
        self._ledger = ledger
        self._faults = faults
        self._session = session
        self._retry_seconds = retry_seconds
        self._free = asyncio.Semaphore(UNDER_WAY_MAX)
        self.task = asyncio.create_task(self._run(), name=f"webhooks to {endpoint.url}")

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as under_way:
            while True:
                await self._free.acquire()
                under_way.create_task(self._deliver(await self.waiting.take()))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            status, error = await self._post(delivery.event)
            if error is None:
                self._ledger.write(
                    "UPDATE deliveries SET status = 'delivered', attempts = ?, last_status = ? WHERE seq = ?",
                    (delivery.attempts + 1, status, delivery.seq),
                )
            else:
                self._again(delivery, status, error)
        except Exception:
            # An error in one delivery must not stop the others; this one is tried again after a restart.
            log.exception("webhook failed", endpoint=self.endpoint.url, webhook=delivery.event)
        finally:
            self._free.release()

    async def _post(self, event_id: str) -> tuple[int | None, str | None]:
        """The endpoint's HTTP status, None without an answer; and the error, None if it has accepted the event."""
        row = self._ledger.read("SELECT body FROM events WHERE id = ?", (event_id,)).fetchone()
        payload = row[0].encode()
        signed_at = int(time.time() + self._faults.switches.clock_ahead_seconds)
        headers = HEADERS | {"Stripe-Signature": signature(payload, self.endpoint.secret, signed_at)}
        try:
            async with self._session.post(
                self.endpoint.url, data=payload, headers=headers, allow_redirects=False
            ) as response:
                await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"
        return response.status, None if response.ok and response.status < 300 else f"answered {response.status}"

    def _again(self, delivery: Delivery, status: int | None, error: str) -> None:
        attempts = delivery.attempts + 1
        wait = min(self._retry_seconds * 2 ** min(delivery.attempts, 30), RETRY_SECONDS_MAX)
        due = time.time() + wait
        (created,) = self._ledger.read("SELECT created FROM events WHERE id = ?", (delivery.event,)).fetchone()
        given_up = due > created + GIVE_UP_SECONDS
        self._ledger.write(
            "UPDATE deliveries SET status = ?, due = ?, attempts = ?, last_status = ?, last_error = ? "
            "WHERE seq = ?",
            ("failed" if given_up else "pending", due, attempts, status, error, delivery.seq),
        )
        if not given_up:
            self.waiting.add(due, delivery._replace(attempts=attempts))
        log.warning(
            "webhook not delivered",
            endpoint=self.endpoint.url,
            webhook=delivery.event,
            type=delivery.type,
            attempt=attempts,
            error=error,
            again_in_seconds=None if given_up else wait,
        )
