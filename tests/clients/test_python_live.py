"""The Python client's socket against a played gateway: resumed by snapshots, each close code as documented."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType

from holdfast_client import ConnectionState, Holdfast, HoldfastError, Watch, is_decided, is_payable
from tests.clients.stage import EVENT, LOST, Answer, Clock, Gateway, Peer, booking, guest, problem

Make = Callable[..., Awaitable[Holdfast]]
HOUR = 3600.0


class Watching:
    """A client that watches booking "b", with its first socket open and the first snapshot there."""

    def __init__(self, holdfast: Holdfast, changes: Watch[Any], peer: Peer, states: list[ConnectionState]) -> None:
        self.holdfast = holdfast
        self.changes = changes
        self.peer = peer
        self.states = states

    async def version(self) -> int:
        """The version of the next state."""
        found: int = (await anext(self.changes))["version"]
        return found

    async def error(self) -> HoldfastError:
        with pytest.raises(HoldfastError) as raised:
            await anext(self.changes)
        return raised.value


@asynccontextmanager
async def watching(gateway: Gateway, client: Make, **options: Any) -> AsyncIterator[Watching]:
    states: list[ConnectionState] = []
    holdfast = await client(on_connection=states.append, **({"token": "own"} | options))
    async with holdfast.watch("b") as changes:
        peer = await gateway.peer()
        assert await peer.subscribed() == "b"
        await peer.snapshot("b", 3)
        assert (await anext(changes))["version"] == 3
        yield Watching(holdfast, changes, peer, states)
        gateway.end()


async def next_peer(gateway: Gateway) -> Peer:
    peer = await gateway.peer()
    assert await peer.subscribed() == "b"
    return peer


async def test_the_token_is_in_the_header_and_the_state_is_reported(gateway: Gateway, client: Make) -> None:
    async with watching(gateway, client) as watched:
        assert watched.peer.seen.token == "own"
        assert watched.states == [ConnectionState(open=True)]


async def test_a_booking_that_is_no_newer_is_dropped(gateway: Gateway, client: Make) -> None:
    async with watching(gateway, client) as watched:
        for version in (3, 2):
            await watched.peer.change("b", version)
        await watched.peer.snapshot("b", 2)
        await watched.peer.change("b", 4)
        assert await watched.version() == 4


async def test_two_states_of_an_event_may_have_one_version(gateway: Gateway, client: Make) -> None:
    holdfast = await client(token="own")
    async with holdfast.watch_event(EVENT) as changes:
        peer = await gateway.peer()
        assert await peer.subscribed() == EVENT
        for name, version, available in (("snapshot", 9, 5), ("event", 9, 4), ("event", 8, 7), ("event", 9, 3)):
            event = {"id": EVENT, "version": version, "ticket_types": [{"available": available}]}
            await peer.say({"type": name, "event": event})
            if version == 9:
                assert (await anext(changes))["ticket_types"][0]["available"] == available
        gateway.end()


async def test_an_entry_in_a_waiting_list_is_watched_like_a_booking(gateway: Gateway, client: Make) -> None:
    holdfast = await client(token="own")
    async with holdfast.watch_waiting_entry("w") as changes:
        peer = await gateway.peer()
        assert await peer.subscribed() == "w"
        for name, version, status in (
            ("snapshot", 1, "waiting"),
            ("waiting_entry", 1, "left"),
            ("waiting_entry", 2, "offered"),
        ):
            await peer.say({"type": name, "waiting_entry": {"id": "w", "version": version, "status": status}})
        while (now := await anext(changes))["version"] == 1:
            assert now["status"] == "waiting"
        assert now["status"] == "offered"
        await peer.say({"type": "error", "code": "not_found", "detail": "Not found", "waiting_entry_id": "w"})
        with pytest.raises(HoldfastError, match="Not found"):
            await anext(changes)
        gateway.end()


async def test_after_a_reconnect_the_snapshot_replaces_what_is_known(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    async with watching(gateway, client) as watched:
        await watched.peer.change("b", 8)
        assert await watched.version() == 8
        await watched.peer.end(1013)
        await clock.wake(0.25)
        peer = await next_peer(gateway)
        await peer.change("b", 2)  # no newer than what is known
        await peer.snapshot("b", 2, status="confirmed")
        assert (await anext(watched.changes))["status"] == "confirmed"
        await peer.snapshot("b", 1)
        await peer.change("b", 2)
        await peer.change("b", 3)
        assert await watched.version() == 3
        assert [state.open for state in watched.states] == [True, False, True]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4999])
async def test_it_connects_again_after_pauses_that_grow(
    gateway: Gateway, client: Make, clock: Clock, code: int
) -> None:
    async with watching(gateway, client) as watched:
        peer = watched.peer
        for pause in (0.25, 0.5, 1.0):
            await peer.end(code)
            await clock.wake(pause)
            peer = await next_peer(gateway)
        await peer.snapshot("b", 4)
        assert await watched.version() == 4
        await peer.end(code)  # it was good again: the pauses begin anew
        await clock.sleeping(0.25)
        assert {state.code for state in watched.states} == {None, code}


async def test_a_connection_that_breaks_and_upgrades_that_fail_are_tried_again(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    async with watching(gateway, client) as watched:
        # aiohttp itself sends the first one twice.
        gateway.refused = [LOST, LOST, problem(503, "unavailable", 7), Answer(b"", 520)]
        transport = watched.peer.seen.transport
        assert transport is not None
        transport.abort()
        for pause in (0.25, 0.5, 8.0, 2.0):
            await clock.wake(pause)
        await (await next_peer(gateway)).snapshot("b", 4)
        assert await watched.version() == 4
        assert watched.states[1].code == 1006


async def test_with_too_many_sockets_open_it_comes_back_later(gateway: Gateway, client: Make, clock: Clock) -> None:
    async with watching(gateway, client) as watched:
        gateway.refused = [problem(429, "too_many_requests", 20)]
        await watched.peer.end(4429)
        await clock.wake(10.25)
        await clock.wake(20.5)
        await (await next_peer(gateway)).snapshot("b", 4)
        assert await watched.version() == 4


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009])
async def test_a_wrong_client_gets_the_error(gateway: Gateway, client: Make, code: int) -> None:
    async with watching(gateway, client) as watched:
        await watched.peer.end(code)
        assert (await watched.error()).code == "refused"


# --- tokens


@pytest.mark.parametrize("refusal", ["closed", "upgrade"])
async def test_another_token_is_used_at_once(gateway: Gateway, client: Make, clock: Clock, refusal: str) -> None:
    gateway.answers = [Answer(guest(clock)), Answer(guest(clock, "token-2"))]
    holdfast = await client()
    await holdfast.guest()
    if refusal == "upgrade":
        gateway.refused = [problem(401, "unauthorized")]
    async with holdfast.watch("b") as changes:
        if refusal == "closed":
            await (await next_peer(gateway)).end(4401)
        peer = await next_peer(gateway)
        assert peer.seen.token == "token-2"
        await peer.snapshot("b", 1)
        assert (await anext(changes))["version"] == 1
        gateway.end()


async def test_without_another_token_the_watching_ends(gateway: Gateway, client: Make, clock: Clock) -> None:
    async with watching(gateway, client) as watched:
        await watched.peer.end(4401)
        error = await watched.error()
        assert (error.code, error.status) == ("unauthorized", 401)
    gateway.answers = [Answer(guest(clock)), problem(401, "unauthorized")]
    holdfast = await client()
    await holdfast.guest()
    gateway.refused = [problem(401, "unauthorized")]
    async with holdfast.watch("b") as changes:
        with pytest.raises(HoldfastError, match="no valid token"):
            await anext(changes)


async def test_a_new_token_that_is_refused_too_ends_the_watching(gateway: Gateway, client: Make) -> None:
    given: list[str] = []

    async def token() -> str:
        given.append("one more")
        return f"given-{len(given)}"

    async with watching(gateway, client, token=token) as watched:
        gateway.refused = [problem(401, "unauthorized")]
        await watched.peer.end(4401)
        assert (await watched.error()).code == "unauthorized"
        assert gateway.requests[-1].token == "given-2"


async def test_an_open_socket_is_sent_the_new_token(gateway: Gateway, client: Make, clock: Clock) -> None:
    gateway.answers = [Answer(guest(clock))]
    holdfast = await client()
    await holdfast.guest()
    async with holdfast.watch("b"):
        peer = await next_peer(gateway)
        await clock.sleeping(60.0)
        gateway.answers = [Answer(guest(clock, "token-2"))]
        clock.advance(13 * HOUR)
        assert await peer.receive() == {"type": "auth", "token": "token-2"}
        gateway.end()


async def test_what_the_function_for_tokens_raises_reaches_those_who_watch(client: Make) -> None:
    async def token() -> str:
        raise LookupError("signed out")

    holdfast = await client(token=token)
    async with holdfast.watch("b") as changes:
        with pytest.raises(LookupError, match="signed out"):
            await anext(changes)


# --- refused messages, waiting, and the end


async def test_a_booking_that_there_is_not_ends_its_watching_alone(gateway: Gateway, client: Make) -> None:
    async with watching(gateway, client) as watched, watched.holdfast.watch("c") as other:
        assert await watched.peer.subscribed() == "c"
        await watched.peer.say({"type": "error", "code": "not_found", "detail": "Not found", "booking_id": "c"})
        with pytest.raises(HoldfastError, match="Not found"):
            await anext(other)
        await watched.peer.change("b", 4)
        assert await watched.version() == 4


@pytest.mark.parametrize("about", [{"booking_id": "c"}, {}], ids=["named", "unnamed"])
async def test_a_subscription_that_is_refused_for_now_is_sent_again(
    gateway: Gateway, client: Make, clock: Clock, about: Any
) -> None:
    async with watching(gateway, client) as watched, watched.holdfast.watch("c") as other:
        assert await watched.peer.subscribed() == "c"
        error = {"type": "error", "code": "too_many_requests", "detail": "Wait", "retry_after": 2}
        await watched.peer.say(error | about)
        await clock.wake(2.25)
        assert await watched.peer.subscribed() == "c"  # "b" was answered
        await watched.peer.snapshot("c", 1)
        assert (await anext(other))["version"] == 1


async def test_what_the_client_does_not_know_is_ignored(gateway: Gateway, client: Make) -> None:
    async with watching(gateway, client) as watched:
        await watched.peer.socket.send_str("no JSON")
        await watched.peer.say({"type": "of_a_later_release"}, {"type": "booking"}, {"type": "error", "code": "x"})
        await watched.peer.change("unknown", 9)
        await watched.peer.change("b", 4, more=1)
        assert await watched.version() == 4


async def test_the_queue_position_is_part_of_the_booking(gateway: Gateway, client: Make) -> None:
    async with watching(gateway, client) as watched:
        for position in (41, 7):
            await watched.peer.say({"type": "queue", "booking_id": "b", "queue_position": position})
            now = await anext(watched.changes)
            assert (now["version"], now["payment"]["queue_position"]) == (3, position)


async def test_waiting_ends_with_the_first_state_that_is_wanted(gateway: Gateway, client: Make) -> None:
    async with watching(gateway, client) as watched:
        waiting = asyncio.create_task(watched.holdfast.wait_until("b", is_decided))
        await watched.peer.change("b", 4)
        assert await watched.version() == 4
        await watched.peer.change("b", 5, status="confirmed")
        assert (await waiting)["version"] == 5
        here: Any = booking("x", 1)
        assert (await watched.holdfast.wait_until(here, is_payable))["id"] == "x"


async def test_after_the_last_watcher_the_socket_is_closed_some_seconds_later(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    holdfast = await client(token="own")
    async with holdfast.watch("b"):
        peer = await next_peer(gateway)
    assert await peer.receive() == {"type": "unsubscribe", "booking_id": "b"}
    await clock.sleeping(5.0)
    async with holdfast.watch("b"):  # within these seconds it is the same socket
        assert await peer.subscribed() == "b"
    assert await peer.receive() == {"type": "unsubscribe", "booking_id": "b"}
    await clock.wake(5.0)
    assert (await peer.socket.receive()).type is WSMsgType.CLOSE
    gateway.end()


async def test_closing_the_client_ends_all_loops(gateway: Gateway, client: Make) -> None:
    async with watching(gateway, client) as watched:
        waiting = asyncio.create_task(watched.holdfast.wait_until("b", is_decided))
        closed = asyncio.create_task(watched.peer.socket.receive())
        await watched.holdfast.__aexit__(None, None, None)
        assert (await closed).type is WSMsgType.CLOSE
        assert [state async for state in watched.changes] == []
        with pytest.raises(HoldfastError, match="closed"):
            await waiting
        gateway.end()
