"""`/ws`: which clients may listen, what they get and in which order, and how sockets end."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from common.contracts.errors import EventNotFound, NotFound, Unavailable
from common.contracts.messages import EventChanged, GetBooking, GetEvent
from common.messaging import redis
from common.runtime.outages import Outage
from gateway.auth import Authenticator
from gateway.hub import HUB, owner_topic
from gateway.websocket import CONTROL_MAX, Frame, framed
from tests.common.stage import until
from tests.gateway.conftest import Gateway
from tests.gateway.stage import (
    EVENT_ID,
    Client,
    ScriptedBooking,
    as_json,
    as_seen,
    bearer,
    booking,
    event,
    flush,
    operators_event,
    token,
)

Socket = ClientWebSocketResponse[Any]


async def connect(gateway: Client, subject: str = "alice", **kwargs: Any) -> Socket:
    return await gateway.ws_connect("/ws", headers=bearer(subject, **kwargs))


async def upgraded(gateway: Client, behind: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the client does nothing by itself; `behind` is sent right after the request."""
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    key = base64.b64encode(bytes(16)).decode()
    headers = {"Host": gateway.host, "Connection": "Upgrade", "Upgrade": "websocket", **bearer("alice")}
    headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    writer.write("\r\n".join(lines).encode() + behind)
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame: https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload


async def closed(socket: Socket) -> int | None:
    """Read to the end; returns the close code."""
    async with asyncio.timeout(10):
        async for _ in socket:
            pass
    return socket.close_code


async def received(socket: Socket) -> dict[str, Any]:
    message: dict[str, Any] = await socket.receive_json(timeout=10)
    return message


async def round_trip(socket: Socket, actor: ScriptedBooking) -> dict[str, Any]:
    """Subscribe and return the answer: all that was sent to the socket before has arrived with it."""
    probe = uuid4()
    actor.on(GetEvent, lambda message: as_json(event(message.event_id)))
    await socket.send_json({"type": "subscribe", "event_id": str(probe)})
    return await received(socket)


async def test_an_owner_gets_every_change(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway)
    first, second = booking(version=2), booking(version=1, payment="creating")
    await actor.change("alice", first, second)
    assert await received(socket) == {"type": "booking", "booking": as_seen(first)}
    assert await received(socket) == {"type": "booking", "booking": as_seen(second)}


async def test_the_token_may_come_in_the_first_message(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await gateway.ws_connect("/ws")
    await socket.send_json({"type": "auth", "token": token()})
    await round_trip(socket, actor)
    change = booking()
    await actor.change("alice", change)
    assert (await received(socket))["booking"]["id"] == str(change.id)


@pytest.mark.parametrize("error", [Unavailable(), Outage("the time is not known yet", reported=True)])
async def test_a_client_whose_token_cannot_be_checked_now_is_closed_with_1013(
    gateway: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The keys of tokens, or the time, are not known yet."""

    async def identify(*_: object) -> None:
        raise error

    monkeypatch.setattr(Authenticator, "identify", identify)
    socket = await gateway.ws_connect("/ws")
    await socket.send_json({"type": "auth", "token": token()})
    assert await closed(socket) == 1013


async def test_an_owner_gets_no_changes_of_anothers_bookings(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway)
    await actor.change("bob", booking())
    mine = booking()
    await actor.change("alice", mine)
    assert (await received(socket))["booking"]["id"] == str(mine.id)


async def test_notifications_go_only_to_gateways_whose_clients_listen(
    start: Gateway, actor: ScriptedBooking, redis_url: str
) -> None:
    """As long as any of them listens."""
    names = ["one", "two"]
    one, two = [await start(instance=name) for name in names]
    socket, other = await connect(one), await connect(two, "bob")

    async def came() -> list[int]:
        async with redis.connect(redis_url) as client:
            return [int(await client.xlen(f"inbox:{name}")) for name in names]

    await round_trip(socket, actor)
    await round_trip(other, actor)
    before = await came()
    await actor.change("alice", booking(version=1), booking(version=1))
    for _ in range(2):
        await received(socket)
    assert [after - count for after, count in zip(await came(), before, strict=True)] == [2, 0]
    await socket.close()

    async def let_go() -> bool:
        async with redis.connect(redis_url) as client:
            return not await client.exists("listeners:owner:alice")

    await until(let_go)


async def test_sockets_of_several_gateways_get_the_same(start: Gateway, actor: ScriptedBooking) -> None:
    sockets = [await connect(await start()) for _ in range(3)]
    change = booking()
    await actor.change("alice", change)
    for socket in sockets:
        assert await received(socket) == {"type": "booking", "booking": as_seen(change)}


async def test_a_status_never_goes_backwards(gateway: Client, actor: ScriptedBooking) -> None:
    """Repeated and outdated notifications are dropped; those of another booking are not."""
    socket = await connect(gateway)
    id, other = uuid4(), booking(version=1)
    versions = [1, 3, 3, 2, 1, 4]
    await actor.change("alice", *(booking(id, version=version) for version in versions), other)
    got = [(await received(socket))["booking"] for _ in range(4)]
    assert [one["version"] for one in got if one["id"] == str(id)] == [1, 3, 4]
    assert got[-1]["id"] == str(other.id)


async def test_a_snapshot_overtaken_by_a_change_is_read_again(gateway: Client, actor: ScriptedBooking) -> None:
    """The client's snapshot is never older than a change that it already got."""
    socket = await connect(gateway)
    id = uuid4()
    await actor.change("alice", booking(id, version=5))
    assert (await received(socket))["booking"]["version"] == 5
    answers = iter([3, 4, 6])
    actor.on(GetBooking, lambda _: as_json(booking(id, version=next(answers))))
    await socket.send_json({"type": "subscribe", "booking_id": str(id)})
    assert await received(socket) == {"type": "snapshot", "booking": as_seen(booking(id, version=6))}
    await actor.change("alice", booking(id, version=6), booking(id, version=7))
    assert (await received(socket))["booking"]["version"] == 7


async def test_a_snapshot_brings_a_reconnecting_client_up_to_date(gateway: Client, actor: ScriptedBooking) -> None:
    id = uuid4()
    first = await connect(gateway)
    await actor.change("alice", booking(id, version=2))
    await received(first)
    await first.close()
    await actor.change("alice", booking(id, version=3, status="confirmed", payment="paid"))
    actor.on(GetBooking, as_json(booking(id, version=3, status="confirmed", payment="paid")))
    second = await connect(gateway)
    await second.send_json({"type": "subscribe", "booking_id": str(id)})
    # The gateway may have got the change itself only after the client was back.
    while (snapshot := await received(second))["type"] != "snapshot":
        pass
    assert snapshot["booking"]["status"] == "confirmed"
    (query,) = actor.messages(GetBooking)
    assert (query.booking_id, query.owner) == (id, "alice")


async def test_anothers_booking_cannot_be_subscribed_to(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway)
    id = uuid4()
    actor.on(GetBooking, lambda message: NotFound() if message.owner == "alice" else as_json(booking(id)))
    await socket.send_json({"type": "subscribe", "booking_id": str(id)})
    error = await received(socket)
    assert (error["type"], error["code"], error["booking_id"]) == ("error", "not_found", str(id))
    await actor.change("bob", booking(id, version=9))
    mine = booking()
    await actor.change("alice", mine)
    assert (await received(socket))["booking"]["id"] == str(mine.id)


async def test_an_operator_subscribes_to_any_booking_without_its_secret(
    gateway: Client, actor: ScriptedBooking
) -> None:
    owner, operator = await connect(gateway), await connect(gateway, "root", operator=True)
    id = uuid4()
    actor.on(GetBooking, as_json(booking(id, version=1)))
    await operator.send_json({"type": "subscribe", "booking_id": str(id)})
    snapshot = await received(operator)
    assert snapshot["booking"]["payment"]["client_secret"] is None
    assert [query.owner for query in actor.messages(GetBooking)] == [None]
    change = booking(id, version=2)
    await actor.change("alice", change)
    seen = await received(operator)
    assert seen["booking"].pop("payment") == as_json(change)["payment"] | {"client_secret": None}
    assert (await received(owner))["booking"]["payment"]["client_secret"] == "pi_123_secret_456"


async def test_a_client_can_subscribe_to_an_events_seats(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway)
    actor.on(GetEvent, as_json(event(available=10)))
    await socket.send_json({"type": "subscribe", "event_id": str(EVENT_ID)})
    assert await received(socket) == {"type": "snapshot", "event": as_json(event(available=10))}
    await actor.notify(EventChanged(event=event(version=2, available=8)), EventChanged(event=event(version=1)))
    await actor.notify(EventChanged(event=event(version=2, available=7)))
    left = [(await received(socket))["event"]["ticket_types"][0]["available"] for _ in range(2)]
    assert left == [8, 7]


async def test_operators_get_the_progress_of_an_events_cancellation(
    gateway: Client, actor: ScriptedBooking
) -> None:
    """Customers get the event when it changes; operators get each newer version, even if the seats stay as they
    are."""
    customer, operator = await connect(gateway), await connect(gateway, "root", operator=True)
    actor.on(
        GetEvent,
        lambda message: as_json(operators_event(version=7, cancelled=0) if message.operator else event(version=3)),
    )
    for socket in (customer, operator):
        await socket.send_json({"type": "subscribe", "event_id": str(EVENT_ID)})
    assert await received(customer) == {"type": "snapshot", "event": as_json(event(version=3))}
    assert await received(operator) == {
        "type": "snapshot",
        "event": as_json(operators_event(version=7, cancelled=0)),
    }
    snapshots = [operators_event(version=9, cancelled=60), operators_event(version=8, cancelled=30)]
    snapshots.append(operators_event(version=12, cancelled=100))
    await actor.notify(*(EventChanged(event=event(version=3), operators=snapshot) for snapshot in snapshots))
    for snapshot in (snapshots[0], snapshots[2]):
        assert await received(operator) == {"type": "event", "event": as_json(snapshot)}
    for _ in snapshots:
        assert await received(customer) == {"type": "event", "event": as_json(event(version=3))}


async def test_operators_get_events_from_older_booking_processes(gateway: Client, actor: ScriptedBooking) -> None:
    operator = await connect(gateway, "root", operator=True)
    actor.on(GetEvent, as_json(operators_event()))
    await operator.send_json({"type": "subscribe", "event_id": str(EVENT_ID)})
    await received(operator)
    await actor.notify(EventChanged(event=event(version=2)))
    assert await received(operator) == {"type": "event", "event": as_json(event(version=2))}
    await operator.send_json({"type": "unsubscribe", "event_id": str(EVENT_ID)})
    await round_trip(operator, actor)
    await actor.notify(EventChanged(event=event(version=3)))
    mine = booking()
    await actor.change("root", mine)
    assert (await received(operator))["type"] == "booking"


async def test_after_unsubscribing_a_client_gets_no_more_of_the_event(
    gateway: Client, actor: ScriptedBooking
) -> None:
    socket = await connect(gateway)
    actor.on(GetEvent, as_json(event()))
    await socket.send_json({"type": "subscribe", "event_id": str(EVENT_ID)})
    await received(socket)
    await socket.send_json({"type": "unsubscribe", "event_id": str(EVENT_ID)})
    await round_trip(socket, actor)
    await actor.notify(EventChanged(event=event(version=2)))
    mine = booking()
    await actor.change("alice", mine)
    assert (await received(socket))["type"] == "booking"


WRONG = [
    "not json",
    "[]",
    "{}",
    '{"type": "dance"}',
    '{"type": "subscribe"}',
    '{"type": "subscribe", "booking_id": 5}',
    '{"type": "subscribe", "booking_id": "x"}',
    f'{{"type": "subscribe", "booking_id": "{EVENT_ID}", "event_id": "{EVENT_ID}"}}',
    f'{{"type": "subscribe", "event_id": "{EVENT_ID}", "more": 1}}',
]


@pytest.mark.parametrize("text", WRONG)
async def test_an_invalid_message_is_answered_with_an_error_and_the_socket_stays(
    gateway: Client, actor: ScriptedBooking, text: str
) -> None:
    socket = await connect(gateway)
    await socket.send_str(text)
    error = await received(socket)
    assert (error["type"], error["code"]) == ("error", "invalid_request")
    assert (await round_trip(socket, actor))["type"] == "snapshot"


async def test_an_unknown_event_is_an_error_and_uses_no_subscription(
    start: Gateway, actor: ScriptedBooking
) -> None:
    gateway = await start(ws_subscriptions_max=1)
    socket = await connect(gateway)
    actor.on(GetEvent, EventNotFound())
    for _ in range(2):
        await socket.send_json({"type": "subscribe", "event_id": str(uuid4())})
        assert (await received(socket))["code"] == "event_not_found"
    assert (await round_trip(socket, actor))["type"] == "snapshot"
    assert (await round_trip(socket, actor))["code"] == "invalid_request"


# --- how sockets end --------------------------------------------------------------------------------------


async def test_a_wrong_token_in_the_header_opens_no_socket(gateway: Client) -> None:
    response = await gateway.get("/ws", headers={"Authorization": "Bearer nonsense"})
    assert (response.status, (await response.json())["code"]) == (401, "unauthorized")


async def test_a_plain_request_opens_no_socket(gateway: Client) -> None:
    response = await gateway.get("/ws", headers=bearer())
    assert (response.status, (await response.json())["code"]) == (400, "malformed_request")


async def test_without_a_token_in_time_the_socket_is_closed(start: Gateway) -> None:
    socket = await (await start(ws_auth_seconds=0.05)).ws_connect("/ws")
    assert await closed(socket) == 4401


@pytest.mark.parametrize(
    "first",
    [
        '{"type": "auth", "token": "nonsense"}',
        f'{{"type": "auth", "token": "{token(exp=1)}"}}',
        '{"type": "auth"}',
        f'{{"type": "subscribe", "event_id": "{EVENT_ID}"}}',
        "x",
    ],
)
async def test_a_first_message_without_a_valid_token_closes(gateway: Client, first: str) -> None:
    socket = await gateway.ws_connect("/ws")
    await socket.send_str(first)
    assert await closed(socket) == 4401


async def test_a_token_that_expires_closes_the_socket(gateway: Client) -> None:
    socket = await connect(gateway, exp=time.time() + 0.4)
    assert await closed(socket) == 4401


async def test_a_token_can_be_renewed_for_the_same_subject_only(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway, exp=time.time() + 0.4)
    await socket.send_json({"type": "auth", "token": token("bob")})
    assert (await received(socket))["code"] == "forbidden"
    await socket.send_json({"type": "auth", "token": token("alice", scope="holdfast:read")})
    assert (await received(socket))["code"] == "forbidden"
    await socket.send_json({"type": "auth", "token": "nonsense"})
    assert (await received(socket))["code"] == "unauthorized"
    await socket.send_json({"type": "auth", "token": token("alice", exp=int(time.time()) + 3600)})
    assert (await round_trip(socket, actor))["type"] == "snapshot"
    other = await connect(gateway, exp=time.time() + 0.4)
    assert await closed(other) == 4401  # by then the first token has expired too
    assert (await round_trip(socket, actor))["type"] == "snapshot"


async def test_a_binary_message_closes_with_1003(gateway: Client) -> None:
    socket = await connect(gateway)
    await socket.send_bytes(b"{}")
    assert await closed(socket) == 1003


async def test_a_message_that_is_too_long_closes_with_1009(gateway: Client) -> None:
    socket = await connect(gateway)
    await socket.send_str("x" * 20_000)
    assert await closed(socket) == 1009


async def test_nothing_but_wrong_messages_closes_with_1008(gateway: Client) -> None:
    socket = await connect(gateway)
    for _ in range(21):
        await socket.send_str("x")
    assert await closed(socket) == 1008


@pytest.mark.parametrize("kind", [WSMsgType.PING, WSMsgType.PONG])
async def test_a_flood_of_pings_closes_with_1008(gateway: Client, kind: WSMsgType) -> None:
    """They are no messages, so that no rate limit counts them."""
    socket = await connect(gateway)
    for _ in range(4 * CONTROL_MAX):
        await (socket.ping() if kind is WSMsgType.PING else socket.pong())
    assert await closed(socket) == 1008


async def test_a_client_that_does_not_keep_up_is_closed_with_1013(gateway: Client) -> None:
    """It can read what was written before, and the reason; others are not delayed."""
    slow = await connect(gateway)
    hub = gateway.app[HUB]
    frame = framed(b'"' + b"x" * 60_000 + b'"')
    version = 0
    while hub.has(owner_topic("alice")):
        version += 1
        assert version < 2000, "never closed"
        hub.broadcast(owner_topic("alice"), Frame(frame, "booking:k", version))
        await asyncio.sleep(0)
    received = 0
    async with asyncio.timeout(10):
        while (await slow.receive()).type is WSMsgType.TEXT:
            received += 1
    assert slow.close_code == 1013
    assert 0 < received < version


async def test_sockets_are_closed_with_1013_when_changes_may_have_been_lost(
    gateway: Client, actor: ScriptedBooking, redis_url: str
) -> None:
    """What was published before Redis lost its data is in no stream: only a snapshot has it."""
    sockets = [await connect(gateway) for _ in range(3)]
    await flush(redis_url)
    assert await asyncio.gather(*(closed(socket) for socket in sockets)) == [1013, 1013, 1013]
    again = await connect(gateway)
    assert (await round_trip(again, actor))["type"] == "snapshot"


async def test_messages_of_a_client_that_is_being_closed_are_still_read(gateway: Client) -> None:
    """If it met a closed connection, TCP would reset that, and the client could lose the close reason."""
    reader, writer = await upgraded(gateway)
    async with asyncio.timeout(10):
        gateway.app[HUB].renew()
        opcode, size, code = struct.unpack("!BBH", await reader.readexactly(4))
        assert (opcode, code) == (0x88, 1013)
        await reader.readexactly(size - 2)
        writer.write(masked(WSMsgType.PING, b""))
        assert await reader.readexactly(2) == b"\x8a\x00"  # the pong
        assert await reader.read() == b""  # no answer to the close frame: cut in the end
    writer.close()


async def test_frames_sent_right_after_the_upgrade_request_are_read(gateway: Client) -> None:
    ping, text = masked(WSMsgType.PING, b"here"), masked(WSMsgType.TEXT, b"x")
    reader, writer = await upgraded(gateway, behind=ping + text)
    async with asyncio.timeout(10):
        assert await reader.readexactly(6) == b"\x8a\x04here"
        assert b'"invalid_request"' in await reader.readuntil(b"}")
    writer.close()


async def test_a_silent_client_stays_as_long_as_it_answers_pings(start: Gateway) -> None:
    gateway = await start(ws_ping_seconds=0.5)
    reader, writer = await upgraded(gateway)
    async with asyncio.timeout(10):
        for _ in range(3):
            assert await reader.readexactly(2) == b"\x89\x00"
            writer.write(masked(WSMsgType.PONG, b""))
        assert await reader.readexactly(2) == b"\x89\x00"
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):  # no pong: the connection is cut
            await reader.readexactly(1)
    writer.close()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x83\x80" + bytes(4), 1002),  # an unknown opcode
        (b"\xc1\x80" + bytes(4), 1002),  # a reserved bit
        (b"\x09\x80" + bytes(4), 1002),  # a fragmented ping
        (masked(0, b"more"), 1002),  # a continuation of nothing
        (masked(WSMsgType.TEXT, b"\xff"), 1007),
        (b"\x81\xff" + (2**40).to_bytes(8, "big") + bytes(4), 1009),
    ],
)
async def test_frames_that_break_the_protocol_close_the_socket_with_a_code(
    gateway: Client, frame: bytes, code: int
) -> None:
    reader, writer = await upgraded(gateway, behind=frame)
    async with asyncio.timeout(10):
        assert struct.unpack("!BBH", await reader.readexactly(4))[::2] == (0x88, code)
        await reader.read()
    writer.close()
    assert not gateway.app[HUB].has(owner_topic("alice"))


async def test_a_gateway_that_stops_does_not_wait_for_a_silent_client(start: Gateway) -> None:
    gateway = await start()
    reader, writer = await upgraded(gateway)
    async with asyncio.timeout(10):
        await gateway.server.close()
        assert struct.unpack("!BBH", await reader.readexactly(4))[::2] == (0x88, 1001)
        with suppress(ConnectionResetError):
            await reader.read()
    writer.close()


async def test_a_gateway_that_stops_sends_its_clients_elsewhere(start: Gateway, actor: ScriptedBooking) -> None:
    gateway, other = await start(), await start()
    sockets = [await connect(gateway) for _ in range(3)]
    ends = [asyncio.create_task(closed(socket)) for socket in sockets]
    await gateway.server.close()
    assert [await end for end in ends] == [1001, 1001, 1001]
    again = await connect(other)
    assert (await round_trip(again, actor))["type"] == "snapshot"


async def test_a_client_that_disconnects_is_unsubscribed(gateway: Client) -> None:
    hub = gateway.app[HUB]
    socket = await connect(gateway)
    assert hub.has(owner_topic("alice"))
    await socket.close()
    await gateway.get("/health/live")
    assert not hub.has(owner_topic("alice"))


def test_frames_follow_the_rfc() -> None:
    """RFC 6455, section 5.2: the length has 7, 16 or 64 bits."""
    assert framed(b"Hello") == b"\x81\x05Hello"
    assert framed(b"x" * 126)[:4] == b"\x81\x7e\x00\x7e"
    assert framed(b"x" * 65_536)[:10] == b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"
