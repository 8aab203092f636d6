"""`/ws`: one client's session, from its token to its last message."""

from __future__ import annotations

import asyncio
from functools import partial

import orjson
import structlog
from aiohttp import WebSocketError, WSMsgType, web
from pydantic import TypeAdapter, ValidationError

from common.contracts.errors import (
    Forbidden,
    HoldfastError,
    InvalidRequest,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from common.contracts.messages import BOOKING_QUERIES, GetBooking, GetEvent, GetWaitingEntry
from common.runtime.outages import Outage
from common.runtime.web import TRACEPARENT
from gateway.addresses import NETWORK
from gateway.auth import AUTHENTICATOR, Identity
from gateway.bookings import BookingView, Json, completed, redacted
from gateway.hub import HUB, booking_topic, event_topic, owner_topic, waiting_entry_topic
from gateway.limiter import LIMITER
from gateway.limits import LOAD_SHEDDER, SNAPSHOT_SLOTS
from gateway.queue_positions import QUEUE_POSITIONS
from gateway.settings import SETTINGS
from gateway.socket_messages import Auth, ClientMessage, Subscription
from gateway.waiters import CALLS
from gateway.websocket import Close, Socket, message_frame, state_frame, upgrade

# This many wrong messages in a row are answered, so that a developer sees the errors; one more closes the socket.
WRONG_MAX = 20
# A snapshot that a newer notification overtakes is read again: this many times in all, then it is refused.
SNAPSHOT_TRIES = 5
# The part of MAILBOX_LIMIT that calls of sockets may fill: the rest is for requests.
SOCKETS_SHARE = 0.5

CLIENT_MESSAGE: TypeAdapter[Auth | Subscription] = TypeAdapter(ClientMessage)

log = structlog.get_logger()


class Session:
    """One socket's identity and subscriptions, and what its messages do."""

    __slots__ = ("_app", "_hub", "_identity", "_socket", "_subscriptions", "_traceparent")

    # Set once `_admit` has accepted a token.
    _identity: Identity

    def __init__(self, app: web.Application, socket: Socket, traceparent: str) -> None:
        self._app = app
        self._hub = app[HUB]
        self._socket = socket
        self._traceparent = traceparent
        self._subscriptions: frozenset[str] = frozenset()  # mostly empty: an empty set takes 216 bytes

    async def run(self, identity: Identity | None) -> None:
        """Handle the client's messages until it or the gateway closes the socket."""
        try:
            await self._admit(identity)
            wrong = 0
            while (message := await self._socket.receive()) is not None:
                if message.type is WSMsgType.BINARY:
                    self._hub.close(self._socket, Close.UNSUPPORTED_DATA)
                elif not self._socket.closing:
                    wrong = 0 if await self._handle(message.data) else wrong + 1
                    if wrong > WRONG_MAX:
                        self._hub.close(self._socket, Close.POLICY_VIOLATION)
        except WebSocketError as error:
            self._hub.close(self._socket, Close(error.code))  # type: ignore[call-arg]  # looked up by its value
        except Exception:
            log.exception("socket failed")
        finally:
            self._hub.remove(self._socket)

    # --- its identity -------------------------------------------------------------------------------------

    async def _admit(self, identity: Identity | None) -> None:
        """Subscribe the client to its own bookings, or close the socket. `identity`: None if no token came yet."""
        try:
            if identity is None:
                async with asyncio.timeout(self._app[SETTINGS].ws_auth_seconds):
                    message = await self._socket.receive()
                if message is None or message.type is not WSMsgType.TEXT:
                    raise Unauthorized
                identity = await self._app[AUTHENTICATOR].identify(Auth.model_validate_json(message.data).token)
            self._app[AUTHENTICATOR].check(identity)  # it may have been revoked since the upgrade began
            if not identity.operator:
                self._hub.assign(self._socket, identity.subject)
        except (Unavailable, Outage):
            self._hub.close(self._socket, Close.TRY_AGAIN_LATER, "Tokens cannot be checked now")
        except (TimeoutError, ValidationError, Unauthorized):
            self._hub.close(self._socket, Close.UNAUTHORIZED)
        except TooManyRequests:
            self._hub.close(self._socket, Close.TOO_MANY)
        else:
            self._identify(identity)
            self._hub.subscribe(self._socket, owner_topic(identity.subject))

    def _identify(self, identity: Identity) -> None:
        self._identity = self._socket.identity = identity

    async def _renew(self, token: str) -> None:
        identity = await self._app[AUTHENTICATOR].identify(token)
        if (identity.subject, identity.scopes) != (self._identity.subject, self._identity.scopes):
            raise Forbidden("The new token must have the same subject and scopes: open another socket for it")
        self._identify(identity)

    # --- its subscriptions --------------------------------------------------------------------------------

    async def _handle(self, text: str) -> bool:
        """Do what the message requests, or send the error; returns whether the message was valid."""
        about: dict[str, str] = {}
        try:
            await self._app[LIMITER].message(self._identity, self._socket.address)
            try:
                message = CLIENT_MESSAGE.validate_json(text)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                raise InvalidRequest(first["msg"]) from None
            if isinstance(message, Auth):
                await self._renew(message.token)
                return True
            about = message.model_dump(mode="json", exclude_none=True, exclude={"type"})
            if message.type == "unsubscribe":
                self._unsubscribe(self._topic(message))
            else:
                await self._subscribe(self._topic(message), message)
        except HoldfastError as error:
            answer = {"type": "error", "code": error.code, "detail": error.detail, **error.extra, **about}
            self._hub.send(self._socket, message_frame(answer))
            # A message is valid although its target does not exist, or the client must retry.
            return error.status in (404, 503)
        return True

    def _unsubscribe(self, target: str) -> None:
        self._subscriptions -= {target}
        self._hub.unsubscribe(self._socket, target)

    async def _subscribe(self, target: str, message: Subscription) -> None:
        """Subscribe first, then read the snapshot, so that no change is missed in between."""
        new = target not in self._subscriptions
        if new and len(self._subscriptions) >= self._app[SETTINGS].ws_subscriptions_max:
            raise InvalidRequest(f"A socket has at most {self._app[SETTINGS].ws_subscriptions_max} subscriptions")
        # An owner is sent all of its own bookings anyway; an operator subscribes to any, without the client secret.
        if message.event_id is not None or self._identity.operator:
            self._hub.subscribe(self._socket, target)
        self._subscriptions |= {target}
        try:
            await self._snapshot(target, message)
        except HoldfastError:
            if new:
                self._unsubscribe(target)
            raise

    async def _snapshot(self, key: str, message: Subscription) -> None:
        """Send the snapshot of topic `key`. Raises NotFound if it does not exist for this client."""
        name = _named(message)
        for _ in range(SNAPSHOT_TRIES):
            async with self._app[SNAPSHOT_SLOTS].slot(self._identity.subject):
                # Sockets fill only their share of a mailbox, so that requests still have room.
                self._app[LOAD_SHEDDER].check((BOOKING_QUERIES,), SOCKETS_SHARE)
                state = await self._state(message)
            if state["version"] >= self._socket.last_seen(key):
                json = orjson.dumps(state)
                self._hub.send(self._socket, state_frame("snapshot", name, json, key, state["version"]))
                if name == "booking" and not self._identity.operator:
                    # From now on the owner is sent the booking's queue position.
                    self._app[QUEUE_POSITIONS].track(owner_topic(self._identity.subject), BookingView(state))
                return
            # The socket was sent a newer version while the reply was on its way: read the snapshot again.
        raise Unavailable("The state changes too fast: send the subscription again")

    async def _state(self, message: Subscription) -> Json:
        """What the subscription names, as it is now and as this client may see it."""
        app, identity = self._app, self._identity
        call = partial(app[CALLS].call, timeout_s=app[SETTINGS].answer_seconds, traceparent=self._traceparent)
        if (id := message.booking_id) is not None:
            booking: Json = await call(GetBooking(booking_id=id, owner=identity.owner), id)
            return redacted(booking) if identity.operator else completed(booking)
        if (id := message.waiting_entry_id) is not None:
            entry: Json = await call(GetWaitingEntry(entry_id=id, owner=identity.subject), id)
            return entry
        assert message.event_id is not None
        event: Json = await call(GetEvent(event_id=message.event_id, operator=identity.operator), message.event_id)
        return event

    def _topic(self, target: Subscription) -> str:
        if target.booking_id is not None:
            return booking_topic(str(target.booking_id))
        if target.waiting_entry_id is not None:
            return waiting_entry_topic(str(target.waiting_entry_id))
        return event_topic(str(target.event_id), operators=self._identity.operator)


def _named(message: Subscription) -> str:
    """The member of a snapshot that has what the subscription names."""
    if message.waiting_entry_id is not None:
        return "waiting_entry"
    return "event" if message.booking_id is None else "booking"


async def websocket(request: web.Request) -> web.StreamResponse:
    app = request.app
    if app[HUB].stopped:
        raise Unavailable("This process is stopping: connect again to reach another")
    # A wrong token in the header, and one socket too many, are answered by HTTP, before the upgrade.
    identity = await app[AUTHENTICATOR].authenticate(request) if "Authorization" in request.headers else None
    if identity is not None and not identity.operator:
        await app[LIMITER].subject(identity)
        app[HUB].admit_subject(identity.subject)
    address = request[NETWORK]
    app[HUB].admit_address(address)
    response = await upgrade(request)
    if request.transport is not None:  # else the client is gone already
        socket = app[HUB].add(request.transport, address)
        socket.take_over(request)
        session = Session(app, socket, request[TRACEPARENT])
        socket.reading = asyncio.create_task(session.run(identity), name="socket")
    return response
