"""`/ws`: one client's session, from its token to its last message."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import orjson
from aiohttp import WSMsgType, web
from pydantic import TypeAdapter, ValidationError

from common.bus import Bus
from common.errors import Forbidden, HoldfastError, InvalidRequest, MalformedRequest, Unauthorized, Unavailable
from common.messages import GetBooking, GetEvent
from common.resources import Booking
from common.web import TRACEPARENT
from common.wiring import BUS
from gateway.auth import AUTHENTICATOR, Authenticator, Identity
from gateway.bodies import Auth, ClientMessage, Subscribe, Unsubscribe
from gateway.door import DOOR, LIMITER, Door, Limiter
from gateway.guard import SETTINGS
from gateway.live import CLOSE_SECONDS, HUB, Close, Hub, Socket, Topic, text_frame
from gateway.notices import booking_topic, event_topic, operators_event_topic, owner_topic
from gateway.queue import QUEUE, Queue, queue_topic, version_of
from gateway.settings import GatewaySettings

# Wrong messages in a row that are answered; one more and the socket is closed.
WRONG_MAX = 20
# Timers don't reach further; a token that lives longer is looked at again then.
TIMER_MAX_S = 86_400.0
# A change can overtake a snapshot so often before we say that we cannot give one.
SNAPSHOT_TRIES = 5

CLIENT_MESSAGE: TypeAdapter[Auth | Subscribe | Unsubscribe] = TypeAdapter(ClientMessage)


class Session:
    """What one socket is allowed and has asked for."""

    def __init__(self, app: web.Application, ws: web.WebSocketResponse, socket: Socket, traceparent: str) -> None:
        self._ws = ws
        self._socket = socket
        self._traceparent = traceparent
        self._settings: GatewaySettings = app[SETTINGS]
        self._hub: Hub = app[HUB]
        self._bus: Bus = app[BUS]
        self._door: Door = app[DOOR]
        self._queue: Queue = app[QUEUE]
        self._limiter: Limiter = app[LIMITER]
        self._authenticator: Authenticator = app[AUTHENTICATOR]
        self._identity: Identity | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._subscriptions: set[Topic] = set()

    async def run(self, identity: Identity | None) -> None:
        """Until the client or we close the socket."""
        try:
            self._admit(identity or await self._first_message())
        except Unavailable:
            self._hub.close(self._socket, Close.TRY_AGAIN_LATER, "Tokens cannot be checked now")
        except (TimeoutError, ValidationError, Unauthorized):
            self._hub.close(self._socket, Close.UNAUTHORIZED)
        wrong = 0
        async for message in self._ws:
            if message.type is WSMsgType.BINARY:
                self._hub.close(self._socket, Close.UNSUPPORTED_DATA)
            elif message.type is WSMsgType.TEXT and not self._socket.closing:
                wrong = 0 if await self._take(message.data) else wrong + 1
                if wrong > WRONG_MAX:
                    self._hub.close(self._socket, Close.POLICY_VIOLATION)

    def end(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._hub.remove(self._socket)

    # --- who it is ----------------------------------------------------------------------------------------

    async def _first_message(self) -> Identity:
        """The identity of the first message's token. Raises TimeoutError, ValidationError or Unauthorized."""
        message = await self._ws.receive(timeout=self._settings.ws_auth_seconds)
        if message.type is not WSMsgType.TEXT:
            raise Unauthorized
        first = CLIENT_MESSAGE.validate_json(message.data)
        if not isinstance(first, Auth):
            raise Unauthorized
        return await self._authenticator.identify(first.token)

    def _admit(self, identity: Identity) -> None:
        self._identity = identity
        self._hub.subscribe(self._socket, owner_topic(identity.subject))
        self._expire()

    def _expire(self) -> None:
        """Close the socket when its token has expired, else look again when it does."""
        assert self._identity is not None
        if self._expiry is not None:
            self._expiry.cancel()
        left = self._identity.expires_at - time.time()
        if left <= 0:
            self._hub.close(self._socket, Close.UNAUTHORIZED, "The token has expired")
        else:
            self._expiry = asyncio.get_running_loop().call_later(min(left, TIMER_MAX_S), self._expire)

    async def _renew(self, token: str) -> None:
        assert self._identity is not None
        identity = await self._authenticator.identify(token)
        if (identity.subject, identity.operator) != (self._identity.subject, self._identity.operator):
            raise Forbidden("A socket stays with its subject and scope: open another")
        self._identity = identity
        self._expire()

    # --- what it wants ------------------------------------------------------------------------------------

    async def _take(self, text: str) -> bool:
        """Do what the message says; False when it was refused, of which the client is told."""
        about: dict[str, str] = {}
        try:
            assert self._identity is not None
            self._limiter.take(self._identity.subject)
            try:
                message = CLIENT_MESSAGE.validate_json(text)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                raise InvalidRequest(first["msg"]) from None
            if isinstance(message, Auth):
                await self._renew(message.token)
                return True
            about = message.model_dump(mode="json", exclude_none=True, exclude={"type"})
            if isinstance(message, Unsubscribe):
                self._unsubscribe(message)
            else:
                await self._subscribe(message)
        except HoldfastError as error:
            self._say({"type": "error", "code": error.code, "detail": error.detail, **about})
            # Being told that there is no such thing, or to come back, is no abuse.
            return error.status in (404, 503)
        return True

    def _unsubscribe(self, message: Unsubscribe) -> None:
        target = self._topic(message)
        self._subscriptions.discard(target)
        self._hub.unsubscribe(self._socket, target)

    async def _subscribe(self, message: Subscribe) -> None:
        """Listen first, then answer with the present state: nothing falls in between."""
        assert self._identity is not None
        target = self._topic(message)
        new = target not in self._subscriptions
        if new and len(self._subscriptions) >= self._settings.ws_subscriptions_max:
            raise InvalidRequest(f"A socket has at most {self._settings.ws_subscriptions_max} subscriptions")
        # An owner hears of all their bookings anyway; an operator of any, without the client secret.
        if message.event_id is not None or self._identity.operator:
            self._hub.subscribe(self._socket, target)
        self._subscriptions.add(target)
        try:
            await self._snapshot(target, message)
        except HoldfastError:
            if new:
                self._subscriptions.discard(target)
                self._hub.unsubscribe(self._socket, target)
            raise

    async def _snapshot(self, key: Topic, message: Subscribe) -> None:
        """Raises NotFound for what is not there, or not this client's to see."""
        for _ in range(SNAPSHOT_TRIES):
            name, state = await self._state(message)
            if state["version"] >= self._socket.last_seen(key):
                frame = text_frame(orjson.dumps({"type": "snapshot", name: state}))
                self._hub.send(self._socket, frame, key, state["version"])
                self._follow_queue(name, state)
                return
            # A newer change went out while the answer was on its way: ask again.
        raise Unavailable("The state changes too fast, try again")

    def _follow_queue(self, name: str, state: dict[str, Any]) -> None:
        """An owner who was shown a booking that waits for its intent hears of its place from now on."""
        assert self._identity is not None
        if name == "event" or self._identity.operator:
            return
        booking = Booking.model_validate(state)
        self._queue.heard(owner_topic(self._identity.subject), booking)
        place = booking.payment.queue_position
        if place is not None:
            self._socket.remember(queue_topic(booking.id), version_of(place))

    async def _state(self, message: Subscribe) -> tuple[str, dict[str, Any]]:
        assert self._identity is not None
        self._door.enter(())
        timeout_s = self._settings.answer_seconds
        if message.booking_id is not None:
            question = GetBooking(booking_id=message.booking_id, owner=self._identity.owner)
            booking = await self._ask(question, message.booking_id, timeout_s)
            if self._identity.operator:
                booking["payment"]["client_secret"] = None
            return "booking", booking
        assert message.event_id is not None
        read = GetEvent(event_id=message.event_id, operator=self._identity.operator)
        return "event", await self._ask(read, message.event_id, timeout_s)

    async def _ask(self, question: GetBooking | GetEvent, subject: UUID, timeout_s: float) -> Any:
        return await self._bus.ask(question, subject, timeout_s=timeout_s, traceparent=self._traceparent)

    def _topic(self, target: Subscribe | Unsubscribe) -> Topic:
        assert self._identity is not None
        if target.booking_id is not None:
            return booking_topic(target.booking_id)
        assert target.event_id is not None
        return operators_event_topic(target.event_id) if self._identity.operator else event_topic(target.event_id)

    def _say(self, message: dict[str, Any]) -> None:
        self._hub.send(self._socket, text_frame(orjson.dumps(message)))


async def websocket(request: web.Request) -> web.StreamResponse:
    app = request.app
    settings = app[SETTINGS]
    if app[HUB].stopped:
        raise Unavailable("This process stops: connect again, and reach another")
    # A wrong token in the header is answered before there is a socket.
    identity = await app[AUTHENTICATOR].authenticate(request) if "Authorization" in request.headers else None
    ws = web.WebSocketResponse(
        autoclose=False,  # the answer to the client's close frame is either ours or sent when the view ends
        heartbeat=settings.ws_ping_seconds,
        compress=False,
        max_msg_size=settings.ws_message_max_bytes,
        timeout=CLOSE_SECONDS,
    )
    try:
        await ws.prepare(request)
    except ValueError:  # aiohttp's, of a header that is not ASCII
        raise MalformedRequest("The headers do not ask for a WebSocket") from None
    if request.transport is None:
        return ws  # gone already
    session = Session(app, ws, app[HUB].add(request.transport), request[TRACEPARENT])
    try:
        await session.run(identity)
    finally:
        session.end()
    return ws
