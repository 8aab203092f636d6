"""Very many sockets that only listen, as a process of its own: `python -m bench.crowd`.

It reads one command a line from stdin, in JSON, and answers each with one line. It keeps what arrives with the time
at which the system had it for the client, and reads it later: a client library would take longer than the gateway.
"""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from bench.measures import percentile

# Upgrades, and requests, that may be unanswered at once: a server is not to be flooded before it is measured.
UNANSWERED_MAX = 100
ANSWER_SECONDS = 20.0
LINE_MAX_BYTES = 1 << 30
CHUNK_BYTES = 65_536
STDIN = 0
# socket(7), not among Python's constants: data comes with its time of arrival, seconds and nanoseconds as longs.
SO_TIMESTAMPNS = 35
TIMES_BYTES = socket.CMSG_SPACE(16)

TEXT, PING, PONG = 0x81, b"\x89\x00", b"\x8a\x80\0\0\0\0"
_VERSION = re.compile(rb'"version":(\d+)')
_ANSWERS = (b"HTTP/1.1 101", b'{"type":"snapshot"')


def text(payload: bytes) -> bytes:
    """A client's frame, with a mask that changes nothing: https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    assert len(payload) < 126
    return bytes((TEXT, 0x80 | len(payload))) + bytes(4) + payload


class Crowd:
    """The sockets by number, and what they received: the version of a state, and its time of arrival in Unix
    microseconds."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._poll.register(STDIN, select.EPOLLIN)
        self._sockets: dict[int, socket.socket] = {}
        self._numbers: dict[int, int] = {}
        self._rest: dict[int, bytes] = {}
        self._chunks: list[tuple[int, int, bytes]] = []
        self._late: list[float] = []
        self._answers = 0
        self._failures: list[str] = []
        self._received: list[tuple[int, int, int]] = []

    def run(self) -> None:
        """Receive, and obey commands, until stdin ends."""
        while True:
            if self._listen():
                line = sys.stdin.buffer.readline()
                if not line:
                    return
                command = orjson.loads(line)
                answer = getattr(self, command.pop("do"))(**command)
                sys.stdout.buffer.write(orjson.dumps({**answer, "failures": self._failures}) + b"\n")
                sys.stdout.buffer.flush()

    # --- commands -----------------------------------------------------------------------------------------

    def open(self, host: str, port: int, tokens: Sequence[str]) -> dict[str, Any]:
        """One socket for each token, in that order."""
        for sent, token in enumerate(tokens, 1):
            connection = socket.create_connection((host, port))
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            connection.send(_upgrade(host, port, token))
            self._numbers[connection.fileno()] = len(self._sockets)
            self._sockets[connection.fileno()] = connection
            self._poll.register(connection.fileno(), select.EPOLLIN)
            self._wait_for_answers(sent - UNANSWERED_MAX)
        self._wait_for_answers(len(tokens))
        self._answers = 0
        return {}

    def say(self, message: str) -> dict[str, Any]:
        """Every socket sends `message` and gets a snapshot."""
        frame = text(message.encode())
        for sent, connection in enumerate(self._sockets.values(), 1):
            connection.send(frame)
            self._wait_for_answers(sent - UNANSWERED_MAX)
        self._wait_for_answers(len(self._sockets))
        self._answers = 0
        return {}

    def count(self) -> dict[str, Any]:
        self._read()
        return {"arrivals": len(self._received)}

    def take(self) -> dict[str, Any]:
        """All that has come since the last call. `late_p99`: seconds from arrival until it was received, at p99."""
        self._read()
        answer = {"received": self._received, "late_p99": percentile(self._late, 0.99)}
        self._received, self._late = [], []
        return answer

    def _wait_for_answers(self, wanted: int) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._answers < wanted and not self._failures:
            self._listen()
            self._read()
            if time.monotonic() > deadline:
                self._failures.append(f"{wanted - self._answers} sockets got no answer")

    # --- listening ----------------------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Receive what has come, or wait for something; returns whether there is a command."""
        has_command = False
        for descriptor, _ in self._poll.poll(1.0, len(self._sockets) + 1):
            if descriptor == STDIN:
                has_command = True
                continue
            data, times, _, _ = self._sockets[descriptor].recvmsg(CHUNK_BYTES, TIMES_BYTES)
            now = time.time_ns()
            at = _nanoseconds(times[0][2]) if times else now
            self._chunks.append((descriptor, at, data))
            self._late.append((now - at) / 1e9)
            if PING in data:
                os.write(descriptor, PONG)
            elif not data:
                self._poll.unregister(descriptor)
                self._failures.append(f"socket {self._numbers[descriptor]} was closed")
        return has_command

    def _read(self) -> None:
        """Read what was received."""
        for descriptor, at, chunk in self._chunks:
            data = self._rest.pop(descriptor, b"") + chunk
            if data.startswith(_ANSWERS[0]):
                self._answers += 1
                data = data.partition(b"\r\n\r\n")[2]
            end = 0
            for opcode, start, end in _frames(data):
                self._note(descriptor, at, opcode, data[start:end])
            if end < len(data):
                self._rest[descriptor] = data[end:]
        self._chunks.clear()

    def _note(self, descriptor: int, at: int, opcode: int, payload: bytes) -> None:
        number = self._numbers[descriptor]
        version = _VERSION.search(payload)
        if opcode == PING[0]:
            return
        if payload.startswith(_ANSWERS[1]):
            self._answers += 1
        elif opcode == TEXT and version is not None:
            self._received.append((number, int(version[1]), at // 1000))
        else:
            self._failures.append(f"socket {number} received {payload!r}")


def _nanoseconds(times: bytes) -> int:
    seconds, nanoseconds = struct.unpack("@2l", times)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Opcode, and where the payload starts and ends, of each whole frame."""
    at = 0
    while len(data) >= at + 4 or data[at:] == PING:
        opcode, size, start = data[at], data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        at = start + size
        if at > len(data):
            return
        yield opcode, start, at


def _upgrade(host: str, port: int, token: str) -> bytes:
    return (
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


if __name__ == "__main__":
    Crowd().run()
