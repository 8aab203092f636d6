"""What handlers and views publish with: `publish` returns when Redis has the messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import structlog
from redis.asyncio import Redis

from common.contracts.messages import NOTIFICATIONS, Message, Reply
from common.messaging.connection import Connection, check, transaction
from common.messaging.envelope import Envelope
from common.messaging.redis import ANSWER_TIMEOUT_SECONDS, Argument, Command, Script
from common.messaging.streams import LISTENERS, LISTENING, ROUTED_LAST, ROUTED_NOT, UNREGISTERED, inbox_stream
from common.runtime.outages import error_text

# Notifications and replies are hints about what is in the database: these limits only bound Redis' memory.
NOTIFICATIONS_MAXLEN = 100_000
INBOX_MAXLEN = 50_000
INBOX_TTL_SECONDS = 120
# How many milliseconds gateways read `notifications` after a process of the previous release has published there,
# and how many a gateway of that release counts as listening after a call.
UNROUTED_MS = 60_000
# The most commands sent together: more would only delay the publisher of the first of them.
SEND_MAX = 500
# How many seconds deferrable messages wait, so that many leave together: shorter than their retry time.
DEFER_SECONDS = 0.5
# The most of them in one message: they are handled at once without keeping others waiting.
COMBINED_MAX = 250

# Writes each notification once to the inbox of each gateway that listens for one of its topics. `items` has for
# each the number of its topics, the topics, the number of its fields' parts, and these. Until the next release it
# is also written to `notifications`, for gateways of the previous release, which costs only one command more.
_NOTIFY = Script[int](
    f"""
local foreign = redis.call('GET', '{ROUTED_LAST}')
foreign = foreign and redis.call('XRANGE', '{NOTIFICATIONS}', '(' .. foreign, '+', 'COUNT', 1)
if foreign and #foreign > 0 then redis.call('SET', '{ROUTED_NOT}', 1, 'PX', {UNROUTED_MS}) end
local listens = {{}}
local at, added, last = 1, 0, nil
while items[at] do
  local fields_at = at + items[at] + 1
  local fields = {{unpack(items, fields_at + 1, fields_at + items[fields_at])}}
  local notified = {{}}
  for each = at + 1, fields_at - 1 do
    local topic = '{LISTENERS}' .. items[each]
    for _, gateway in ipairs(redis.call('SMEMBERS', topic)) do
      if listens[gateway] == nil then listens[gateway] = redis.call('EXISTS', '{LISTENING}' .. gateway) == 1 end
      if not listens[gateway] then
        redis.call('SREM', topic, gateway)
      elseif not notified[gateway] then
        notified[gateway] = true
        redis.call('XADD', '{inbox_stream("")}' .. gateway, 'MAXLEN', '~', inbox_max, '*', unpack(fields))
        added = added + 1
      end
    end
  end
  last = redis.call('XADD', '{NOTIFICATIONS}', 'MAXLEN', '~', notifications_max, '*', unpack(fields))
  at = fields_at + items[fields_at] + 1
end
redis.call('SET', '{ROUTED_LAST}', last)
return added
""",
    keys="",
    args="inbox_max notifications_max *items",
)

log = structlog.get_logger()


class Publisher:
    """Publishes messages over a connection of its own; those published during a send leave together after it."""

    def __init__(self, redis: Redis, *, source: str) -> None:
        """`source` is this process, as messages name it."""
        self._connection = Connection(redis)
        self._source = source
        self._waiting: deque[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        # Deferrable messages, which leave up to DEFER_SECONDS later.
        self._deferred: list[Envelope] = []
        self._timer: asyncio.TimerHandle | None = None

    async def publish(self, envelopes: Iterable[Envelope]) -> None:
        """Returns when Redis has all of them. Raises RedisOutage, and then some may be there. Deferrable ones
        leave a little later, and are lost if Redis cannot be reached then."""
        commands, notifications = self.commands(envelopes)
        if commands or notifications:
            await self.enqueue([*commands, *notifications])

    def commands(self, envelopes: Iterable[Envelope]) -> tuple[list[Command], list[Command]]:
        """The commands that publish these messages, without deferrable ones, which leave later; and, separately,
        those that publish the notifications among them."""
        now: list[Envelope] = []
        for envelope in envelopes:
            (self._deferred if envelope.message.deferrable else now).append(envelope)
        if self._deferred and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DEFER_SECONDS, self._send_deferred)
        return self._encoded(now)

    def _encoded(self, envelopes: Iterable[Envelope]) -> tuple[list[Command], list[Command]]:
        commands: list[Command] = []
        notifications: list[Argument] = []
        replies: set[str] = set()
        for envelope in envelopes:
            message, stream, fields = envelope.message, envelope.stream, envelope.fields(self._source)
            if stream == NOTIFICATIONS:
                topics = message.topics()
                notifications += (len(topics), *topics, len(fields), *fields)
            elif isinstance(message, Reply):
                commands.append(("XADD", stream, "MAXLEN", "~", INBOX_MAXLEN, "*", *fields))
                replies.add(stream)
            else:
                commands.append(("XADD", stream, "*", *fields))
        if any(not stream.startswith(inbox_stream("")) for stream in replies):
            commands.append(("SET", UNREGISTERED, 1, "PX", UNROUTED_MS))
        # The inbox of a gateway that no longer exists soon expires.
        commands += (("EXPIRE", stream, INBOX_TTL_SECONDS) for stream in replies)
        if not notifications:
            return commands, []
        notify = _NOTIFY.command(
            inbox_max=INBOX_MAXLEN, notifications_max=NOTIFICATIONS_MAXLEN, items=notifications
        )
        return commands, [notify]

    async def send(self, commands: Sequence[Command], notifications: Sequence[Command] = ()) -> None:
        """Returns when Redis has run all of `commands`, in one transaction. Raises the error with which Redis
        refused them, or RedisOutage when the result is not known. `notifications` are sent beside them, and their
        errors are logged."""
        if notifications:
            self.enqueue(notifications).add_done_callback(log_lost)
        if commands:
            await self.enqueue(transaction(commands))

    def enqueue(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """A future of the answers, done when Redis has run all commands; what is enqueued first arrives first."""
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="publish")
        return done

    def _send_deferred(self) -> list[asyncio.Future[list[Any]]]:
        self._timer = None
        deferred, self._deferred = self._deferred, []
        sends = []
        for page in _pages(deferred):
            commands, notifications = self._encoded(page)
            sends.append(self.enqueue([*commands, *notifications]))
            sends[-1].add_done_callback(log_lost)
        return sends

    async def flush(self) -> None:
        """Send all deferrable messages now."""
        if self._timer is not None:
            self._timer.cancel()
            if sends := self._send_deferred():
                await asyncio.wait(sends, timeout=ANSWER_TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self.flush()
        await self._connection.close()

    async def _flush(self) -> None:
        while self._waiting:
            sending: list[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = []
            size = 0
            while self._waiting and size < SEND_MAX:
                commands, done = self._waiting.popleft()
                if not done.done():  # its publisher still waits
                    sending.append((commands, done))
                    size += len(commands)
            if not sending:
                return
            await self._connection.send([*chain.from_iterable(commands for commands, _ in sending)])
            for commands, done in sending:
                try:
                    answers = check(await self._connection.answers(len(commands)))
                except Exception as error:
                    if not done.done():
                        done.set_exception(error)
                else:
                    if not done.done():
                        done.set_result(answers)


def _pages(envelopes: Iterable[Envelope]) -> Iterable[list[Envelope]]:
    """Pages of at most COMBINED_MAX; one message may replace many, and is published in the first one's envelope."""
    kinds: dict[type[Message], list[Envelope]] = {}
    for each in envelopes:
        kinds.setdefault(type(each.message), []).append(each)
    for kind, some in kinds.items():
        for begin in range(0, len(some), COMBINED_MAX):
            page = some[begin : begin + COMBINED_MAX]
            messages = kind.combined([each.message for each in page])
            # There may be fewer messages than envelopes.
            yield [each._replace(message=message) for each, message in zip(page, messages, strict=False)]


def log_lost(sent: asyncio.Future[Any]) -> None:
    """Log that hints were lost: the database has what they say."""
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.warning("not published", error=error_text(error))
