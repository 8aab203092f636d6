"""The one socket of a client: open while something is watched, and opened again whenever it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp

from holdfast_client.errors import HoldfastError, unauthorized
from holdfast_client.platform import Platform, parsed
from holdfast_client.tokens import CHECK_S, Tokens
from holdfast_client.topics import KINDS, Kind, Topic, Watch

CONNECT_S = 15.0
# How long the gateway may take to answer a close frame.
CLOSE_S = 2.0
# A socket stays open this long after the last watcher has left.
LINGER_S = 5.0
# The pause before the next connection where the subject has too many sockets.
FULL_S = 10.0
# aiohttp pings the gateway after this silence, and ends a connection on which no pong comes.
HEARTBEAT_S = 30.0

_RETRYABLE_CODES = frozenset({"too_many_requests", "unavailable", "timeout"})
# Close codes of docs/websocket.md by which the client has to be corrected. Others: connect again.
_WRONG_CLIENT = frozenset({1002, 1003, 1007, 1008, 1009})
_LOST = 1006
_UNAUTHORIZED = 4401
_TOO_MANY_SOCKETS = 4429
# What the gateway answers instead of opening a socket, as the close code that means the same.
_CODES = {401: _UNAUTHORIZED, 429: _TOO_MANY_SOCKETS}


@dataclass(frozen=True)
class ConnectionState:
    """Whether live changes come now; where they do not: the close code, and the seconds until the next try."""

    open: bool
    code: int | None = None
    retry_in_s: float | None = None


class Live:
    """Topics by kind and id, and the task that connects."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        platform: Platform,
        tokens: Tokens,
        report: Callable[[ConnectionState], None],
    ) -> None:
        self._url = f"{url}/ws"
        self._session = session
        self._platform = platform
        self._tokens = tokens
        self._report = report
        self._topics: dict[tuple[Kind, str], Topic] = {}
        self._running: asyncio.Task[None] | None = None
        # Only while it is open; and the token that it was sent last.
        self._socket: aiohttp.ClientWebSocketResponse[Any] | None = None
        self._sent_token = ""
        self._received = False
        # Whether the client has ended, so that nothing can be watched any more.
        self._ended = False
        # What is done later: closing the socket, asking again. And messages that are being sent.
        self._linger: asyncio.Task[None] | None = None
        self._again: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        tokens.on_change = self._renew

    def watch(self, kind: Kind, id: str) -> Watch[Any]:
        return Watch(partial(self._join, kind, id), self._leave)

    async def end(self) -> None:
        """Ends all watching, for good."""
        self._ended = True
        await self.close()

    async def close(self, error: BaseException | None = None) -> None:
        """Ends all watching, with `error` or none."""
        for topic in list(self._topics.values()):
            self._end(topic, error)
        tasks = [task for task in (self._running, self._linger, self._again, *self._sending) if task is not None]
        self._running = self._linger = self._again = None
        others = [task for task in tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)

    # --- its topics

    def _join(self, kind: Kind, id: str) -> Topic:
        if self._ended:
            raise HoldfastError("closed", "The client was closed")
        topic = self._topics.get((kind, id))
        if topic is None:
            topic = self._topics[kind, id] = Topic(kind, id)
            self._say({"type": "subscribe", **topic.target})
        topic.watchers += 1
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return topic

    def _leave(self, topic: Topic) -> None:
        topic.watchers -= 1
        if topic.watchers == 0 and not topic.ended:
            self._say({"type": "unsubscribe", **topic.target})
            self._end(topic, None)

    def _end(self, topic: Topic, error: BaseException | None) -> None:
        self._topics.pop((topic.kind, topic.id), None)
        topic.end(error)
        if not self._topics and self._linger is None and self._running is not None:
            self._linger = asyncio.create_task(self._close_later())

    async def _close_later(self) -> None:
        await self._platform.sleep(LINGER_S)
        await self.close()

    # --- its connections

    async def _run(self) -> None:
        try:
            await self._connect_again_and_again()
        except Exception as error:
            for topic in list(self._topics.values()):
                self._end(topic, error)

    async def _connect_again_and_again(self) -> None:
        """Raises what ends all watching."""
        tries, refused = 0, False
        token = await self._token()
        while True:
            self._received = False
            code, retry_after_s = await self._connection(token)
            if self._received:
                tries, refused = 0, False
            if code in _WRONG_CLIENT:
                raise HoldfastError("refused", f"The gateway closed the socket with {code}")
            if code == _UNAUTHORIZED:
                if refused:
                    raise unauthorized()
                token, refused = await self._token(token), True
                self._report(ConnectionState(open=False, code=code, retry_in_s=0.0))
                continue
            at_least_s = max(retry_after_s, FULL_S if code == _TOO_MANY_SOCKETS else 0.0)
            pause_s = self._platform.pause_s(tries, at_least_s)
            self._report(ConnectionState(open=False, code=code, retry_in_s=pause_s))
            await self._platform.sleep(pause_s)
            tries += 1
            if not refused:
                token = await self._token()

    async def _token(self, refused: str | None = None) -> str:
        """The token for the next connection, another one than `refused`; asked for again while nobody answers."""
        tries = 0
        while True:
            try:
                token = await (self._tokens.get() if refused is None else self._tokens.other(refused))
            except HoldfastError as error:
                if not error.retryable:
                    raise
                await self._platform.sleep(self._platform.pause_s(tries))
                tries += 1
            else:
                if token is None:
                    raise unauthorized()
                return token

    async def _connection(self, token: str) -> tuple[int, float]:
        """One connection, from its start to its end: the code with which it was closed, and for how many seconds at
        least the next one has to wait."""
        try:
            async with asyncio.timeout(CONNECT_S):
                headers = {"Authorization": f"Bearer {token}"}
                socket = await self._session.ws_connect(
                    self._url,
                    headers=headers,
                    heartbeat=HEARTBEAT_S,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            sent = error.headers.get("Retry-After", "") if error.headers is not None else ""
            return _CODES.get(error.status, _LOST), float(sent) if sent.isdecimal() else 0.0
        except (aiohttp.ClientError, TimeoutError, OSError):
            return _LOST, 0.0
        check = asyncio.create_task(self._check_token())
        try:
            await self._receive_all(socket, token)
        finally:
            self._socket = None
            check.cancel()
            if self._again is not None:
                self._again.cancel()
            await socket.close()
        return socket.close_code or _LOST, 0.0

    async def _receive_all(self, socket: aiohttp.ClientWebSocketResponse[Any], token: str) -> None:
        self._socket, self._sent_token = socket, token
        for topic in self._topics.values():
            topic.answered = False
            self._say({"type": "subscribe", **topic.target})
        async for message in socket:
            if not self._received:
                self._received = True
                self._report(ConnectionState(open=True))
            if message.type is aiohttp.WSMsgType.TEXT:
                self._receive(parsed(message.data))

    async def _check_token(self) -> None:
        """Looks now and then whether the token is to be renewed, also while no request is sent."""
        while True:
            with suppress(Exception):
                await self._tokens.get()
            await self._platform.sleep(CHECK_S)

    def _renew(self, token: str) -> None:
        if token != self._sent_token:
            self._sent_token = token
            self._say({"type": "auth", "token": token})

    def _say(self, message: dict[str, str]) -> None:
        """Sends the message, if there is a socket: a new one is sent all that matters anyway."""
        if self._socket is not None:
            task = asyncio.create_task(self._send(self._socket, message))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse[Any], message: dict[str, str]) -> None:
        with suppress(aiohttp.ClientError, OSError):
            await socket.send_str(json.dumps(message))

    # --- what it receives; members and types that are not known are ignored

    def _receive(self, message: Any) -> None:
        match message:
            case {"type": "snapshot" | "booking" | "event" | "waiting_entry" as type}:
                for kind in KINDS:
                    match message.get(kind):
                        case {"id": id} as value if (topic := self._topics.get((kind, id))) is not None:
                            topic.receive(value, snapshot=type == "snapshot")
            case {"type": "queue", "booking_id": id, "queue_position": position}:
                topic = self._topics.get(("booking", id))
                if topic is not None and topic.value is not None:
                    payment = {**topic.value["payment"], "queue_position": position}
                    topic.change({**topic.value, "payment": payment})
            case {"type": "error", "code": code}:
                self._refuse(code, message)

    def _refuse(self, code: str, problem: Any) -> None:
        """A message of ours was refused. One over the rate limit is not named."""
        retry_after_s = problem.get("retry_after")
        named = ((kind, problem.get(f"{kind}_id")) for kind in KINDS)
        topic = next((self._topics[each] for each in named if each in self._topics), None)
        if code in _RETRYABLE_CODES:
            if self._again is not None:
                self._again.cancel()
            self._again = asyncio.create_task(self._ask_again(self._platform.pause_s(0, retry_after_s or 1)))
        elif topic is not None:
            detail = problem.get("detail", code)
            self._end(topic, HoldfastError(code, detail, problem=problem, retry_after_s=retry_after_s))

    async def _ask_again(self, pause_s: float) -> None:
        """Sends again what was not answered. A token may have been among it, and is sent twice without harm."""
        await self._platform.sleep(pause_s)
        self._say({"type": "auth", "token": self._sent_token})
        for topic in self._topics.values():
            if not topic.answered:
                self._say({"type": "subscribe", **topic.target})
