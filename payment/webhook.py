"""`POST /payment/webhook`: check the signature over the raw bytes, apply the Stripe event, answer.

https://docs.stripe.com/webhooks. Stripe gets its answer only when the event cannot be lost any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from aiohttp import web
from stripe import SignatureVerificationError, WebhookSignature

from common.contracts.errors import HoldfastError, MalformedRequest, Unavailable
from common.runtime.outages import RedisOutage
from common.runtime.web import TRACEPARENT, json_response, read_body
from payment.stripe_objects import EVENT_TYPES, Json

log = structlog.get_logger()


class InvalidSignature(HoldfastError):
    code, status, title = "invalid_signature", 400, "The signature is missing, wrong or too old"


class BodyTooLarge(HoldfastError):
    """400 and not 413: the answer says only that this is no Stripe event."""

    code, status, title = "payload_too_large", 400, "The body is too large"


@dataclass(frozen=True, slots=True)
class Webhook:
    """The endpoint. `apply` stores a Stripe event, with its trace, or raises RedisOutage. The signature must be by
    any of `secrets` and, by `clock`, at most `tolerance_s` seconds old. An event of the other mode is ignored."""

    apply: Callable[[Json, str], Awaitable[None]]
    clock: Callable[[], datetime]
    secrets: Sequence[str]
    tolerance_s: int
    livemode: bool

    async def receive(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await read_body(request)
        except web.HTTPRequestEntityTooLarge:
            raise BodyTooLarge from None
        not_before_s = self.clock().timestamp() - self.tolerance_s
        payload = verify(body, request.headers.get("Stripe-Signature"), self.secrets, not_before_s)
        event = _event(payload)
        if event["type"] not in EVENT_TYPES:
            return json_response({"received": True})  # Holdfast does not use this type
        if event.get("livemode", False) is not self.livemode:
            log.info("event of the other mode", id=event["id"], type=event["type"])
            return json_response({"received": True})
        try:
            await self.apply(event, request[TRACEPARENT])
        except RedisOutage as outage:
            raise Unavailable("The event cannot be kept now: send it again") from outage
        return json_response({"received": True})


WEBHOOK = web.AppKey("webhook", Webhook)


async def receive(request: web.Request) -> web.StreamResponse:
    return await request.app[WEBHOOK].receive(request)


def verify(body: bytes, header: str | None, secrets: Sequence[str], not_before_s: float) -> str:
    """The body as text. Raises InvalidSignature unless one of `secrets` signed it at `not_before_s` (Unix seconds)
    or later: https://docs.stripe.com/webhooks#replay-attacks. Stripe's SDK would use this process' own clock."""
    try:
        payload = body.decode()
    except UnicodeDecodeError:
        raise MalformedRequest("The body is not UTF-8") from None
    if header is not None and not header.isascii():
        header = None  # the SDK can compare only ASCII text
    reason = ""
    for secret in secrets:
        try:
            WebhookSignature.verify_header(payload, header, secret)
        except SignatureVerificationError as error:
            reason = reason or str(error).partition("(")[0].strip()
        else:
            read: Any = WebhookSignature._get_timestamp_and_signatures
            if read(header, WebhookSignature.EXPECTED_SCHEME)[0] >= not_before_s:
                return payload
            reason = "Timestamp outside the tolerance zone"
            break
    log.warning("webhook refused", reason=reason)
    raise InvalidSignature(reason)


def _event(payload: str) -> Json:
    try:
        event: Json = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise MalformedRequest("The body is not JSON") from None
    named = isinstance(event, dict) and isinstance(event.get("id"), str) and isinstance(event.get("type"), str)
    if not named or event.get("object") != "event" or "data" not in event:
        raise MalformedRequest("The body is not a Stripe event")
    return event
