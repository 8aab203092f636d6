"""What every message has, and the names of the streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self
from uuid import UUID

from common.contracts.resources import Resource

BOOKING_COMMANDS = "booking.commands"
BOOKING_QUERIES = "booking.queries"
BOOKING_PAYMENTS = "booking.payments"
BOOKING_DOOR = "booking.door"
PAYMENT_INTENTS = "payment.intents"
PAYMENT_COMMANDS = "payment.commands"
PAYMENT_DEFERRED = "payment.deferred"
PAYMENT_WEBHOOKS = "payment.webhooks"
PAYMENT_QUERIES = "payment.queries"
NOTIFICATIONS = "notifications"

MAILBOXES = (
    BOOKING_COMMANDS,
    BOOKING_QUERIES,
    BOOKING_PAYMENTS,
    BOOKING_DOOR,
    PAYMENT_INTENTS,
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_WEBHOOKS,
    PAYMENT_QUERIES,
)

TYPES: dict[str, type[Message]] = {}


class Message(Resource):
    """One contract. `types` are its CloudEvents types (most have one); `stream` is where it is published ("" for
    replies), `streams` all where it may be. A `deferrable` message may leave later, with others: nobody waits for
    it, and losing it only delays something."""

    types: ClassVar[tuple[str, ...]] = ()
    stream: ClassVar[str]
    streams: ClassVar[tuple[str, ...]]
    deferrable: ClassVar[bool]

    def __init_subclass__(
        cls,
        *,
        type: str | tuple[str, ...] = (),
        stream: str = "",
        also: str = "",
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls.deferrable = deferrable
        cls.stream = stream or getattr(cls, "stream", "")
        cls.streams = (cls.stream, also) if also else (cls.stream,)
        if type:
            cls.types = (type,) if isinstance(type, str) else type
            TYPES.update(dict.fromkeys(cls.types, cls))

    @property
    def type(self) -> str:
        """Its CloudEvents type."""
        return self.types[0]

    @property
    def requester(self) -> str | None:
        """The subject of the token by which somebody asked for this; None where nobody did, and for questions."""
        return None

    def topics(self) -> tuple[str, ...]:
        """For notifications: the topics by which gateways listen for it."""
        return ()

    @classmethod
    def combined(cls, messages: Sequence[Message]) -> Sequence[Message]:
        """Messages that say the same as these, which are of this class: one for many, where the class allows it."""
        return messages

    @classmethod
    def of_json(cls, data: bytes) -> Self:
        """Raises ValidationError."""
        return cls.__pydantic_validator__.validate_json(data)  # type: ignore[no-any-return]


class OfBooking(Message):
    """A message about one booking."""

    booking_id: UUID
