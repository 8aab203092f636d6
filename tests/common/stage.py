"""Shared by the tests of `common`: an actor whose handlers a test defines, and ways to wait for a condition."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

from redis.asyncio import Redis

from common.contracts.messages import (
    PAYMENT_COMMANDS,
    CancelPaymentIntent,
    Message,
    SyncPayment,
)
from common.messaging.calls import Calls
from common.messaging.consumer import Consumer, Subscription
from common.messaging.envelope import Delivery, Envelope, decode, envelope_for
from common.messaging.mailbox import Mailbox
from common.messaging.publisher import Publisher
from common.messaging.redis import writable
from common.messaging.streams import Entry, dead_letters
from common.runtime.health import Health
from common.runtime.outages import DatabaseOutage
from common.runtime.settings import ActorSettings
from common.runtime.telemetry import Metrics

BLOCK_MS = 20
GROUP = "payment"
STREAM = PAYMENT_COMMANDS
WAIT_MAX_SECONDS = 15.0


async def until(condition: Callable[[], Any], seconds: float = WAIT_MAX_SECONDS) -> None:
    """Returns once `condition()` holds (it may be a coroutine function); fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.005)


def sync(subject: UUID | None = None) -> Envelope:
    """A message for the actor, about `subject`."""
    id = subject or uuid4()
    return envelope_for(SyncPayment(booking_id=id), id)


def cancel(subject: UUID | None = None) -> Envelope:
    id = subject or uuid4()
    return envelope_for(CancelPaymentIntent(booking_id=id), id)


def subjects(deliveries: Iterable[Delivery | Envelope]) -> list[str]:
    return [each.envelope.subject if isinstance(each, Delivery) else each.subject for each in deliveries]


def unwritable() -> Message:
    """A message that cannot be written as JSON."""
    return SyncPayment.model_construct(booking_id=uuid4(), intent_id="\ud800")


def fields_of(envelope: Envelope) -> dict[Any, Any]:
    """The stream entry's fields by name."""
    fields = iter(envelope.fields("/test/one"))
    return dict(zip(fields, fields, strict=True))


async def read_entries(mailbox: Mailbox, count: int, block_ms: int) -> list[Entry]:
    """Up to `count` entries, read as a consumer reads that has nothing to acknowledge."""
    await mailbox.begin((), count, block_ms)
    return await mailbox.entries()


async def finish(mailbox: Mailbox, entries: Sequence[Entry]) -> None:
    """Acknowledge and delete, as a consumer does."""
    await mailbox.begin(mailbox.acknowledgement(entries), 0, 0)
    await mailbox.finish()


HandlerFunction = Callable[[Sequence[Delivery]], Awaitable[Iterable[Envelope] | None]]


class Recorder:
    """A handler that records each batch, then runs the test's function."""

    def __init__(self, act: HandlerFunction | None = None) -> None:
        self.batches: list[list[str]] = []
        self.act = act

    async def __call__(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        self.batches.append(subjects(deliveries))
        return (await self.act(deliveries) if self.act is not None else None) or ()

    @property
    def handled(self) -> list[str]:
        return [subject for batch in self.batches for subject in batch]


def failing(poison: str, error: Exception | None = None) -> HandlerFunction:
    """A function that raises when `poison` is in the batch."""

    async def act(deliveries: Sequence[Delivery]) -> None:
        if poison in subjects(deliveries):
            raise error or RuntimeError("poison")

    return act


class Database:
    """A dependency that a test can make unavailable."""

    def __init__(self) -> None:
        self.unavailable = False
        self.pings = 0

    async def ping(self) -> None:
        self.pings += 1
        self.check()

    def check(self) -> None:
        if self.unavailable:
            raise DatabaseOutage("the database is unavailable")


class Stage:
    """One mailbox, its consumers, and what they need."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.bus = Publisher(redis, source="/test/one")
        self.calls = Calls(self.bus, "one")
        self.metrics = Metrics()
        self.health = Health()
        self.database = Database()
        self.ping: Callable[[], Awaitable[object]] = self.database.ping
        self.mailboxes: list[Mailbox] = []

    def mailbox(
        self, consumer: str = "one", claim_idle_ms: int = 60_000, stream: str = STREAM, *, shared: bool = False
    ) -> Mailbox:
        """`shared` as in Mailbox: one of its consumers reads alone while it keeps up."""
        mailbox = Mailbox(
            self.redis, stream, group=GROUP, consumer=consumer, claim_idle_ms=claim_idle_ms, shared=shared
        )
        self.mailboxes.append(mailbox)
        return mailbox

    async def close(self) -> None:
        for mailbox in self.mailboxes:
            await mailbox.close()
        await self.bus.close()

    def consumer(
        self,
        handlers: dict[type[Message], Any],
        *,
        name: str = "one",
        concurrency: int | None = None,
        shared: bool = False,
        **overrides: Any,
    ) -> Consumer:
        async def reachable() -> None:
            await writable(self.redis)
            await self.ping()

        settings = ActorSettings(**{"block_ms": BLOCK_MS, **overrides})
        return Consumer(
            Subscription(STREAM, handlers, concurrency),
            self.mailbox(name, settings.claim_idle_ms, shared=shared),
            self.bus,
            settings,
            self.metrics,
            self.health.gate(STREAM),
            reachable=reachable,
        )

    @asynccontextmanager
    async def acting(self, handlers: dict[type[Message], Any], **options: Any) -> AsyncIterator[Consumer]:
        """A running consumer, which is stopped at the end."""
        consumer = self.consumer(handlers, **options)
        task = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            consumer.stop()
            async with asyncio.timeout(WAIT_MAX_SECONDS):
                await task

    async def left(self) -> int:
        """How much unfinished work there is."""
        return int(await self.redis.xlen(STREAM))

    async def a_read_waits(self) -> bool:
        return bool(cast(Any, await self.redis.info("clients"))["blocked_clients"])

    async def idle(self) -> bool:
        """Whether no work is left."""
        return await self.left() == 0

    async def pending(self) -> dict[str, int]:
        """How many entries each consumer has in hand."""
        answer = cast(Any, await self.redis.xpending(STREAM, GROUP))
        return {each["name"].decode(): each["pending"] for each in answer["consumers"]}

    async def abandon(self, entries: Sequence[Entry], consumer: str) -> None:
        """Make it look as if `consumer` had had these in hand for a long time."""
        ids = [entry.id for entry in entries]
        await cast(Any, self.redis).xclaim(STREAM, GROUP, consumer, 0, ids, idle=3_600_000)

    async def dead(self) -> list[dict[str, str]]:
        letters = cast(Any, await self.redis.xrange(dead_letters(STREAM)))
        return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in letters]

    async def entries(self, stream: str) -> list[Entry]:
        return [Entry(id, fields) for id, fields in cast(Any, await self.redis.xrange(stream))]

    async def read_all(self, stream: str) -> list[Envelope]:
        return [decode(stream, entry).envelope for entry in await self.entries(stream)]

    def count(self, kind: type[Message] | None, outcome: str) -> float:
        labels = {"mailbox": STREAM, "type": kind.types[0] if kind else "unknown", "outcome": outcome}
        return self.metrics.registry.get_sample_value("holdfast_messages_total", labels) or 0.0

    def reason(self) -> str | None:
        """Why the consumer does not read; None when it does."""
        return self.health._gates[-1].reason


COMMAND = re.compile(rb"\*\d+\r\n")


class FakeRedis:
    """Speaks Redis' protocol, for answers that a real server does not give on demand."""

    def __init__(self, answer: Callable[[bytes], bytes | None], tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self.received: list[bytes] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        try:
            yield f"redis{'s' if self._tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                for command in [each for each in COMMAND.split(data) if each]:
                    if b"CLIENT" in command:
                        writer.write(b"+OK\r\n")
                        continue
                    self.received.append(command)
                    answer = self._answer(command)
                    if answer is None:  # the connection breaks before the answer
                        return
                    writer.write(answer)
        finally:
            writer.close()
