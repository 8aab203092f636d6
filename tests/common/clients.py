"""HTTP clients that retry nothing, and count what they were not answered."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from urllib.parse import urlsplit

# Longer than any answer takes: what has none by then has none.
ANSWER_S = 20.0


class Clients:
    """Each request of theirs is sent once. `answers` counts by status; `unanswered` says what happened instead."""

    def __init__(self, url: str, path: str = "/health/live") -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self.answers: Counter[int] = Counter()
        self.unanswered: list[str] = []
        self.over = asyncio.Event()
        self._more = asyncio.Condition()

    async def answered(self, more: int) -> None:
        """Returns when so many more were answered than now, or one was not."""
        enough = self.answers.total() + more
        async with self._more:
            await self._more.wait_for(lambda: self.answers.total() >= enough or bool(self.unanswered))

    async def new(self) -> None:
        """A connection for each request, until it is over."""
        while not self.over.is_set():
            connection = await self._connect()
            if connection is not None:
                await self._ask(*connection)
                connection[1].close()

    async def kept(self, pause_s: float = 0.0) -> None:
        """Requests over one connection until it is said to end, with pauses of up to `pause_s` in between."""
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
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            self.unanswered.append(f"no connection: {error!r}")
            return None

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request; says whether the connection may be used again."""
        try:
            async with asyncio.timeout(ANSWER_S):
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
        # A connection that has ended is not used: that much every client looks.
        return b"connection: close" not in head and not reader.at_eof()
