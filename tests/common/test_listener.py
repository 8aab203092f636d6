"""A gateway gets the notifications that it listens for, and knows when it may have missed some."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from common.contracts.messages import BOOKING_QUERIES, NOTIFICATIONS, BookingChanged, GetEvent, Message, SyncPayment
from common.messaging import listener
from common.messaging.envelope import Delivery, Envelope, answer, decode, envelope_for
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.messaging.registry import Registry
from common.messaging.streams import LISTENERS, LISTENING, inbox_stream
from common.runtime.health import Gate
from common.runtime.outages import RedisOutage
from ops.redis import RedisServer
from tests.common.examples import EXAMPLES
from tests.common.stage import Recorder, Stage, fields_of, sync, until

CHANGED = cast(BookingChanged, EXAMPLES[BookingChanged])


def changed(version: int = 1) -> Envelope:
    booking = CHANGED.booking.model_copy(update={"version": version})
    return envelope_for(CHANGED.model_copy(update={"booking": booking}), booking.id)


class Listener:
    """A process that listens, and records its notifications."""

    def __init__(self, stage: Stage, gateway: str = "one", claim_idle_s: float = 25.0) -> None:
        self.stage = stage
        self.gate = Gate("notifications")
        self.received: list[Message] = []
        self.missed: list[Collection[str] | None] = []
        self.registry = Registry(stage.redis, stage.bus, gateway)
        self.listener = listener.Listener(
            stage.redis, gateway, self.registry, stage.calls, self.receive, self.missed.append, claim_idle_s
        )

    def receive(self, kind: type[Message], data: bytes) -> None:
        self.received.append(kind.of_json(data))

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


def call(stage: Stage, timeout_s: float = 10) -> asyncio.Future[Any]:
    return stage.calls.call(GetEvent(event_id=uuid4()), "event", timeout_s=timeout_s)


async def test_every_listening_gateway_receives_a_notification(stage: Stage) -> None:
    async with Listener(stage).listening() as one, Listener(stage, "two").listening() as two:
        await stage.bus.publish([sent := changed()])
        await until(lambda: one.received and two.received)
    assert one.received == two.received == [sent.message]


async def test_a_notification_published_before_listening_is_not_received(stage: Stage) -> None:
    await stage.bus.publish([changed()])
    async with Listener(stage).listening() as gateway:
        await stage.bus.publish([late := changed(2)])
        await until(lambda: gateway.received)
    assert gateway.received == [late.message]


async def test_an_entry_that_is_no_notification_is_ignored(stage: Stage) -> None:
    async with Listener(stage).listening() as gateway:
        await stage.redis.xadd(inbox_stream("one"), {"hello": "world"})
        await stage.redis.xadd(inbox_stream("one"), {"type": "reply", "data": "[]"})
        await stage.bus.publish([sent := changed()])
        await until(lambda: gateway.received)
    assert gateway.received == [sent.message]


async def test_a_notification_type_of_a_newer_release_is_ignored_without_a_log_line(stage: Stage) -> None:
    async with Listener(stage).listening() as gateway:
        with capture_logs() as logs:
            await stage.redis.xadd(inbox_stream("one"), {"type": "of_a_newer_release", "data": "x"})
            await stage.bus.publish([sent := changed()])
            await until(lambda: gateway.received)
    assert (gateway.received, logs) == ([sent.message], [])


async def test_a_listener_of_a_replica_is_not_ready(own_stage: Stage) -> None:
    """Even if its reads are answered: what is written to the primary may never reach it."""
    async with Listener(own_stage).listening() as gateway:
        await until(lambda: gateway.gate.reason is None)
        await own_stage.redis.replicaof("127.0.0.1", 1)
        await until(lambda: "READONLY" in str(gateway.gate.reason))
        await own_stage.redis.replicaof("NO", "ONE")
        await own_stage.bus.publish([sent := changed()])
        await until(lambda: gateway.gate.reason is None)
        await until(lambda: gateway.received)
    assert gateway.received == [sent.message]


async def test_listening_goes_on_after_a_restart_of_redis(own_stage: Stage, own_redis: RedisServer) -> None:
    async with Listener(own_stage).listening() as gateway:
        await own_stage.bus.publish([before := changed(1)])
        await until(lambda: gateway.received)
        await own_redis.stop()
        await until(lambda: gateway.gate.reason is not None)
        await own_redis.start()
        await own_stage.bus.publish([after := changed(2)])
        await until(lambda: len(gateway.received) == 2)
        await until(lambda: gateway.gate.reason is None)
        calling = call(own_stage)
        await own_stage.bus.publish(answer(await question(own_stage), "answered"))
        assert await calling == "answered"
    assert gateway.received == [before.message, after.message]


OWNER, BOOKING = CHANGED.topics()


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "RENEW_SECONDS", 0)


async def inbox(stage: Stage, gateway: str = "one") -> list[Envelope]:
    return await stage.read_all(inbox_stream(gateway))


async def test_each_listening_gateway_receives_a_notification_once(stage: Stage) -> None:
    one, two, three = Listener(stage), Listener(stage, "two"), Listener(stage, "three")
    async with one.listening(), two.listening(), three.listening():
        for topic in CHANGED.topics():
            two.registry.remove(topic)
        three.registry.remove(BOOKING)  # it still listens for the owner
        for each in (two, three):
            await each.registry.renew()
        await stage.bus.publish([sent := changed()])
        await until(lambda: one.received and three.received)
    assert one.received == three.received == [sent.message]
    assert await inbox(stage, "two") == []
    assert [each.id for each in await stage.read_all(NOTIFICATIONS)] == [
        sent.id
    ]  # for gateways of the previous release


async def test_what_a_gateway_has_read_is_soon_forgotten(stage: Stage, looking: None) -> None:
    """Its inbox keeps the last entry that it has read, and what it has not; `notifications` what is new there."""
    await stage.redis.xadd(NOTIFICATIONS, {"type": "old"}, id=f"{int((time.time() - 90) * 1000)}-0")
    async with Listener(stage).listening() as gateway:
        published = [changed(version) for version in range(1, 4)]
        for each in published:
            await stage.bus.publish([each])
        await until(lambda: len(gateway.received) == 3)
        renewed = gateway.listener._renewed_at
        await until(lambda: gateway.listener._renewed_at > renewed)
    assert [each.id for each in await inbox(stage)] == [published[-1].id]
    assert [each.id for each in await stage.read_all(NOTIFICATIONS)] == [each.id for each in published]
    await stage.bus.publish(late := [changed(4), changed(5)])
    async with gateway.listening():
        await until(lambda: len(gateway.received) == 5)
    assert gateway.missed == []
    assert [each.message for each in late] == gateway.received[3:]


async def test_a_redis_user_that_may_not_trim_is_no_error(stage: Stage, redis_url: str) -> None:
    """As one of an earlier release. The inbox is then as long as it may be."""
    commands = cast(Any, stage.redis)
    await commands.execute_command("ACL", "SETUSER", "old", "on", ">old", "~*", "+@all", "-xtrim")
    redis = connect(re.sub("redis://(.*@)?", "redis://old:old@", redis_url))
    bus = Publisher(redis, source="/test")
    try:
        await stage.redis.xadd(inbox_stream("one"), {"type": "reply"}, id="1-0")
        registry = Registry(redis, bus, "one")
        for known in (False, True):
            assert (await registry.renew(b"5-0"))[0] is known
        assert await stage.redis.xlen(inbox_stream("one")) == 1
    finally:
        await bus.close()
        await redis.aclose()
        await commands.execute_command("ACL", "DELUSER", "old")


async def test_a_registration_arrives_before_a_call_made_after_it(stage: Stage) -> None:
    """In one round trip, when both are sent at once."""
    async with Listener(stage).listening() as gateway:
        other = changed()._replace(message=CHANGED.model_copy(update={"owner": "another"}))
        added = gateway.registry.add("owner:another")
        calling = call(stage)
        await question(stage)
        assert added is not None
        assert added.done()
        assert await stage.redis.sismember(f"{LISTENERS}owner:another", "one")
        await stage.bus.publish([other])
        await until(lambda: gateway.received)
        calling.cancel()
        gateway.registry.add("owner:another")
        gateway.registry.remove("owner:another")
        await gateway.registry.renew()
        assert await stage.redis.sismember(f"{LISTENERS}owner:another", "one")
        gateway.registry.remove("owner:another")
        await gateway.registry.renew()
        assert not await stage.redis.exists(f"{LISTENERS}owner:another")


async def test_a_removal_is_sent_with_the_next_registration(stage: Stage) -> None:
    registry = Registry(stage.redis, stage.bus, "one")
    registry.add(OWNER)
    registry.remove(OWNER)
    await registry.add(BOOKING)  # type: ignore[misc]  # a future: it is the first addition
    assert not await stage.redis.exists(LISTENERS + OWNER)


async def test_a_removal_that_did_not_arrive_is_sent_again(own_stage: Stage, own_redis: RedisServer) -> None:
    registry = Registry(own_stage.redis, own_stage.bus, "one")
    await registry.add(OWNER)  # type: ignore[misc]
    registry.remove(OWNER)
    await own_redis.stop()
    with pytest.raises(RedisOutage):
        await registry.add(BOOKING)  # type: ignore[misc]
    await own_redis.start()
    assert await own_stage.redis.exists(LISTENERS + OWNER)
    await registry.renew()
    assert not await own_stage.redis.exists(LISTENERS + OWNER)


async def test_what_was_read_is_deleted_from_the_inbox(stage: Stage, looking: None) -> None:
    """An image in a reply would else stay there until thousands of others have come. What is unread stays."""
    async with Listener(stage).listening() as gateway:
        calling = call(stage)
        await stage.bus.publish(answer(await question(stage), "x" * 400_000))
        await calling
        await stage.bus.publish([changed(1), changed(2)])
        await until(lambda: len(gateway.received) == 2)

        async def short() -> bool:
            return (await stage.redis.memory_usage(inbox_stream("one")) or 0) < 50_000

        await until(short)
    await stage.bus.publish([late := changed(3)])
    await gateway.registry.renew(b"0-0")
    assert (await inbox(stage))[-1].id == late.id
    assert gateway.missed == []


@pytest.mark.parametrize("published", [True, False], ids=["notified", "not notified"])
async def test_a_gateway_paused_past_its_registration_knows_what_it_missed(stage: Stage, published: bool) -> None:
    """It missed the notification for which a publisher found its registration expired, and no other."""
    one = Listener(stage)
    one.registry.add("event:quiet")
    async with one.listening():
        await until(lambda: one.gate.reason is None)
    # As when its process is stopped: its own key expires.
    await stage.redis.delete(LISTENING + "one")
    if published:
        await stage.bus.publish([changed()])
        assert await inbox(stage) == []
    one.gate.close("paused")
    await one.listener._renew(again=True)
    assert one.missed == ([{OWNER, BOOKING}] if published else [])
    await stage.bus.publish([late := changed(2)])
    assert [each.id for each in await inbox(stage)] == [late.id]


@pytest.mark.usefixtures("looking")
async def test_a_gateway_knows_when_the_registry_was_lost(stage: Stage) -> None:
    async with Listener(stage).listening() as gateway:
        await stage.bus.publish([changed()])
        await until(lambda: gateway.received)
        assert gateway.missed == []
        await stage.redis.flushdb()
        await until(lambda: gateway.missed)
        await stage.bus.publish([late := changed(2)])
        await until(lambda: gateway.received[-1] == late.message)
    assert len(gateway.missed) == 1, "once is enough"


@pytest.mark.usefixtures("looking")
async def test_after_a_loss_all_may_have_been_missed_once_more_when_nothing_is_in_hand_any_more(
    stage: Stage,
) -> None:
    async with Listener(stage, claim_idle_s=0.0).listening() as gateway:
        await stage.bus.publish([changed()])
        await until(lambda: gateway.received)
        await stage.redis.flushdb()
        await until(lambda: len(gateway.missed) == 2)
        await stage.bus.publish([late := changed(2)])
        await until(lambda: gateway.received[-1] == late.message)
    assert gateway.missed == [None, None]


async def test_a_refused_registration_is_repeated_and_its_notifications_may_be_missed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Listener(stage).listening() as gateway:
        await stage.redis.set(f"{LISTENERS}event:new", "this is no set")
        added = gateway.registry.add("event:new")
        assert added is not None
        with pytest.raises(ResponseError):
            await added
        await stage.redis.delete(f"{LISTENERS}event:new")
        assert gateway.missed == []
        monkeypatch.setattr(listener, "RENEW_SECONDS", 0)
        await until(lambda: gateway.missed)
        assert await stage.redis.sismember(f"{LISTENERS}event:new", "one")
    assert gateway.missed == [{"event:new"}]


@pytest.mark.usefixtures("looking")
async def test_an_inbox_created_again_by_a_clock_that_is_behind_is_read(stage: Stage) -> None:
    async with Listener(stage).listening() as gateway:
        before = changed()
        await stage.redis.xadd(inbox_stream("one"), fields_of(before), id="9999999999999-0")
        await until(lambda: gateway.received)
        await stage.redis.flushdb()
        await until(lambda: gateway.missed)
        assert gateway.missed[0] is None
        await stage.bus.publish([after := changed(2)])
        await until(lambda: len(gateway.received) == 2)
    assert gateway.received == [before.message, after.message]


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
    monkeypatch.setattr(listener, "ARRIVED_SECONDS", 0.0)  # reads of this test wait for 20 ms only
    async with Listener(own_stage).listening() as gateway:
        await own_redis.stop()
        await until(lambda: gateway.gate.reason is not None)
        await own_redis.start()
        await until(lambda: gateway.gate.reason is None)
        await own_stage.bus.publish([sent := changed()])
        await until(lambda: gateway.received)
    assert (gateway.received, gateway.missed) == ([sent.message], [])


async def test_a_restart_under_a_read_that_may_not_have_arrived_is_a_loss(
    own_stage: Stage, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "ARRIVED_SECONDS", 60.0)
    async with Listener(own_stage).listening() as gateway:
        await own_redis.stop()
        await until(lambda: gateway.gate.reason is not None)
        await own_redis.start()
        await until(lambda: gateway.gate.reason is None)
    assert gateway.missed == [None]


@pytest.mark.usefixtures("looking")
async def test_notifications_of_the_previous_release_are_received_while_it_publishes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They publish only to `notifications`."""

    async def as_before(version: int) -> Message:
        sent = changed(version)
        await stage.redis.xadd(NOTIFICATIONS, fields_of(sent))
        return sent.message

    await as_before(1)  # before it listens
    async with Listener(stage).listening() as gateway:
        await stage.bus.publish([new := changed(2)])
        old = await as_before(3)
        await until(lambda: old in gateway.received)
        await stage.bus.publish([changed(4)])
        another = await as_before(5)
        await until(lambda: another in gateway.received)
        assert new.message in gateway.received
        # When the key for them has expired, only the inbox is read.
        await stage.bus.publish([changed(6)])
        await stage.redis.delete("notifications:unrouted")
        await until(lambda: not gateway.listener._unrouted)
        await stage.bus.publish([last := changed(7)])
        await until(lambda: last.message in gateway.received)
    assert [each for each in gateway.received if each == last.message] == [last.message]
    assert gateway.missed == []


async def test_a_refused_notification_does_not_stop_the_acknowledgement(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> list[Envelope]:
        return [changed(), sync()._replace(stream="published")]

    await stage.redis.set(NOTIFICATIONS, "this is no stream")
    await stage.bus.publish([sync()])
    with capture_logs() as logs:
        async with stage.acting({SyncPayment: Recorder(act)}):
            await until(stage.idle)
            await until(lambda: [line for line in logs if line["event"] == "notifications not published"])
    assert len(await stage.entries("published")) == 1
    assert stage.count(SyncPayment, "done") == 1
