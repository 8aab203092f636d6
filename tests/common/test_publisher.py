"""`publish` sends messages, `call` waits for the reply: what callers get when that works, and when it does not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from common.contracts.errors import Conflict, EventNotFound, HoldfastError, Timeout, Unavailable
from common.contracts.messages import (
    BOOKING_QUERIES,
    NOTIFICATIONS,
    PaymentReportApplied,
    PaymentReportsApplied,
    Reply,
    SyncPayment,
)
from common.contracts.resources import Booking
from common.messaging import publisher
from common.messaging.envelope import Delivery, Envelope, answer, decode, envelope_for
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.messaging.streams import Entry, inbox_stream
from common.runtime.outages import RedisOutage
from ops.redis import RedisServer
from tests.common.stage import STREAM, FakeRedis, Stage, sync, until, unwritable
from tests.common.test_listener import CHANGED, Listener, call, changed, question
from tests.common.test_urls import key_and_certificate


async def test_publish_returns_when_redis_has_it(stage: Stage) -> None:
    sent = sync()
    await stage.bus.publish([sent])
    assert await stage.read_all(STREAM) == [sent]


async def test_publishing_nothing_sends_no_command() -> None:
    await Publisher(cast(Redis, None), source="/x").publish([])


async def test_messages_keep_their_order(stage: Stage) -> None:
    sent = [sync() for _ in range(1200)]  # more than one pipeline takes
    await asyncio.gather(*(stage.bus.publish(sent[i : i + 100]) for i in range(0, 1200, 100)))
    assert await stage.read_all(STREAM) == sent


async def test_messages_published_during_a_send_are_sent_together() -> None:
    first = asyncio.Event()
    server = FakeRedis(lambda _: b"+1-1\r\n")
    async with server.serving() as url:
        client = connect(url)
        pipelines: list[int] = []
        bus = Publisher(client, source="/x")
        send = bus._connection.send

        async def counting(commands: Any) -> None:
            pipelines.append(len(commands))
            await first.wait()
            await send(commands)

        bus._connection.send = counting  # type: ignore[method-assign, assignment]
        alone = asyncio.create_task(bus.publish([sync()]))
        await until(lambda: pipelines)
        others = [asyncio.create_task(bus.publish([sync()])) for _ in range(20)]
        await asyncio.sleep(0)
        first.set()
        await asyncio.gather(alone, *others)
        await client.aclose()
    assert pipelines == [1, 20]


async def test_messages_are_sent_over_tls_also_after_the_server_has_closed(tmp_path: Path) -> None:
    tls, breaks = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), iter([False, True, False])
    (tmp_path / "server.pem").write_bytes(key_and_certificate())
    tls.load_cert_chain(tmp_path / "server.pem")
    server = FakeRedis(lambda _: None if next(breaks) else b"+1-1\r\n", tls)
    async with server.serving() as url:
        client = connect(f"{url}?ssl_cert_reqs=none")
        bus = Publisher(client, source="/x")
        await bus.publish([sync()])
        with pytest.raises(RedisOutage):
            await bus.publish([sync()])
        await bus.publish([sync()])
        await bus.close()
        await client.aclose()
    assert len(server.received) == 3


async def test_an_error_reaches_every_publisher() -> None:
    async with FakeRedis(lambda _: None).serving() as url:
        client = connect(url)
        bus = Publisher(client, source="/x")
        results = await asyncio.gather(*(bus.publish([sync()]) for _ in range(5)), return_exceptions=True)
        await client.aclose()
    assert [isinstance(result, RedisOutage) for result in results] == [True] * 5


async def test_after_an_error_publishing_goes_on(own_stage: Stage, own_redis: RedisServer) -> None:
    await own_redis.stop()
    with pytest.raises(RedisOutage):
        await own_stage.bus.publish([sync()])
    await own_redis.start()
    await own_stage.bus.publish([late := sync()])
    assert await own_stage.read_all(STREAM) == [late]


async def test_a_frozen_redis_delays_publishers_up_to_the_time_limit(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.messaging.connection.ANSWER_TIMEOUT_SECONDS", 0.2)
    client = connect(own_redis.url)
    bus = Publisher(client, source="/x")
    await bus.publish([sync()])
    own_redis.pause()
    try:
        with pytest.raises(RedisOutage):
            await bus.publish([sync()])
    finally:
        own_redis.resume()
    await bus.publish([sync()])
    await client.aclose()


async def test_a_publisher_of_an_unwritable_message_fails_alone(stage: Stage) -> None:
    bad = envelope_for(unwritable(), "x")
    good = sync()
    results = await asyncio.gather(stage.bus.publish([good]), stage.bus.publish([bad]), return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], TypeError)
    assert await stage.read_all(STREAM) == [good]


async def test_deferrable_messages_are_combined_into_one(stage: Stage) -> None:
    """Those of one class that were published meanwhile; a single one stays as it is, which every release knows."""
    applied = [PaymentReportApplied(booking_id=uuid4(), version=version) for version in range(3)]
    await asyncio.gather(*(stage.bus.publish([envelope_for(each, each.booking_id)]) for each in applied))
    assert await stage.read_all(STREAM) == []
    await stage.bus.flush()
    (sent,) = await stage.read_all(STREAM)
    assert sent.message == PaymentReportsApplied(reports=tuple(applied))
    assert sent.subject == str(applied[0].booking_id)
    await stage.redis.delete(STREAM)
    alone = envelope_for(applied[0], applied[0].booking_id)
    await stage.bus.publish([alone])
    await stage.bus.flush()
    assert await stage.read_all(STREAM) == [alone]


async def test_a_message_whose_publisher_was_cancelled_is_not_sent(stage: Stage) -> None:
    """A caller that got an error may send the message again."""
    begun, release = asyncio.Event(), asyncio.Event()
    send = stage.bus._connection.send

    async def slowly(commands: Any) -> None:
        begun.set()
        await release.wait()
        await send(commands)

    stage.bus._connection.send = slowly  # type: ignore[method-assign, assignment]
    first = sync()
    sending = asyncio.create_task(stage.bus.publish([first]))
    await begun.wait()
    with pytest.raises(Unavailable):
        await stage.calls.call(SyncPayment(booking_id=uuid4()), "x", timeout_s=0.01)
    release.set()
    await sending
    await until(lambda: stage.bus._flushing is not None and stage.bus._flushing.done())
    assert await stage.read_all(STREAM) == [first]


async def test_a_reply_reaches_its_caller(stage: Stage) -> None:
    async with Listener(stage).listening():
        calling = call(stage)
        sent = await question(stage)
        await stage.bus.publish(answer(sent, {"seats": 7}))
        assert await calling == {"seats": 7}


async def test_replies_reach_their_callers_in_any_order(stage: Stage) -> None:
    async with Listener(stage).listening():
        tasks = [call(stage), call(stage)]
        await until(lambda: _two(stage))
        sent = [decode(BOOKING_QUERIES, entry) for entry in await stage.entries(BOOKING_QUERIES)]
        for each in reversed(sent):
            await stage.bus.publish(answer(each, str(each.message.event_id)))
        assert await asyncio.gather(*tasks) == [str(each.message.event_id) for each in sent]


async def _two(stage: Stage) -> bool:
    return int(await stage.redis.xlen(BOOKING_QUERIES)) == 2


@pytest.mark.parametrize("error", [EventNotFound(), Conflict("not now", since="today")])
async def test_an_error_reaches_its_caller(stage: Stage, error: HoldfastError) -> None:
    async with Listener(stage).listening():
        calling = call(stage)
        await stage.bus.publish(answer(await question(stage), error))
        with pytest.raises(type(error)) as raised:
            await calling
    assert (raised.value.detail, raised.value.extra) == (error.detail, error.extra)


async def test_an_error_of_a_newer_peer_is_an_error(stage: Stage) -> None:
    async with Listener(stage).listening():
        calling = call(stage)
        sent = await question(stage)
        (reply,) = answer(sent, EventNotFound("a newer word"))
        newer = Reply(error="invented_later", detail="a newer word")
        await stage.bus.publish([Envelope(newer, reply.stream, "", "1", "", "", "", reply.correlationid)])
        with pytest.raises(HoldfastError, match="a newer word"):
            await calling


async def test_a_call_without_a_reply_in_time_times_out_and_a_late_reply_is_ignored(stage: Stage) -> None:
    async with Listener(stage).listening() as gateway:
        calling = call(stage, 0.5)  # by when it was sent: it is else not Timeout, but Unavailable
        sent = await question(stage)
        with pytest.raises(Timeout):
            await calling
        await stage.bus.publish(answer(sent, "late"))
        await stage.bus.publish([changed()])
        await until(lambda: gateway.received)
    assert stage.calls._pending == {}


async def test_a_call_that_cannot_be_sent_is_unavailable(
    own_stage: Stage, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await own_redis.stop()
    with pytest.raises(Unavailable):
        await call(own_stage)
    assert own_stage.calls._pending == {}


async def test_a_message_that_is_no_call_gets_no_reply(stage: Stage) -> None:
    assert tuple(answer(Delivery(Entry(b"1-1", {}), sync()), "anything")) == ()


@pytest.mark.parametrize(
    ("limit", "stream", "envelope"),
    [
        ("NOTIFICATIONS_MAXLEN", NOTIFICATIONS, changed),
        (
            "INBOX_MAXLEN",
            inbox_stream("gone"),
            lambda: Envelope(Reply(result=1), inbox_stream("gone"), "", "1", "", ""),
        ),
    ],
)
async def test_streams_of_hints_are_trimmed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, limit: str, stream: str, envelope: Callable[[], Envelope]
) -> None:
    monkeypatch.setattr(publisher, limit, 10)
    await stage.bus.publish([envelope() for _ in range(500)])
    # Redis trims whole nodes of a hundred entries.
    assert 10 <= int(await stage.redis.xlen(stream)) <= 110


async def test_mailboxes_are_never_trimmed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "NOTIFICATIONS_MAXLEN", 10)
    monkeypatch.setattr(publisher, "INBOX_MAXLEN", 10)
    await stage.bus.publish([sync() for _ in range(500)])
    assert await stage.left() == 500


async def test_replies_to_a_gateway_that_is_gone_expire(stage: Stage) -> None:
    gone = inbox_stream("gone")
    await stage.bus.publish([Envelope(Reply(result=1), gone, "", "1", "", ""), changed(), sync()])
    assert 0 < int(await stage.redis.ttl(gone)) <= publisher.INBOX_TTL_SECONDS
    assert [await stage.redis.ttl(stream) for stream in (NOTIFICATIONS, STREAM)] == [-1, -1]


def test_a_notification_has_the_whole_booking() -> None:
    assert isinstance(CHANGED.booking, Booking)
