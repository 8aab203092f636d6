"""Batches: the entries that a consumer handles together, retried until they are done, are dead letters, or may be
claimed by others.

A handler handles all deliveries of its message type at once, commits, and returns what to publish. It must be right
when a message comes late, twice or never: after any fault the same batch is handled again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import structlog

from common.contracts.messages import Message
from common.messaging.dependencies import Dependencies
from common.messaging.envelope import NAME_SHOWN_MAX, Delivery, Envelope, Undecodable, UnknownType, decode
from common.messaging.mailbox import Mailbox
from common.messaging.publisher import Publisher
from common.messaging.redis import Command
from common.messaging.streams import Entry
from common.runtime.backoff import Backoff
from common.runtime.outages import Outage, RedisOutage
from common.runtime.settings import ActorSettings
from common.runtime.telemetry import Metrics

Handler = Callable[[Sequence[Delivery]], Awaitable[Iterable[Envelope]]]
Handlers = Mapping[type[Message], Handler]

# If the ping succeeds but the connection breaks this many times in a row, the batch itself is the cause.
BROKEN_MAX = 5

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Batch:
    """Entries of one mailbox; `size` counts all that were read. No attempt may begin after `deadline`."""

    deadline: float
    size: int
    deliveries: list[Delivery] = field(default_factory=list)
    undecodable: deque[tuple[Entry, Undecodable]] = field(default_factory=deque)
    unknown: deque[Entry] = field(default_factory=deque)
    # The mailbox has more entries behind this batch.
    full: bool = False
    # When the last attempt began, by `time.perf_counter`.
    started: float = 0.0
    # What follows from the batch; and the transaction that publishes that and acknowledges the batch.
    outgoing: Iterable[Envelope] = ()
    commands: Sequence[Command] = ()
    # Sent beside `commands`, but they may fail alone.
    notifications: Sequence[Command] = ()

    def decode(self, stream: str, entries: Sequence[Entry], handlers: Handlers) -> None:
        for entry in entries:
            try:
                delivery = decode(stream, entry)
                if type(delivery.envelope.message) not in handlers:
                    # This process knows the type in another mailbox: a newer release may have moved it here.
                    raise UnknownType(f"{delivery.envelope.message.type} is not known in this mailbox")
            except UnknownType:
                self.unknown.append(entry)
            except Undecodable as error:
                self.undecodable.append((entry, error))
            else:
                self.deliveries.append(delivery)


def in_order(deliveries: Sequence[Delivery], handlers: Handlers) -> list[tuple[Handler, list[Delivery]]]:
    """Group deliveries by handler without changing the order of messages about one subject.

    Deliveries of one handler keep their order too: seats are sold in stream order.
    """
    groups: list[tuple[Handler, list[Delivery]]] = []
    last_of: dict[str, int] = {}
    for delivery in deliveries:
        handler = handlers[type(delivery.envelope.message)]
        subject = delivery.envelope.subject
        index = last_of.get(subject, 0)
        while index < len(groups) and groups[index][0] != handler:
            index += 1
        if index == len(groups):
            groups.append((handler, []))
        groups[index][1].append(delivery)
        last_of[subject] = index
    return groups


class TooLate(Exception):
    """The deadline has passed: other consumers may claim the entries."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Handles the batches of one consumer, with metrics and one log line for each message."""

    handlers: Handlers
    mailbox: Mailbox
    publisher: Publisher
    settings: ActorSettings
    metrics: Metrics
    dependencies: Dependencies

    async def retry(self, batch: Batch, error: Exception) -> None:
        """Retry `batch`, an attempt of which ended with `error`, until it is done, is a dead letter, or may be
        claimed by others. One poison entry harms no other: after a batch has failed, each entry is attempted on its
        own. During an outage it waits, and no entry counts as failed."""
        parts = deque([batch])
        failed: Exception | None = error
        backoff, broken = Backoff(), 0
        while parts:
            if failed is not None and await self.dependencies.have_outage(failed):
                # If the server reports it, no entry is the cause, however often it happens.
                reported = isinstance(failed, Outage) and failed.reported
                if reported or broken < BROKEN_MAX:
                    broken += not reported
                    await self.dependencies.wait_to_retry(backoff)
                    if await self.dependencies.wait_for_recovery(failed):
                        failed = await self._attempt(parts[0])
                        continue
                    failed = TooLate()
            if isinstance(failed, TooLate):
                log.warning("left pending", mailbox=self.mailbox.stream, size=sum(each.size for each in parts))
                return
            part = parts.popleft()
            if failed is not None:
                parts.extendleft(reversed(await self._failed(part, failed)))
            backoff, broken = Backoff(), 0
            failed = await self._attempt(parts[0]) if parts else None

    async def _attempt(self, batch: Batch) -> Exception | None:
        """Handle, then publish and acknowledge in one transaction: a crash in between only repeats the batch."""
        return await self.handle(batch) or await self.publish(batch)

    async def handle(self, batch: Batch) -> Exception | None:
        """The first half of an attempt. When no error is returned, `batch.outgoing` is set."""
        batch.started = time.perf_counter()
        if batch.started > batch.deadline:
            return TooLate()
        outgoing: list[Iterable[Envelope]] = []
        try:
            await self._move_aside(batch)
            async with asyncio.timeout(self.settings.handler_timeout_ms / 1000):
                for handler, group in in_order(batch.deliveries, self.handlers):
                    outgoing.append(await handler(group))
            batch.outgoing = chain.from_iterable(outgoing)
        except Exception as error:
            return error
        return None

    def prepare(self, batch: Batch) -> Exception | None:
        """Make the batch's commands just before they are sent: behind a full batch Postgres handles the next one
        meanwhile."""
        try:
            acknowledged = self.mailbox.acknowledgement([each.entry for each in batch.deliveries])
            published, batch.notifications = self.publisher.commands(batch.outgoing)
            batch.commands = (*published, *acknowledged)
        except Exception as error:
            return error
        return None

    async def publish(self, batch: Batch) -> Exception | None:
        """The second half of an attempt, when no read follows it."""
        error = self.prepare(batch)
        if error is None:
            try:
                await self.publisher.send(batch.commands, batch.notifications)
            except Exception as refused:
                return refused
            self.succeeded(batch)
        return error

    async def _move_aside(self, batch: Batch) -> None:
        """Undecodable entries become dead letters; unknown messages are kept for another release's process."""
        while batch.undecodable:
            entry, error = batch.undecodable[0]
            await self.mailbox.dead_letter(entry, f"undecodable: {error}", attempts=1)
            # A wrong entry's type can be any text: it is no label.
            self._count("unknown", "undecodable")
            shown = {"entry": entry.id.decode(), "error": str(error)}
            log.error("message", mailbox=self.mailbox.stream, **shown, outcome="undecodable")
            batch.undecodable.popleft()
        while batch.unknown:
            entry = batch.unknown[0]
            await self.mailbox.set_aside(entry)
            self._count("unknown", "unknown")
            kind = entry.fields[b"type"][:NAME_SHOWN_MAX].decode(errors="replace")
            log.warning(
                "message", mailbox=self.mailbox.stream, entry=entry.id.decode(), type=kind, outcome="unknown"
            )
            batch.unknown.popleft()

    def succeeded(self, batch: Batch) -> None:
        self.dependencies.succeeded()
        deliveries, seconds = batch.deliveries, time.perf_counter() - batch.started
        if not deliveries:
            return
        # What all of them share is computed once.
        self.metrics.batch_size.labels(self.mailbox.stream).observe(len(deliveries))
        self.metrics.handler_seconds.labels(self.mailbox.stream).observe(seconds)
        kinds = [delivery.envelope.message.type for delivery in deliveries]
        for kind in set(kinds):
            self._count(kind, "done", kinds.count(kind))
        if log.is_enabled_for(logging.INFO):
            ms = round(seconds * 1000, 2)
            line = log.bind(mailbox=self.mailbox.stream, batch=len(deliveries), outcome="done", ms=ms)
            for delivery in deliveries:
                line.info("message", **_log_fields(delivery.envelope), reclaimed=delivery.entry.reclaimed)

    async def _failed(self, batch: Batch, error: Exception) -> list[Batch]:
        """The parts to attempt instead. A failure of an entry on its own is counted; after `attempts_max` of them
        the entry becomes a dead letter."""
        if batch.size > 1:
            log.warning("batch failed", mailbox=self.mailbox.stream, size=batch.size, error=repr(error))
            return [Batch(batch.deadline, 1, [each]) for each in batch.deliveries]
        if not batch.deliveries:
            return []  # an entry that could not be moved aside stays pending
        (delivery,) = batch.deliveries
        try:
            attempts = await self.mailbox.count_failure(delivery.entry)
            dead = attempts >= self.settings.attempts_max
            if dead:
                await self.mailbox.dead_letter(delivery.entry, f"{type(error).__name__}: {error}", attempts)
        except RedisOutage as outage:
            self.dependencies.pause(outage)
        else:
            outcome, shown = "dead" if dead else "failed", _log_fields(delivery.envelope)
            self._count(shown["type"], outcome)
            log.error(
                "message", mailbox=self.mailbox.stream, **shown, attempt=attempts, outcome=outcome, exc_info=error
            )
        return []

    def _count(self, kind: str, outcome: str, number: int = 1) -> None:
        self.metrics.messages.labels(self.mailbox.stream, kind, outcome).inc(number)


def _log_fields(envelope: Envelope) -> dict[str, str]:
    """The fields of a log line that name the message, and who asked for it, where somebody did."""
    message = envelope.message
    shown = {
        "type": message.type,
        "subject": envelope.subject,
        "id": envelope.id,
        "trace": envelope.traceparent[3:35],
    }
    return shown if (by := message.requester) is None else shown | {"by": by}
