"""A gateway's inbox: one stream, read by one blocking read, with its replies and the notifications it listens
for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection
from typing import Any

from redis.asyncio import Redis

from common.contracts.messages import NOTIFICATIONS, TYPES, Message, Reply
from common.messaging.calls import Calls
from common.messaging.connection import Connection, check
from common.messaging.redis import ANSWER_TIMEOUT_SECONDS, Command
from common.messaging.registry import Registry
from common.messaging.streams import Fields, inbox_stream
from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import RedisOutage, error_text, log_outage
from common.runtime.supervisor import raise_if_cancelled

# The most entries of one read: calls wait while they are processed.
READ_MAX = 250
# Seconds between two renewals of a gateway, each with a check whether it has missed notifications.
RENEW_SECONDS = 1.0
# A read that has waited for this many seconds has reached the server. From then on the server sends new entries at
# once, so that a server that ends then cannot lose an entry that was not read.
ARRIVED_SECONDS = 0.1


class Listener:
    """Passes replies to `calls`, and each notification's class and JSON data to `on_notification`.

    `on_missed` is called soon after notifications may have been missed: with their topics, or None for any topic.
    After Redis forgot something it is called once more: an actor that then ends between its commit and its
    notification has no entry left by which another one would repeat it.
    """

    def __init__(
        self,
        redis: Redis,
        gateway: str,
        registry: Registry,
        calls: Calls,
        on_notification: Callable[[type[Message], bytes], None],
        on_missed: Callable[[Collection[str] | None], None],
        claim_idle_s: float,
    ) -> None:
        """`claim_idle_s`: the seconds for which an actor has an entry in hand at most."""
        self._connection = Connection(redis)
        self._inbox = inbox_stream(gateway)
        self._registry = registry
        self._calls = calls
        self._on_notification = on_notification
        self._on_missed = on_missed
        # The last entry that was read of each stream. For `notifications`: its end at the last check at which no
        # process of the previous release published there; the stream is read while one does.
        self._last = {self._inbox: b"0-0", NOTIFICATIONS: b""}
        self._unrouted = False
        self._claim_idle_s = claim_idle_s
        # When nothing is in hand any more that was so when Redis forgot something.
        self._missed_again_at = math.inf
        # The run id of the server that has all registrations, once it is known.
        self._server = b""
        self._read_at = self._broken_at = self._renewed_at = 0.0

    async def run(self, gate: Gate, *, block_ms: int) -> None:
        """Read until cancelled; continue after an outage where it stopped, with `gate` closed meanwhile."""
        backoff = Backoff()
        try:
            while True:
                raise_if_cancelled()
                try:
                    if gate.reason is not None or time.monotonic() - self._renewed_at >= RENEW_SECONDS:
                        await self._renew(again=gate.reason is not None)
                    # After an outage, a read without waiting checks whether Redis serves again.
                    await self._read(block_ms if gate.reason is None else 1)
                    gate.open()
                    backoff.reset()
                except RedisOutage as outage:
                    self._broken_at = self._broken_at or time.monotonic()
                    if gate.reason is None:
                        log_outage("notifications paused", outage)
                    gate.close(error_text(outage))
                    await asyncio.sleep(backoff.next())
        finally:
            await self._connection.close()

    async def _renew(self, *, again: bool) -> None:
        """Renew this gateway, and find out what was missed; `again` after an outage."""
        known, inbox_end, notifications_end, unrouted = await self._registry.renew(self._last[self._inbox])
        if again or not known or self._registry.uncertain:
            await self._restore(inbox_end)
        self._note_unrouted(notifications_end, unrouted=unrouted)
        self._renewed_at = time.monotonic()
        if self._renewed_at >= self._missed_again_at:
            self._missed_again_at = math.inf
            self._on_missed(None)

    async def _restore(self, inbox_end: bytes) -> None:
        """Register for all topics again, and report which notifications may have been missed meanwhile."""
        lost = await self._registry.restore()
        server = await self._execute(("INFO", "server"))
        server = next(line for line in server.split(b"\r\n") if line.startswith(b"run_id:"))
        # Another server, or the same one restarted, may lack the last moments of what was written.
        waiting = ARRIVED_SECONDS <= self._broken_at - self._read_at < ANSWER_TIMEOUT_SECONDS
        forgot = bool(self._server) and server != self._server and not waiting
        anew = _order(inbox_end) < _order(self._last[self._inbox])
        if forgot or anew or (lost and self._server):
            self._on_missed(None if forgot or anew else lost)
            self._missed_again_at = time.monotonic() + self._claim_idle_s
        if anew:
            self._last[self._inbox] = b"0-0"  # a new stream, by a clock that is behind: all of it is unread
        self._server, self._broken_at = server, 0.0

    def _note_unrouted(self, end: bytes, *, unrouted: bool) -> None:
        """Read `notifications` too, from its last known end, while a process of the previous release publishes only
        there."""
        if not unrouted or not self._last[NOTIFICATIONS] or _order(end) < _order(self._last[NOTIFICATIONS]):
            self._last[NOTIFICATIONS] = end
        self._unrouted = unrouted

    async def _read(self, block_ms: int) -> None:
        streams = (self._inbox, NOTIFICATIONS) if self._unrouted else (self._inbox,)
        self._read_at = time.monotonic()
        last = [self._last[stream] for stream in streams]
        answer = await self._execute(
            ("XREAD", "COUNT", READ_MAX, "BLOCK", block_ms, "STREAMS", *streams, *last), block_s=block_ms / 1000
        )
        for name, entries in answer or ():
            stream = name.decode()
            if len(entries) == READ_MAX and await self._trimmed(stream):
                self._on_missed(None)
            self._last[stream] = entries[-1][0]
            for _, parts in entries:
                self._dispatch(dict(zip(parts[::2], parts[1::2], strict=True)))

    async def _trimmed(self, stream: str) -> bool:
        """Whether the stream was trimmed past the last entry read: that only happens to a gateway far behind."""
        first, last = await self._execute(("XRANGE", stream, "-", "+", "COUNT", 1)), self._last[stream]
        return last != b"0-0" and bool(first) and _order(first[0][0]) > _order(last)

    def _dispatch(self, fields: Fields) -> None:
        kind = TYPES.get(fields.get(b"type", b"").decode(errors="replace"))
        if kind is Reply:
            self._calls.resolve(fields)
        elif kind is not None:  # otherwise a notification of a newer release, for gateways that know it
            self._on_notification(kind, fields.get(b"data", b""))

    async def _execute(self, command: Command, *, block_s: float = 0.0) -> Any:
        await self._connection.send([command], block_s=block_s)
        return check(await self._connection.answers(1))[0]


def _order(id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = id.decode().partition("-")
    return int(milliseconds), int(sequence)
