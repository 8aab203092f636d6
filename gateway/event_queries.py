"""What clients may ask GET /events for: times, a name, what is on sale, an order, and the next page of it."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from common.contracts.resources import NAME_MAX
from common.contracts.values import CATEGORY_MAX
from gateway.requests import decode_cursor, encode_cursor
from gateway.values import Id, Time

Sort = Literal["starts_at", "-starts_at", "name"]
EARLIEST_FIRST, LATEST_FIRST, BY_NAME = "starts_at", "-starts_at", "name"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# Names are ordered by their first characters, folded: enough for people, and short enough for a cursor.
ORDERED_CHARACTERS = 64
CURSOR_MAX = 640  # characters: ORDERED_CHARACTERS of four bytes, an id, and base64
# Letters that Unicode does not decompose, though people write them without the stroke or the ligature.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "þ": "th", "æ": "ae", "œ": "oe"}
)


def folded(text: str) -> str:
    """`text` without case and accents, by which names are searched and ordered."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in decomposed if not unicodedata.combining(each)).casefold().translate(_PLAIN)


def microseconds(time: datetime) -> int:
    """Since 1970."""
    return (time - EPOCH) // MICROSECOND


class ListPosition(NamedTuple):
    """Where a page begins in the order of a list: what it is ordered by, and the id for events that are equal in
    that. Events that are added or removed do not move it."""

    key: int | str
    id: str


_CURSORS: dict[str, TypeAdapter[Any]] = {
    # As in lists of the booking actor, so that either can continue the other's.
    EARLIEST_FIRST: TypeAdapter(tuple[Time, Id]),
    LATEST_FIRST: TypeAdapter(tuple[Literal["-starts_at"], Time, Id]),
    BY_NAME: TypeAdapter(tuple[Literal["name"], Annotated[str, Field(max_length=ORDERED_CHARACTERS)], Id]),
}


def _decoded(cursor: str, sort: str) -> tuple[Any, UUID]:
    """What `cursor` says: a time or the beginning of a name, and an id. Raises ValueError."""
    *_, key, id = decode_cursor(cursor, _CURSORS[sort], CURSOR_MAX)
    return key, id


def cursor_behind(sort: str, key: str, id: str) -> str:
    """The cursor of what follows; `key`: the start (RFC 3339) or the folded beginning of the name."""
    return encode_cursor([key, id] if sort == EARLIEST_FIRST else [sort, key, id])


def _true_or_false(value: Any) -> Any:
    if value not in ("true", "false"):
        raise PydanticCustomError("bool_form", "must be true or false")
    return value == "true"


class EventsQuery(BaseModel):
    """The query parameters of GET /events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=50, ge=1, le=200, description="How many events the page has at most")
    sort: Sort = Field(
        default="starts_at",
        description="`starts_at`: the earliest first; `-starts_at`: the latest first; `name`: by name, without "
        "regard to case and accents",
    )
    cursor: Annotated[
        tuple[Any, UUID] | None,
        WithJsonSchema({"type": "string"}),
    ] = Field(default=None, description="`next_cursor` of the page before, in the same order")
    starts_from: Time | None = Field(
        default=None,
        alias="from",
        description="Only events that start then or later. Left out: future events; on a further page of "
        "`sort=starts_at` the events that follow",
    )
    starts_before: Time | None = Field(
        default=None, alias="to", description="Only events that start before that time"
    )
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=NAME_MAX,
        description="Only events whose name contains this, without regard to case and accents",
    )
    category: str | None = Field(
        default=None,
        min_length=1,
        max_length=CATEGORY_MAX,
        description="Only events of this category, without regard to case and accents",
    )
    on_sale: Annotated[bool | None, BeforeValidator(_true_or_false)] = Field(
        default=None,
        description="`true`: only events that can be booked now, by their dates and `on_sale`, sold out or not; "
        "`false`: only the others",
    )

    @field_validator("cursor", mode="before")
    @classmethod
    def _of_this_order(cls, cursor: Any, info: ValidationInfo) -> Any:
        try:
            return _decoded(cursor, info.data.get("sort", EARLIEST_FIRST))
        except ValueError:
            raise ValueError("not a cursor of this interface, or of another order") from None

    @field_validator("q")
    @classmethod
    def _something(cls, q: str | None) -> str | None:
        if q is not None and not folded(q).strip():
            raise PydanticCustomError("not_visible", "must have at least one visible character")
        return q

    @property
    def sought(self) -> str:
        return "" if self.q is None else folded(self.q).strip()

    @property
    def sought_category(self) -> str | None:
        return None if self.category is None else folded(self.category)

    @property
    def plain(self) -> bool:
        """Whether the booking actor can answer it as well."""
        beyond = (self.starts_before, self.q, self.category, self.on_sale)
        return self.sort == EARLIEST_FIRST and beyond == (None, None, None, None)

    @property
    def position(self) -> ListPosition | None:
        """The position after which the page begins."""
        if self.cursor is None:
            return None
        key, id = self.cursor
        if self.sort == BY_NAME:
            return ListPosition(key, str(id))
        at = microseconds(key)
        return ListPosition(-at if self.sort == LATEST_FIRST else at, str(id))
