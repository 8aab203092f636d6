"""`python -m bench.attacking`: the process of attackers, who do not wait when told to, and ask for more than a
person would."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from itertools import count

import orjson
import uvloop

from bench.clients import JSON
from bench.cpu import give_way
from bench.wire import END_OF_HEAD, Reply, Wires, request

# What a broken connection, or a gateway that does not accept one, counts as.
BROKEN = 0
# An attacker whose connection broke or was not accepted tries again within so many seconds: all together do so less
# often than a flood of connections would, against which a firewall helps, and no program.
AGAIN_SECONDS = 30.0
# Bytes of the line that says what to do: it has thousands of tokens.
LINE_MAX = 2**24


class Kind(StrEnum):
    """`tokens`: many guests of one address, each as fast as it is answered. `loops`: guests at addresses of their
    own who book and cancel. `sockets`: WebSockets from one address. `greedy`: one guest who books many times at
    once."""

    TOKENS = "tokens"
    LOOPS = "loops"
    SOCKETS = "sockets"
    GREEDY = "greedy"


class Attacking:
    """What the attackers' process does."""

    def __init__(self, kind: Kind, gateway: str, tokens: Sequence[str], order: str) -> None:
        self.statuses: Counter[int] = Counter()
        self._kind = kind
        self._tokens = tokens
        self._order = order.encode()
        self._wires = Wires(gateway, len(tokens))
        self._keys = count()

    async def until(self, ended: asyncio.Event) -> None:
        actions: dict[Kind, Callable[[int], Awaitable[None]]] = {
            Kind.TOKENS: self._book,
            Kind.LOOPS: self._book_and_cancel,
            Kind.SOCKETS: self._open_socket,
            Kind.GREEDY: self._book,
        }
        tasks = [
            asyncio.create_task(self._again_and_again(actions[self._kind], number))
            for number in range(len(self._tokens))
        ]
        await ended.wait()
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        self._wires.close()
        for error in found:
            if isinstance(error, Exception):
                raise error

    async def _again_and_again(self, action: Callable[[int], Awaitable[None]], number: int) -> None:
        while True:
            try:
                await action(number)
            except OSError:
                self.statuses[BROKEN] += 1
                await asyncio.sleep(random.uniform(0, AGAIN_SECONDS))

    def _address(self, number: int) -> str:
        here = list(Kind).index(self._kind) + 1
        return f"127.250.{here}.{number + 1 if self._kind is Kind.LOOPS else 1}"

    async def _send(self, number: int, path: str, body: bytes = b"") -> Reply:
        headers = {
            "Authorization": f"Bearer {self._tokens[number]}",
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
                "Authorization": f"Bearer {self._tokens[number]}",
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


async def main() -> None:
    """Reads the orders, a line of JSON, writes a line when it begins, and attacks until the input ends; then writes
    how many answers of each status there were."""
    give_way()  # attackers have machines of their own
    reader = asyncio.StreamReader(limit=LINE_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    orders = orjson.loads(await reader.readline())
    attacking = Attacking(Kind(orders.pop("kind")), **orders)
    ended = asyncio.Event()
    attack = asyncio.create_task(attacking.until(ended))
    print(flush=True)
    await reader.read()
    ended.set()
    await attack
    print(orjson.dumps({str(status): number for status, number in attacking.statuses.items()}).decode())


if __name__ == "__main__":
    uvloop.run(main())
