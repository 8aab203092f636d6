"""Those who come to a rush to harm it: they do not wait when told to, and ask for more than a person would."""

from __future__ import annotations

import asyncio
import base64
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Self

import orjson

from bench.clients import JSON
from bench.rush.wire import END_OF_HEAD, Reply, Wires, request
from bench.stage import Stage
from gateway.auth import GUEST

# What a broken connection, or a gateway that does not accept one, counts as.
BROKEN = 0
# How soon an attacker tries again whose connection broke, in seconds.
AGAIN_SECONDS = 1.0


class Kind(StrEnum):
    """`tokens`: many guests of one address, each as fast as it is answered. `loops`: guests at addresses of their
    own who book and cancel. `sockets`: WebSockets from one address. `greedy`: one guest who books many times at
    once."""

    TOKENS = "tokens"
    LOOPS = "loops"
    SOCKETS = "sockets"
    GREEDY = "greedy"


@dataclass(frozen=True)
class Attack:
    kind: Kind
    number: int

    @property
    def name(self) -> str:
        return f"{self.number:,} {self.kind}"

    @property
    def connections(self) -> int:
        return self.number


# As many as the limits are meant for.
USUAL = {
    Kind.TOKENS: Attack(Kind.TOKENS, 200),
    Kind.LOOPS: Attack(Kind.LOOPS, 3),
    Kind.SOCKETS: Attack(Kind.SOCKETS, 5000),
    Kind.GREEDY: Attack(Kind.GREEDY, 20),
}


class Attackers:
    """One attack, under way within the context; `statuses` counts the answers that it got."""

    def __init__(self, attack: Attack, stage: Stage, order: bytes) -> None:
        """`order`: the body of their POST /bookings."""
        self.attack = attack
        self.statuses: Counter[int] = Counter()
        self._stage = stage
        self._order = order
        self._wires = Wires(stage.gateway_url, attack.number)
        self._keys = count()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        actions: dict[Kind, Callable[[int], Awaitable[None]]] = {
            Kind.TOKENS: self._book,
            Kind.LOOPS: self._book_and_cancel,
            Kind.SOCKETS: self._open_socket,
            Kind.GREEDY: self._book,
        }
        self._tasks = [
            asyncio.create_task(self._again_and_again(actions[self.attack.kind], number))
            for number in range(self.attack.number)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._wires.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _again_and_again(self, action: Callable[[int], Awaitable[None]], number: int) -> None:
        while True:
            try:
                await action(number)
            except OSError:
                self.statuses[BROKEN] += 1
                await asyncio.sleep(AGAIN_SECONDS)

    def _token(self, number: int) -> str:
        one = self.attack.kind is Kind.GREEDY
        return self._stage.token(f"{GUEST}{self.attack.kind}-{0 if one else number}")

    def _address(self, number: int) -> str:
        here = list(Kind).index(self.attack.kind) + 1
        return f"127.250.{here}.{number + 1 if self.attack.kind is Kind.LOOPS else 1}"

    async def _send(self, number: int, path: str, body: bytes = b"") -> Reply:
        headers = {
            "Authorization": f"Bearer {self._token(number)}",
            "Idempotency-Key": f"{number}-{next(self._keys)}",
            "Prefer": "respond-async",
            **(JSON if body else {}),
        }
        data = request("POST", self._wires.host, path, headers, body)
        reply = await self._wires.send(data, self._address(number))
        self.statuses[reply.status] += 1
        return reply

    async def _book(self, number: int) -> None:
        await self._send(number, "/bookings", self._order)

    async def _book_and_cancel(self, number: int) -> None:
        reply = await self._send(number, "/bookings", self._order)
        if reply.status in (201, 202):
            await self._send(number, f"/bookings/{orjson.loads(reply.body)['id']}/cancel")

    async def _open_socket(self, number: int) -> None:
        """Hold a socket for as long as the gateway does."""
        host, port = self._wires.host.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(self._address(number), 0))
        try:
            headers = {
                "Authorization": f"Bearer {self._token(number)}",
                "Connection": "upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            }
            writer.write(request("GET", self._wires.host, "/ws", headers))
            head = await reader.readuntil(END_OF_HEAD)
            self.statuses[int(head[9:12])] += 1
            while head[9:12] == b"101" and await reader.read(4096):
                pass
        except asyncio.IncompleteReadError as broken:
            raise ConnectionError(str(broken)) from None
        finally:
            writer.close()
