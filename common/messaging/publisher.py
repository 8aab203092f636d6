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
from common.messaging.redis import ANSWER_TIMEOUT_S, Argument, Command, Script
from common.messaging.streams import LISTENERS, LISTENING, ROUTED_LAST, ROUTED_NOT, UNREGISTERED, inbox_stream
from common.runtime.outages import said

# Notifications and replies are hints about what is in the database: these limits only bound Redis' memory.
NOTIFICATIONS_MAXLEN = 100_000
INBOX_MAXLEN = 50_000
INBOX_TTL_S = 120
# How many milliseconds gateways read `notifications` after a process of the previous release has published there,
# and how many a gateway of that release counts as listening after a call.
UNROUTED_MS = 60_000
# The most commands sent together: more would only delay the publisher of the first of them.
SEND_MAX = 500
# How many seconds patient messages wait, so that many leave together: shorter than their retry time.
KEPT_S = 0.5
# The most of them in one message: they are handled at once without keeping others waiting.
TOGETHER_MAX = 250

# Writes each notification once to the inbox of each gateway that listens for one of its topics. `items` has for
# each the number of its topics, the topics, the number of its fields' parts, and these. Until the next release it
# is also written to `notifications`, for gateways of the previous release, which costs only one command more.
_TELL = Script[int](
    f"""
local foreign = redis.call('GET', '{ROUTED_LAST}')
foreign = foreign and redis.call('XRANGE', '{NOTIFICATIONS}', '(' .. foreign, '+', 'COUNT', 1)
if foreign and #foreign > 0 then redis.call('SET', '{ROUTED_NOT}', 1, 'PX', {UNROUTED_MS}) end
local listens = {{}}
local at, added, last = 1, 0, nil
while items[at] do
  local fields_at = at + items[at] + 1
  local fields = {{unpack(items, fields_at + 1, fields_at + items[fields_at])}}
  local told = {{}}
  for each = at + 1, fields_at - 1 do
    local topic = '{LISTENERS}' .. items[each]
    for _, gateway in ipairs(redis.call('SMEMBERS', topic)) do
      if listens[gateway] == nil then listens[gateway] = redis.call('EXISTS', '{LISTENING}' .. gateway) == 1 end
      if not listens[gateway] then
        redis.call('SREM', topic, gateway)
      elseif not told[gateway] then
        told[gateway] = true
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
        # Patient messages, which leave up to KEPT_S later.
        self._kept: list[Envelope] = []
        self._leaving: asyncio.TimerHandle | None = None

    async def publish(self, envelopes: Iterable[Envelope]) -> None:
        """Returns when Redis has all of them. Raises RedisAway, and then some may be there. Patient ones leave a
        little later, and are lost if Redis cannot be reached then."""
        step, news = self.commands(envelopes)
        if step or news:
            await self.enqueue([*step, *news])

    def commands(self, envelopes: Iterable[Envelope]) -> tuple[list[Command], list[Command]]:
        """The commands that publish these messages, without patient ones, which leave later; and, separately, those
        that publish the notifications among them."""
        now: list[Envelope] = []
        for envelope in envelopes:
            (self._kept if envelope.message.patient else now).append(envelope)
        if self._kept and self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_later(KEPT_S, self._let_leave)
        return self._encoded(now)

    def _encoded(self, envelopes: Iterable[Envelope]) -> tuple[list[Command], list[Command]]:
        commands: list[Command] = []
        news: list[Argument] = []
        replies: set[str] = set()
        for envelope in envelopes:
            message, stream, fields = envelope.message, envelope.stream, envelope.fields(self._source)
            if stream == NOTIFICATIONS:
                topics = message.topics()
                news += (len(topics), *topics, len(fields), *fields)
            elif isinstance(message, Reply):
                commands.append(("XADD", stream, "MAXLEN", "~", INBOX_MAXLEN, "*", *fields))
                replies.add(stream)
            else:
                commands.append(("XADD", stream, "*", *fields))
        if any(not stream.startswith(inbox_stream("")) for stream in replies):
            commands.append(("SET", UNREGISTERED, 1, "PX", UNROUTED_MS))
        # The inbox of a gateway that no longer exists soon expires.
        commands += (("EXPIRE", stream, INBOX_TTL_S) for stream in replies)
        if not news:
            return commands, []
        return commands, [_TELL.command(inbox_max=INBOX_MAXLEN, notifications_max=NOTIFICATIONS_MAXLEN, items=news)]

    async def send(self, step: Sequence[Command], news: Sequence[Command] = ()) -> None:
        """Returns when Redis has run all of `step`, in one transaction. Raises the error with which Redis refused
        it, or RedisAway when the result is not known. `news` is sent beside it, and its errors are logged."""
        if news:
            self.enqueue(news).add_done_callback(lost)
        if step:
            await self.enqueue(transaction(step))

    def enqueue(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """A future of the answers, done when Redis has run all commands; what is enqueued first arrives first."""
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="publish")
        return done

    def _let_leave(self) -> list[asyncio.Future[list[Any]]]:
        self._leaving = None
        kept, self._kept = self._kept, []
        leaving = []
        for page in _together(kept):
            step, news = self._encoded(page)
            leaving.append(self.enqueue([*step, *news]))
            leaving[-1].add_done_callback(lost)
        return leaving

    async def flush(self) -> None:
        """Send all patient messages now."""
        if self._leaving is not None:
            self._leaving.cancel()
            if leaving := self._let_leave():
                await asyncio.wait(leaving, timeout=ANSWER_TIMEOUT_S)

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


def _together(envelopes: Iterable[Envelope]) -> Iterable[list[Envelope]]:
    """Pages of at most TOGETHER_MAX; one message may say many, and is published in the first one's envelope."""
    kinds: dict[type[Message], list[Envelope]] = {}
    for each in envelopes:
        kinds.setdefault(type(each.message), []).append(each)
    for kind, some in kinds.items():
        for begin in range(0, len(some), TOGETHER_MAX):
            page = some[begin : begin + TOGETHER_MAX]
            messages = kind.together([each.message for each in page])
            # There may be fewer messages than envelopes.
            yield [each._replace(message=message) for each, message in zip(page, messages, strict=False)]


def lost(sent: asyncio.Future[Any]) -> None:
    """Log that hints were lost: the database has what they say."""
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.warning("not published", error=said(error))
