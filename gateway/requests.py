"""Reads requests: bodies, query parameters, path ids and headers. Errors name each wrong value."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar
from uuid import UUID

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from common.contracts.errors import (
    HoldfastError,
    IdempotencyKeyRequired,
    InvalidRequest,
    MalformedRequest,
    NotFound,
    UnsupportedMediaType,
)
from common.contracts.resources import NAME_MAX
from common.contracts.statuses import BookingStatus, EventStatus, PaymentStatus
from common.contracts.values import PROMO_CODE_MAX
from common.contracts.webhooks import DeliveryStatus
from common.runtime.web import read_body
from gateway.values import UUID_TEXT, Email, Id, PromoCodeText, Reference, Time

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
# RFC 9110, section 8.8.3: a tag, and a list of tags. Bytes over 0x7F arrive decoded, as any characters.
TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"')
TAGS = re.compile(rf"[, \t]*(?:{TAG.pattern}(?:[, \t]+|$))+")
# The tags that this interface gives out: any other tag matches no version. GET /events/{id} adds a digest of its
# answer to the version (see shared.py), which is not compared: a change of free seats is no change of the terms.
OWN_TAG = re.compile(r'"(0|[1-9]\d{0,9})(?:-[0-9a-f]{16})?"')
WAIT = re.compile(r"wait=(\d{1,9})")
CURSOR_MAX = 256  # characters: ours have about 100
CURSOR = "`next_cursor` of the page before"

Number = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
M = TypeVar("M", bound=BaseModel)
P = TypeVar("P")


def invalid(error: ValidationError, where: str) -> HoldfastError:
    """The InvalidRequest that lists every wrong value."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # pydantic also calls a list with a wrong item too short: only the innermost errors are reported.
    inner = {one["loc"][:depth] for one in found for depth in range(len(one["loc"]))}
    errors = [
        {"loc": [where, *one["loc"]], "msg": one["msg"], "type": one["type"]}
        for one in found
        if one["loc"] not in inner
    ]
    return InvalidRequest(f"{len(errors)} value(s) are not valid", errors=errors)


def invalid_value(where: str, name: str, message: str) -> HoldfastError:
    return InvalidRequest(message, errors=[{"loc": [where, name], "msg": message, "type": "value_error"}])


# --- bodies -----------------------------------------------------------------------------------------------


async def read(request: web.Request, kind: type[M], *, empty: bytes = b"") -> M:
    """The request's body as `kind`; `empty` replaces a body that may be left out. Raises the errors of `read_body`,
    UnsupportedMediaType, MalformedRequest (not JSON), and InvalidRequest (values that `kind` refuses)."""
    raw = await read_body(request)
    if not raw and empty:
        raw = empty
    elif request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedRequest(first["msg"]) from None
        raise invalid(error, "body") from None


# --- the query --------------------------------------------------------------------------------------------


def encode_cursor(position: list[Any]) -> str:
    """The cursor of a position in a list; opaque to clients."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


_POSITION: TypeAdapter[tuple[datetime, UUID]] = TypeAdapter(tuple[Time, Id])
# The version of a change. Postgres has 32 bits for it.
_VERSION: TypeAdapter[tuple[int]] = TypeAdapter(tuple[Annotated[int, Field(strict=True, ge=0, lt=2**31)]])


_CODE: TypeAdapter[tuple[str]] = TypeAdapter(tuple[Annotated[str, Field(max_length=PROMO_CODE_MAX)]])
# A server's name, and numbers of 64 bits.
_MARK: TypeAdapter[tuple[str, int, int]] = TypeAdapter(tuple[Annotated[str, Field(max_length=40)], Number, Number])


def decode_cursor(cursor: str, kind: TypeAdapter[P], characters_max: int = CURSOR_MAX) -> P:
    """The position that `encode_cursor` has made a cursor of. Raises ValueError."""
    if len(cursor) > characters_max:
        raise ValueError
    return kind.validate_json(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))


def _reads(kind: TypeAdapter[P]) -> tuple[BeforeValidator, WithJsonSchema]:
    """What makes a field one that is read from a cursor of this kind of position."""

    def position(cursor: str) -> P:
        try:
            return decode_cursor(cursor, kind)
        except ValueError:
            raise ValueError("not a cursor of this interface") from None

    return BeforeValidator(position), WithJsonSchema({"type": "string"})


Cursor = Annotated[tuple[datetime, UUID], *_reads(_POSITION)]
VersionCursor = Annotated[tuple[int], *_reads(_VERSION)]
CodeCursor = Annotated[tuple[str], *_reads(_CODE)]
Mark = Annotated[tuple[str, int, int], *_reads(_MARK)]


class Limited(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=50, ge=1, le=200, description="How many there are on a page at most. Default: `50`")


class PageQuery(Limited):
    cursor: Cursor | None = Field(default=None, description=CURSOR)


class HistoryQuery(Limited):
    cursor: VersionCursor | None = Field(default=None, description=CURSOR)


class PromoCodesQuery(Limited):
    cursor: CodeCursor | None = Field(default=None, description=CURSOR)
    code: PromoCodeText | None = Field(
        default=None, description="This code alone, without regard to case, spaces and hyphens"
    )


class EventQuery(BaseModel):
    model_config = Limited.model_config

    code: PromoCodeText | None = Field(
        default=None,
        description="A promo code: the answer has the hidden ticket types that it unlocks, and is not cached",
    )


class TicketsQuery(HistoryQuery):
    """The cursor is how many tickets come before the page."""


class DoorQuery(BaseModel):
    model_config = Limited.model_config

    since: Mark | None = Field(
        default=None, description="`mark` of the answer before: only changes since then. Left out: all"
    )
    limit: int = Field(
        default=500,
        ge=1,
        le=1000,
        description="About how many changed tickets are on a page at most. Default: `500`",
    )


class WebhookDeliveriesQuery(PageQuery):
    status: DeliveryStatus | None = Field(default=None, description="Deliveries with this status alone")


class AdminEventsQuery(PageQuery):
    status: EventStatus | None = Field(default=None, description="Events with this status alone")
    starts_from: Time | None = Field(
        default=None,
        alias="from",
        description="Only events that start then or later. Left out: future events, for operators also those "
        "that started within a day; on a further page the events that follow",
    )


class BookingsQuery(PageQuery):
    status: BookingStatus | None = Field(default=None, description="Bookings with this status alone")
    event_id: Id | None = Field(default=None, description="Bookings of this event alone")


class ExportQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: Id | None = Field(default=None, description="Bookings of this event alone")
    status: BookingStatus | None = Field(default=None, description="Bookings with this status alone")
    payment: PaymentStatus | None = Field(default=None, description="Bookings whose money stands so alone")
    created_from: Time | None = Field(default=None, description="None that was made before")
    created_before: Time | None = Field(default=None, description="None that was made then or later")


class AdminBookingsQuery(BookingsQuery):
    owner: str | None = Field(
        default=None, min_length=1, max_length=255, description="Bookings of this owner alone"
    )
    payment: PaymentStatus | None = Field(
        default=None, description="The payment's status: `refund_failed` and `disputed` need an operator"
    )
    created_from: Time | None = Field(default=None, description="None that was made before")
    created_before: Time | None = Field(default=None, description="None that was made then or later")
    reference: Reference | None = Field(
        default=None,
        description="Bookings with this reference: mostly one. In upper or lower case, with or without `HF` and "
        "hyphens",
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=NAME_MAX,
        description="Bookings whose customer's name has a word that begins like this, whatever its case; of "
        "several words, one for each",
    )
    email: Email | None = Field(
        default=None, description="Bookings whose customer has this email address, whatever its case"
    )
    intent_id: str | None = Field(
        default=None,
        alias="intent",
        min_length=1,
        max_length=255,
        description="The booking with this PaymentIntent, by Stripe's id",
    )


def query(request: web.Request, kind: type[M]) -> M:
    """The query parameters as `kind`. Raises InvalidRequest, also for unknown and repeated parameters."""
    found = request.query
    for name, value in found.items():
        if len(found.getall(name)) > 1:
            raise invalid_value("query", name, "may be sent once only")
        if "\0" in value:
            raise invalid_value("query", name, "may not contain NUL")
    try:
        return kind.model_validate(dict(found))
    except ValidationError as error:
        raise invalid(error, "query") from None


# --- the path and headers ---------------------------------------------------------------------------------


def path_id(request: web.Request, name: str = "id") -> UUID:
    """The `{id}` of the path, or another one. Raises NotFound if it is no UUID."""
    text = request.match_info[name]
    if not UUID_TEXT.fullmatch(text):
        raise NotFound
    return UUID(text)


def idempotency_key(request: web.Request) -> str | None:
    """The Idempotency-Key, if the client sent one. Raises InvalidRequest unless it is one valid value."""
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    if len(keys) > 1 or not IDEMPOTENCY_KEY.fullmatch(keys[0]):
        raise invalid_value("header", "Idempotency-Key", "must be one value of 1 to 255 visible ASCII characters")
    return keys[0]


def required_key(request: web.Request) -> str:
    """The Idempotency-Key of a request that costs money or seats. Raises IdempotencyKeyRequired, InvalidRequest."""
    key = idempotency_key(request)
    if key is None:
        raise IdempotencyKeyRequired("Send an Idempotency-Key, a new one for each new intention, and repeat it")
    return key


def if_match(request: web.Request) -> tuple[int, ...] | None:
    """The versions that If-Match allows; None for any version (no If-Match, or `*`). A weak tag matches no version
    (RFC 9110, sections 13.1.1 and 8.8.3.2). Raises MalformedRequest."""
    text = ",".join(request.headers.getall(hdrs.IF_MATCH, ["*"])).strip(" \t")
    if text == "*":
        return None
    if not TAGS.fullmatch(text):
        raise MalformedRequest('If-Match must be * or a list of entity tags such as "7"')
    return tuple(int(own[1]) for tag in TAG.findall(text) if (own := OWN_TAG.fullmatch(tag)))


class Preference(NamedTuple):
    """How long the request waits, in seconds, and which of the client's preferences that follows."""

    wait_s: float
    applied: str | None


def preference(request: web.Request, default_s: float, most_s: float) -> Preference:
    """`Prefer: wait=N` and `respond-async`: https://www.rfc-editor.org/rfc/rfc7240#section-4. Other preferences are
    ignored, as the RFC asks."""
    sent = ",".join(request.headers.getall("Prefer", []))
    preferences = [each.strip().lower() for each in sent.split(",")]
    values = [each.split(";")[0].strip().replace('"', "") for each in preferences]
    waits = [found for value in values if (found := WAIT.fullmatch(value))]
    if waits:
        seconds = min(int(waits[0][1]), int(most_s))
        return Preference(seconds, f"wait={seconds}")
    if "respond-async" in preferences:
        return Preference(0.0, "respond-async")
    return Preference(min(default_s, most_s), None)
