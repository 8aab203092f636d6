"""`python -m bench.attacking`: the process of attackers, who do not wait when told to, and ask for more than a
person would. It imports little and waits for all connections in one place, as real attackers have machines of their
own: their CPU is not what an attack costs."""

from __future__ import annotations

import base64
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from socket import socket

from bench.cpu import give_way
from bench.wire import END_OF_HEAD, LENGTH, request

# What a broken connection, or a gateway that does not accept one, counts as.
BROKEN = 0
# An attacker whose connection broke or was not accepted tries again within so many seconds: all together do so less
# often than a flood of connections would, against which a firewall helps, and no program.
AGAIN_SECONDS = 30.0

# Yields a request, gets the status and the body of its answer, yields the next one.
Asking = Generator[bytes, tuple[int, bytes], None]


class Kind(StrEnum):
    """`tokens`: many guests of one address, each as fast as it is answered. `loops`: guests at addresses of their
    own who book and cancel. `sockets`: WebSockets from one address. `greedy`: one guest who books many times at
    once."""

    TOKENS = "tokens"
    LOOPS = "loops"
    SOCKETS = "sockets"
    GREEDY = "greedy"


class Attacker:
    """One of them with a connection. `request` is what it sends next, `received` what has come of the answer;
    `holds`: the connection is a WebSocket by now."""

    __slots__ = ("asking", "connection", "holds", "number", "received", "request")

    def __init__(self, number: int, asking: Asking) -> None:
        self.number = number
        self.asking = asking
        self.request = next(asking)
        self.received = b""
        self.holds = False
        self.connection = socket()
        self.connection.setblocking(False)


class Attacking:
    """What the attackers' process does."""

    def __init__(self, kind: Kind, gateway: str, tokens: Sequence[str], order: str) -> None:
        self.statuses: Counter[int] = Counter()
        self._kind = kind
        self._host = gateway.removeprefix("http://")
        host, port = self._host.split(":")
        self._gateway = (host, int(port))
        self._tokens = tokens
        self._order = order
        self._keys = count()
        self._ready = DefaultSelector()
        # Those who try again later: when, and who.
        self._later: list[tuple[float, int]] = []

    def until(self, ended: int) -> None:
        """Attack until there is something to read from the file `ended`."""
        self._ready.register(ended, EVENT_READ)
        for number in range(len(self._tokens)):
            self._connect(number)
        while True:
            seconds = self._later[0][0] - time.monotonic() if self._later else None
            for key, _ in self._ready.select(seconds and max(seconds, 0)):
                if key.data is None:
                    return
                self._go_on(key.data)
            while self._later and self._later[0][0] <= time.monotonic():
                self._connect(heappop(self._later)[1])

    # --- what they ask for --------------------------------------------------------------------------------

    def _asking(self, number: int) -> Asking:
        if self._kind is Kind.SOCKETS:
            upgrade = {
                "Connection": "upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            }
            while True:
                yield self._request(number, "GET", "/ws", upgrade)
        while True:
            status, body = yield self._post(number, "/bookings", self._order)
            if self._kind is Kind.LOOPS and status in (201, 202):
                yield self._post(number, f"/bookings/{json.loads(body)['id']}/cancel")

    def _post(self, number: int, path: str, body: str = "") -> bytes:
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"{number}-{next(self._keys)}"}
        if body:
            headers["Content-Type"] = "application/json"
        return self._request(number, "POST", path, headers, body.encode())

    def _request(self, number: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
        token = {"Authorization": f"Bearer {self._tokens[number]}"}
        return request(method, self._host, path, token | headers, body)

    # --- their connections --------------------------------------------------------------------------------

    def _connect(self, number: int) -> None:
        try:
            attacker = Attacker(number, self._asking(number))
            attacker.connection.bind((self._address(number), 0))
            attacker.connection.connect_ex(self._gateway)  # an error comes when it is used
        except OSError:
            self._try_later(number)
        else:
            self._ready.register(attacker.connection, EVENT_WRITE, attacker)

    def _address(self, number: int) -> str:
        here = list(Kind).index(self._kind) + 1
        return f"127.250.{here}.{number + 1 if self._kind is Kind.LOOPS else 1}"

    def _leave(self, attacker: Attacker) -> None:
        self._ready.unregister(attacker.connection)
        attacker.connection.close()

    def _try_later(self, number: int) -> None:
        self.statuses[BROKEN] += 1
        heappush(self._later, (time.monotonic() + random.uniform(0, AGAIN_SECONDS), number))

    def _go_on(self, attacker: Attacker) -> None:
        """Do what its connection is ready for: send the request, or receive."""
        try:
            if attacker.request:
                attacker.connection.send(attacker.request)
                attacker.request = b""
                self._ready.modify(attacker.connection, EVENT_READ, attacker)
                return
            received = attacker.connection.recv(65_536)
            if not (received or attacker.holds):
                raise ConnectionError
        except OSError:
            self._leave(attacker)
            self._try_later(attacker.number)
            return
        if attacker.holds:
            if not received:
                self._leave(attacker)
                self._connect(attacker.number)
            return
        attacker.received += received
        head, end, body = attacker.received.partition(END_OF_HEAD)
        length = LENGTH.search(head)
        if end and (length is None or len(body) >= int(length[1])):
            self._answered(attacker, int(head[9:12]), body)

    def _answered(self, attacker: Attacker, status: int, body: bytes) -> None:
        self.statuses[status] += 1
        attacker.received = b""
        if status == 101:
            attacker.holds = True
        elif self._kind is Kind.SOCKETS:
            self._leave(attacker)
            self._connect(attacker.number)
        else:
            attacker.request = attacker.asking.send((status, body))
            self._ready.modify(attacker.connection, EVENT_WRITE, attacker)


def main() -> None:
    """Reads the orders, a line of JSON, writes a line when it begins, and attacks until the input ends; then writes
    how many answers of each status there were."""
    give_way()  # attackers have machines of their own
    orders = json.loads(sys.stdin.readline())
    attacking = Attacking(Kind(orders.pop("kind")), **orders)
    print(flush=True)
    attacking.until(sys.stdin.fileno())
    print(json.dumps(attacking.statuses))


if __name__ == "__main__":
    main()
