"""HTTP clients that retry nothing, and count the requests that got no answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from urllib.parse import urlsplit

# Seconds, longer than any answer takes: a request without an answer by then gets none.
ANSWER_SECONDS = 20.0


class Clients:
    """Each request is sent once. `answers` counts the answers by status; `unanswered` has the other errors."""

    def __init__(self, url: str, path: str = "/health/live") -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self.answers: Counter[int] = Counter()
        self.unanswered: list[str] = []
        self.over = asyncio.Event()
        self._more = asyncio.Condition()

    async def answered(self, more: int) -> None:
        """Returns when `more` requests were answered since the call, or one was not."""
        enough = self.answers.total() + more
        async with self._more:
            await self._more.wait_for(lambda: self.answers.total() >= enough or bool(self.unanswered))

    async def new(self) -> None:
        """Sends each request over a new connection, until `over` is set."""
        while not self.over.is_set():
            connection = await self._connect()
            if connection is not None:
                await self._ask(*connection)
                connection[1].close()

    async def kept(self, pause_s: float = 0.0) -> None:
        """Sends requests over one connection until the server ends it, with pauses of up to `pause_s` seconds."""
        connection = None
        while not self.over.is_set():
            connection = connection or await self._connect()
            if connection is not None and not await self._ask(*connection):
                connection[1].close()
                connection = None
            if pause_s:
                await asyncio.sleep(random.random() * pause_s)
        if connection is not None:
            connection[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            self.unanswered.append(f"no connection: {error!r}")
            return None

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request; returns whether the connection may be used again."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.unanswered.append(repr(error))
            return False
        self.answers[int(head.split()[1])] += 1
        async with self._more:
            self._more.notify_all()
        # No client uses a connection that has already ended.
        return b"connection: close" not in head and not reader.at_eof()
