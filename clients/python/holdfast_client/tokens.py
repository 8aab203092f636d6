"""The token that requests and the socket are sent with, renewed when half of its time is over."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NotRequired, TypedDict

from holdfast_client.errors import HoldfastError, unauthorized
from holdfast_client.platform import Platform, Storage, parsed
from holdfast_client.rest import Request, Rest
from holdfast_client.types import GuestToken

# The pause after a renewal that failed.
CHECK_S = 60.0


class Issued(TypedDict):
    """A token of others, with its end where that is known."""

    token: str
    expires_at: NotRequired[str]


class _Held(Issued):
    subject: NotRequired[str]
    received_at: float


# Called for the first token, and whenever another is needed.
TokenSource = Callable[[], Awaitable[str | Issued]]


class Tokens:
    """`source`: of a customer who signs in, or of an operator; None: guests."""

    def __init__(
        self, rest: Rest, storage: Storage, platform: Platform, name: str, source: str | TokenSource | None
    ) -> None:
        self._rest = rest
        self._storage = storage
        self._platform = platform
        self._name = name
        self._source = source
        self._held: _Held | None = None
        self._refreshing: asyncio.Task[_Held] | None = None
        self._tried_at = -math.inf
        # Called with each new token.
        self.on_change: Callable[[str], None] = lambda _: None

    def subject(self) -> str | None:
        """The guest's subject; None where there is none."""
        held = self._load()
        return None if held is None else held.get("subject")

    async def get(self) -> str | None:
        """The token for a request; None: there is none. Raises what the source raises, and HoldfastError."""
        held = self._load()
        if held is None:
            return None if self._source is None else (await self._refreshed())["token"]
        if self._is_due(held):
            self._refresh()  # nobody waits for it: until its end the token is good
        return held["token"]

    async def other(self, refused: str) -> str | None:
        """Another token than one that was refused; None: there is none. Raises as `get`."""
        if self._source is None:
            self._held = None  # another client with this storage may have renewed it
        held = self._load()
        if held is not None and held["token"] != refused:
            return held["token"]
        if held is None or isinstance(self._source, str):
            return None
        try:
            token = (await self._refreshed())["token"]
        except HoldfastError as error:
            if error.final or error.status == 401:
                return None
            raise
        return None if token == refused else token

    def keep(self, guest: GuestToken) -> _Held:
        """From now on the client is this guest."""
        held: _Held = {**guest, "received_at": self._platform.now()}
        self._storage.set(self._name, json.dumps(held))
        return self._hold(held)

    def forget(self) -> None:
        self._storage.remove(self._name)
        self._held = None

    async def stop(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    def _load(self) -> _Held | None:
        if self._held is None and self._source is None:
            kept = parsed(self._storage.get(self._name))
            self._held = kept if isinstance(kept, dict) and isinstance(kept.get("token"), str) else None  # type: ignore[assignment]
        return self._held

    def _hold(self, held: _Held) -> _Held:
        self._held = held
        self.on_change(held["token"])
        return held

    def over(self) -> str | None:
        """The token, where by this clock its time is over."""
        held = self._load()
        if held is None or "expires_at" not in held:
            return None
        return held["token"] if _end(held) <= self._platform.now() else None

    def _is_due(self, held: _Held) -> bool:
        """Whether half of its time is over, and no renewal has failed just now."""
        now, received_at = self._platform.now(), held["received_at"]
        if "expires_at" not in held:
            return False
        return now - received_at >= (_end(held) - received_at) / 2 and now - self._tried_at >= CHECK_S

    def _refresh(self) -> asyncio.Task[_Held]:
        """Gets another token; all who want one at the same time share it."""
        if self._refreshing is None or self._refreshing.done():
            self._tried_at = self._platform.now()
            self._refreshing = asyncio.create_task(self._ask())
            self._refreshing.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._refreshing

    async def _refreshed(self) -> _Held:
        return await asyncio.shield(self._refresh())

    async def _ask(self) -> _Held:
        if self._source is None:
            return await self._renewed_guest()
        given = self._source if isinstance(self._source, str) else await self._source()
        held: _Held = {
            "token": given if isinstance(given, str) else given["token"],
            "received_at": self._platform.now(),
        }
        if not isinstance(given, str) and "expires_at" in given:
            held["expires_at"] = given["expires_at"]
        return self._hold(held)

    async def _renewed_guest(self) -> _Held:
        """Meanwhile the guest may have been forgotten, or another one come back, also by another client."""
        token = None if self._held is None else self._held["token"]
        guest: GuestToken = await self._rest.once(Request("POST /auth/guest/renew"), token)
        self._held = None
        held = self._load()
        if held is None:
            raise unauthorized()
        return self.keep(guest) if held.get("subject") == guest["subject"] else held


def _end(held: _Held) -> float:
    return datetime.fromisoformat(held["expires_at"]).timestamp()
