"""The names under which the application and its requests keep what their handlers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:  # handlers live beside the classes that they use
    from collections.abc import Callable

    from common.messaging.requests import Requests
    from gateway.auth import Authenticator, Identity
    from gateway.hub import Hub
    from gateway.limits import LoadShedder, RateLimiter, RequestSlots
    from gateway.queue import QueuePositions
    from gateway.session import SessionContext
    from gateway.settings import GatewaySettings
    from gateway.waiting import Waiters

AUTHENTICATOR: web.AppKey[Authenticator] = web.AppKey("authenticator")
BOOKING_SLOTS: web.AppKey[RequestSlots] = web.AppKey("booking_slots")
HUB: web.AppKey[Hub] = web.AppKey("hub")
LOAD_SHEDDER: web.AppKey[LoadShedder] = web.AppKey("load_shedder")
PAGES: web.AppKey[Callable[[], tuple[bytes, bytes]]] = web.AppKey("pages")
QUEUE_POSITIONS: web.AppKey[QueuePositions] = web.AppKey("queue_positions")
RATE_LIMITER: web.AppKey[RateLimiter] = web.AppKey("rate_limiter")
REQUESTS: web.AppKey[Requests] = web.AppKey("requests")
SESSIONS: web.AppKey[SessionContext] = web.AppKey("sessions")
SETTINGS: web.AppKey[GatewaySettings] = web.AppKey("settings")
WAITERS: web.AppKey[Waiters] = web.AppKey("waiters")

IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity")
