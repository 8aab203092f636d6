"""How many sockets one client may have open at one gateway."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError

from gateway.hub import HUB
from tests.common.stage import until
from tests.gateway.conftest import Gateway
from tests.gateway.stage import Client, bearer, token

Socket = ClientWebSocketResponse[Any]


async def refused(gateway: Client, headers: dict[str, str]) -> None:
    """By HTTP, before the upgrade."""
    with pytest.raises(WSServerHandshakeError) as refusal:
        await gateway.ws_connect("/ws", headers=headers)
    assert refusal.value.status == 429
    assert refusal.value.headers is not None
    assert int(refusal.value.headers["Retry-After"]) > 0


async def test_a_subject_has_a_few_sockets_with_a_token_in_the_header(start: Gateway) -> None:
    gateway = await start(ws_sockets_per_subject=2)
    sockets = [await gateway.ws_connect("/ws", headers=bearer()) for _ in range(2)]
    await refused(gateway, bearer())
    others = [
        await gateway.ws_connect("/ws", headers=bearer(who, operator=who == "op")) for who in ("bob", *["op"] * 3)
    ]
    await sockets[0].close()
    hub = gateway.app[HUB]
    await until(lambda: hub._subjects["alice"] == 1)
    sockets.append(await gateway.ws_connect("/ws", headers=bearer()))
    for socket in (*sockets[1:], *others):
        assert not socket.closed


async def test_one_socket_too_many_is_closed_when_its_token_comes_in_a_message(start: Gateway) -> None:
    gateway = await start(ws_sockets_per_subject=1)
    first = await gateway.ws_connect("/ws", headers=bearer())
    late = await gateway.ws_connect("/ws")
    await late.send_json({"type": "auth", "token": token()})
    message = await late.receive(timeout=10)
    assert (message.data, message.extra) == (4429, "The subject has too many sockets open: close another first")
    assert not first.closed
    await first.close()
    hub = gateway.app[HUB]
    await until(lambda: not hub._subjects)
    again = await gateway.ws_connect("/ws")
    await again.send_json({"type": "auth", "token": token()})
    await until(lambda: hub._subjects["alice"] == 1)


async def test_an_address_has_so_many_sockets_also_without_tokens(start: Gateway) -> None:
    gateway = await start(trusted_proxies=1, ws_sockets_per_address=2)
    here, there = {"X-Forwarded-For": "1.1.1.1"}, {"X-Forwarded-For": "2.2.2.2"}
    sockets = [await gateway.ws_connect("/ws", headers=here) for _ in range(2)]
    await refused(gateway, here | bearer("bob"))
    await gateway.ws_connect("/ws", headers=there)
    await sockets[0].close()
    hub = gateway.app[HUB]
    await until(lambda: hub._addresses["1.1.1.1"] == 1)
    await gateway.ws_connect("/ws", headers=here | bearer("bob"))


async def test_sockets_that_are_gone_leave_no_counts(start: Gateway) -> None:
    gateway = await start(ws_sockets_per_subject=5, ws_sockets_per_address=5)
    sockets = [await gateway.ws_connect("/ws", headers=bearer(who)) for who in ("alice", "bob")]
    hub = gateway.app[HUB]
    assert dict(hub._subjects) == {"alice": 1, "bob": 1}
    for socket in sockets:
        await socket.close()
    await until(lambda: not hub._addresses and not hub._subjects)
