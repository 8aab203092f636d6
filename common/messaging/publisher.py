"""What a handler or a view needs to tell others something: `publish` returns when Redis has it."""

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

# News and replies are hints about what is in the database: these only bound Redis' memory.
NOTIFICATIONS_MAXLEN = 100_000
INBOX_MAXLEN = 50_000
INBOX_TTL_S = 120
# How long gateways read `notifications` after a process of the release before has published there, and how long one
# of these gateways is taken to listen after it has asked.
UNROUTED_MS = 60_000
# Commands that are sent together: more would only hold up the publisher of the first of them.
SEND_MAX = 500
# How long patient messages are kept, so that many of them leave together: shorter than their retry time.
KEPT_S = 0.5
# Of these, as many are handled at once without keeping others waiting.
TOGETHER_MAX = 250

# Writes each piece of news to the inboxes of the gateways that listen for one of its topics, once. Of each, `items`
# has the number of its topics, these, the number of its fields' parts, and these. For gateways of the release
# before it goes to `notifications`, too, until the next release: the data is at hand here, so that it costs one
# command more.
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
    """Sends messages, over a connection of its own; what is published while others are under way leaves together
    after them."""

    def __init__(self, redis: Redis, *, source: str) -> None:
        """`source` is this process, as messages name it."""
        self._connection = Connection(redis)
        self._source = source
        self._waiting: deque[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        # Patient messages, which leave a little later.
        self._kept: list[Envelope] = []
        self._leaving: asyncio.TimerHandle | None = None

    async def publish(self, envelopes: Iterable[Envelope]) -> None:
        """Returns when Redis has all of them. Raises RedisAway: some may be there then. Patient ones leave a little
        later, and are lost when they cannot."""
        step, news = self.commands(envelopes)
        if step or news:
            await self.enqueue([*step, *news])

    def commands(self, envelopes: Iterable[Envelope]) -> tuple[list[Command], list[Command]]:
        """What publishes these messages, but for those that leave a little later; and, apart, what publishes
        the news among them."""
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
        # A gateway that is gone leaves nothing behind for long.
        commands += (("EXPIRE", stream, INBOX_TTL_S) for stream in replies)
        if not news:
            return commands, []
        return commands, [_TELL.command(inbox_max=INBOX_MAXLEN, notifications_max=NOTIFICATIONS_MAXLEN, items=news)]

    async def send(self, step: Sequence[Command], news: Sequence[Command] = ()) -> None:
        """Returns when all of `step` is done, in one transaction. Raises the error with which it was refused, or
        RedisAway when it is not known whether it was done. `news` is sent beside it, and its errors are logged."""
        if news:
            self.enqueue(news).add_done_callback(lost)
        if step:
            await self.enqueue(transaction(step))

    def enqueue(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """The answers, when Redis has done all of them; what is enqueued before arrives before."""
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
        """Let all leave now that was to leave later."""
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
                if not done.done():  # its publisher has not given up
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
    """Not too many at a time, and fewer where their kind has one message for many, in the name of the first."""
    kinds: dict[type[Message], list[Envelope]] = {}
    for each in envelopes:
        kinds.setdefault(type(each.message), []).append(each)
    for kind, some in kinds.items():
        for begin in range(0, len(some), TOGETHER_MAX):
            page = some[begin : begin + TOGETHER_MAX]
            messages = kind.together([each.message for each in page])
            # As many as there were, or fewer.
            yield [each._replace(message=message) for each, message in zip(page, messages, strict=False)]


def lost(sent: asyncio.Future[Any]) -> None:
    """Log that hints were lost: what they say is in the database."""
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.warning("not published", error=said(error))
