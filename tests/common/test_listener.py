"""A gateway gets the notifications that it listens for, and knows when it may have missed some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from common.contracts.messages import BOOKING_QUERIES, NOTIFICATIONS, BookingChanged, GetEvent, Message, SyncPayment
from common.messaging import listener
from common.messaging.envelope import Delivery, Envelope, answer, decode, tell
from common.messaging.registry import Registry
from common.messaging.streams import LISTENERS, LISTENING, inbox_stream
from common.runtime.health import Gate
from common.runtime.outages import RedisAway
from ops.redis import RedisServer
from tests.common.examples import EXAMPLES
from tests.common.stage import Recorder, Stage, fields_of, sync, until

CHANGED = cast(BookingChanged, EXAMPLES[BookingChanged])


def changed(version: int = 1) -> Envelope:
    booking = CHANGED.booking.model_copy(update={"version": version})
    return tell(CHANGED.model_copy(update={"booking": booking}), booking.id)


class Listener:
    """A process that listens, and records its notifications."""

    def __init__(self, stage: Stage, gateway: str = "one") -> None:
        self.stage = stage
        self.gate = Gate("notifications")
        self.heard: list[Message] = []
        self.missed: list[Collection[str] | None] = []
        self.registry = Registry(stage.redis, stage.bus, gateway)
        self.listener = listener.Listener(
            stage.redis, gateway, self.registry, stage.requests, self.hear, self.missed.append
        )

    def hear(self, kind: type[Message], data: bytes) -> None:
        self.heard.append(kind.of_json(data))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        for topic in CHANGED.topics():
            self.registry.add(topic)
        task = asyncio.create_task(self.listener.run(self.gate, block_ms=20))
        try:
            await self.gate.opened.wait()
            yield self
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.1)


async def question(stage: Stage) -> Delivery:
    """The next call in the mailbox of queries."""
    await until(lambda: stage.redis.xlen(BOOKING_QUERIES))
    (entry,) = await stage.entries(BOOKING_QUERIES)
    await stage.redis.xdel(BOOKING_QUERIES, entry.id)
    return decode(BOOKING_QUERIES, entry)


def ask(stage: Stage, timeout_s: float = 10) -> asyncio.Future[Any]:
    return stage.requests.ask(GetEvent(event_id=uuid4()), "event", timeout_s=timeout_s)


async def test_everybody_hears_notifications(stage: Stage) -> None:
    async with Listener(stage).listening() as one, Listener(stage, "two").listening() as two:
        await stage.bus.publish([sent := changed()])
        await until(lambda: one.heard and two.heard)
    assert one.heard == two.heard == [sent.message]


async def test_what_was_told_before_is_not_heard(stage: Stage) -> None:
    await stage.bus.publish([changed()])
    async with Listener(stage).listening() as listener:
        await stage.bus.publish([late := changed(2)])
        await until(lambda: listener.heard)
    assert listener.heard == [late.message]


async def test_what_is_no_notification_is_passed_over(stage: Stage) -> None:
    async with Listener(stage).listening() as listener:
        await stage.redis.xadd(inbox_stream("one"), {"hello": "world"})
        await stage.redis.xadd(inbox_stream("one"), {"type": "reply", "data": "[]"})
        await stage.bus.publish([sent := changed()])
        await until(lambda: listener.heard)
    assert listener.heard == [sent.message]


async def test_news_of_a_newer_release_is_passed_over_quietly(stage: Stage) -> None:
    async with Listener(stage).listening() as listener:
        with capture_logs() as logs:
            await stage.redis.xadd(inbox_stream("one"), {"type": "of_a_newer_release", "data": "x"})
            await stage.bus.publish([sent := changed()])
            await until(lambda: listener.heard)
    assert (listener.heard, logs) == ([sent.message], [])


async def test_a_listener_of_a_replica_is_not_ready(own_stage: Stage) -> None:
    """Even if its reads are answered: what is written to the primary may never reach it."""
    async with Listener(own_stage).listening() as listener:
        await until(lambda: listener.gate.reason is None)
        await own_stage.redis.replicaof("127.0.0.1", 1)
        await until(lambda: "READONLY" in str(listener.gate.reason))
        await own_stage.redis.replicaof("NO", "ONE")
        await own_stage.bus.publish([sent := changed()])
        await until(lambda: listener.gate.reason is None)
        await until(lambda: listener.heard)
    assert listener.heard == [sent.message]


async def test_listening_goes_on_after_a_restart_of_redis(own_stage: Stage, own_redis: RedisServer) -> None:
    async with Listener(own_stage).listening() as listener:
        await own_stage.bus.publish([before := changed(1)])
        await until(lambda: listener.heard)
        await own_redis.stop()
        await until(lambda: listener.gate.reason is not None)
        await own_redis.start()
        await own_stage.bus.publish([after := changed(2)])
        await until(lambda: len(listener.heard) == 2)
        await until(lambda: listener.gate.reason is None)
        asking = ask(own_stage)
        await own_stage.bus.publish(answer(await question(own_stage), "answered"))
        assert await asking == "answered"
    assert listener.heard == [before.message, after.message]


OWNER, BOOKING = CHANGED.topics()


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LOOK_S", 0)


async def inbox(stage: Stage, gateway: str = "one") -> list[Envelope]:
    return await stage.read_all(inbox_stream(gateway))


async def test_news_goes_to_the_gateways_that_listen_and_to_each_once(stage: Stage) -> None:
    one, two, three = Listener(stage), Listener(stage, "two"), Listener(stage, "three")
    async with one.listening(), two.listening(), three.listening():
        for topic in CHANGED.topics():
            two.registry.remove(topic)
        three.registry.remove(BOOKING)  # it still listens for the owner
        for each in (two, three):
            await each.registry.renew()
        await stage.bus.publish([sent := changed()])
        await until(lambda: one.heard and three.heard)
    assert one.heard == three.heard == [sent.message]
    assert await inbox(stage, "two") == []
    assert [each.id for each in await stage.read_all(NOTIFICATIONS)] == [
        sent.id
    ]  # for gateways of the previous release


async def test_a_registration_arrives_before_what_is_asked_after_it(stage: Stage) -> None:
    """In one round trip, when both are sent at once."""
    async with Listener(stage).listening() as heard:
        other = changed()._replace(message=CHANGED.model_copy(update={"owner": "another"}))
        added = heard.registry.add("owner:another")
        asking = ask(stage)
        await question(stage)
        assert added is not None
        assert added.done()
        assert await stage.redis.sismember(f"{LISTENERS}owner:another", "one")
        await stage.bus.publish([other])
        await until(lambda: heard.heard)
        asking.cancel()
        heard.registry.add("owner:another")
        heard.registry.remove("owner:another")
        await heard.registry.renew()
        assert await stage.redis.sismember(f"{LISTENERS}owner:another", "one")
        heard.registry.remove("owner:another")
        await heard.registry.renew()
        assert not await stage.redis.exists(f"{LISTENERS}owner:another")


async def test_what_nobody_wants_any_more_leaves_with_the_next_registration(stage: Stage) -> None:
    registry = Registry(stage.redis, stage.bus, "one")
    registry.add(OWNER)
    registry.remove(OWNER)
    await registry.add(BOOKING)  # type: ignore[misc]  # a future: it is the first addition
    assert not await stage.redis.exists(LISTENERS + OWNER)


async def test_a_removal_that_did_not_arrive_is_made_again(own_stage: Stage, own_redis: RedisServer) -> None:
    registry = Registry(own_stage.redis, own_stage.bus, "one")
    await registry.add(OWNER)  # type: ignore[misc]
    registry.remove(OWNER)
    await own_redis.stop()
    with pytest.raises(RedisAway):
        await registry.add(BOOKING)  # type: ignore[misc]
    await own_redis.start()
    assert await own_stage.redis.exists(LISTENERS + OWNER)
    await registry.renew()
    assert not await own_stage.redis.exists(LISTENERS + OWNER)


@pytest.mark.parametrize("told", [True, False], ids=["news", "no news"])
async def test_a_gateway_paused_past_its_registration_knows_what_it_missed(stage: Stage, told: bool) -> None:
    """It missed the notification for which a publisher found its registration expired, and no other."""
    one = Listener(stage)
    one.registry.add("event:quiet")
    async with one.listening():
        await until(lambda: one.gate.reason is None)
    # As when its process is stopped: its own key expires.
    await stage.redis.delete(LISTENING + "one")
    if told:
        await stage.bus.publish([changed()])
        assert await inbox(stage) == []
    one.gate.close("paused")
    await one.listener._look(again=True)
    assert one.missed == ([{OWNER, BOOKING}] if told else [])
    await stage.bus.publish([late := changed(2)])
    assert [each.id for each in await inbox(stage)] == [late.id]


@pytest.mark.usefixtures("looking")
async def test_a_gateway_knows_when_the_registry_was_lost(stage: Stage) -> None:
    async with Listener(stage).listening() as heard:
        await stage.bus.publish([changed()])
        await until(lambda: heard.heard)
        assert heard.missed == []
        await stage.redis.flushdb()
        await until(lambda: heard.missed)
        await stage.bus.publish([late := changed(2)])
        await until(lambda: heard.heard[-1] == late.message)
    assert len(heard.missed) == 1, "once is enough"


async def test_a_registration_that_was_refused_is_made_again_and_its_news_may_have_been_missed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Listener(stage).listening() as heard:
        await stage.redis.set(f"{LISTENERS}event:new", "this is no set")
        added = heard.registry.add("event:new")
        assert added is not None
        with pytest.raises(ResponseError):
            await added
        await stage.redis.delete(f"{LISTENERS}event:new")
        assert heard.missed == []
        monkeypatch.setattr(listener, "LOOK_S", 0)
        await until(lambda: heard.missed)
        assert await stage.redis.sismember(f"{LISTENERS}event:new", "one")
    assert heard.missed == [{"event:new"}]


@pytest.mark.usefixtures("looking")
async def test_an_inbox_that_begins_anew_by_a_clock_that_is_behind_is_read(stage: Stage) -> None:
    async with Listener(stage).listening() as heard:
        before = changed()
        await stage.redis.xadd(inbox_stream("one"), fields_of(before), id="9999999999999-0")
        await until(lambda: heard.heard)
        await stage.redis.flushdb()
        await until(lambda: heard.missed)
        assert heard.missed[0] is None
        await stage.bus.publish([after := changed(2)])
        await until(lambda: len(heard.heard) == 2)
    assert heard.heard == [before.message, after.message]


async def test_a_gateway_knows_when_its_inbox_was_trimmed_before_it_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "READ_MAX", 10)
    one = Listener(stage)

    async def fill(number: int) -> None:
        for _ in range(number):
            await stage.redis.xadd(inbox_stream("one"), {"type": "of_a_newer_release"})

    await fill(15)
    await one.listener._read(20)
    await one.listener._read(20)
    assert one.missed == []
    await fill(30)
    await stage.redis.xtrim(inbox_stream("one"), maxlen=20, approximate=False)
    await one.listener._read(20)
    assert one.missed == [None]
    await one.listener._read(20)
    assert one.missed == [None]
    await one.listener._connection.close()


async def test_sockets_stay_open_when_redis_is_restarted_and_has_lost_nothing(
    own_stage: Stage, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "ARRIVED_S", 0.0)  # reads of this test wait for 20 ms only
    async with Listener(own_stage).listening() as heard:
        await own_redis.stop()
        await until(lambda: heard.gate.reason is not None)
        await own_redis.start()
        await until(lambda: heard.gate.reason is None)
        await own_stage.bus.publish([sent := changed()])
        await until(lambda: heard.heard)
    assert (heard.heard, heard.missed) == ([sent.message], [])


async def test_a_restart_under_a_read_that_may_not_have_arrived_is_a_loss(
    own_stage: Stage, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "ARRIVED_S", 60.0)
    async with Listener(own_stage).listening() as heard:
        await own_redis.stop()
        await until(lambda: heard.gate.reason is not None)
        await own_redis.start()
        await until(lambda: heard.gate.reason is None)
    assert heard.missed == [None]


@pytest.mark.usefixtures("looking")
async def test_news_of_processes_of_the_release_before_is_heard_while_they_publish(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They publish only to `notifications`."""

    async def as_before(version: int) -> Message:
        sent = changed(version)
        await stage.redis.xadd(NOTIFICATIONS, fields_of(sent))
        return sent.message

    await as_before(1)  # before it listens
    async with Listener(stage).listening() as heard:
        await stage.bus.publish([new := changed(2)])
        old = await as_before(3)
        await until(lambda: old in heard.heard)
        await stage.bus.publish([changed(4)])
        another = await as_before(5)
        await until(lambda: another in heard.heard)
        assert new.message in heard.heard
        # When the key that tells of them has expired, only the inbox is read.
        await stage.bus.publish([changed(6)])
        await stage.redis.delete("notifications:unrouted")
        await until(lambda: not heard.listener._unrouted)
        await stage.bus.publish([last := changed(7)])
        await until(lambda: last.message in heard.heard)
    assert [each for each in heard.heard if each == last.message] == [last.message]
    assert heard.missed == []


async def test_news_that_is_refused_keeps_no_message_from_being_acknowledged(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> list[Envelope]:
        return [changed(), sync()._replace(stream="told")]

    await stage.redis.set(NOTIFICATIONS, "this is no stream")
    await stage.bus.publish([sync()])
    with capture_logs() as logs:
        async with stage.acting({SyncPayment: Recorder(act)}):
            await until(stage.idle)
            await until(lambda: [line for line in logs if line["event"] == "news not published"])
    assert len(await stage.entries("told")) == 1
    assert stage.count(SyncPayment, "done") == 1
