"""What every message has, and the streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self
from uuid import UUID

from common.contracts.resources import Resource

BOOKING_COMMANDS = "booking.commands"
BOOKING_QUERIES = "booking.queries"
BOOKING_PAYMENTS = "booking.payments"
PAYMENT_INTENTS = "payment.intents"
PAYMENT_COMMANDS = "payment.commands"
PAYMENT_WEBHOOKS = "payment.webhooks"
NOTIFICATIONS = "notifications"

MAILBOXES = (
    BOOKING_COMMANDS,
    BOOKING_QUERIES,
    BOOKING_PAYMENTS,
    PAYMENT_INTENTS,
    PAYMENT_COMMANDS,
    PAYMENT_WEBHOOKS,
)

TYPES: dict[str, type[Message]] = {}


class Message(Resource):
    """One contract. `types` are its CloudEvents types, of which most have one; `stream` where it goes ("" for
    replies). A `patient` one has time: nobody waits for it, and whatever it would have done is done without it,
    only later."""

    types: ClassVar[tuple[str, ...]] = ()
    stream: ClassVar[str]
    patient: ClassVar[bool]

    def __init_subclass__(
        cls, *, type: str | tuple[str, ...] = (), stream: str = "", patient: bool = False, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls.patient = patient
        cls.stream = stream or getattr(cls, "stream", "")
        if type:
            cls.types = (type,) if isinstance(type, str) else type
            TYPES.update(dict.fromkeys(cls.types, cls))

    @property
    def type(self) -> str:
        """Its CloudEvents type."""
        return self.types[0]

    def topics(self) -> tuple[str, ...]:
        """Of news: what gateways listen for that want it."""
        return ()

    @classmethod
    def together(cls, messages: Sequence[Message]) -> Sequence[Message]:
        """What says the same as all of these, which are of this class: where many can be said in one, that one."""
        return messages

    @classmethod
    def of_json(cls, data: bytes) -> Self:
        """Raises ValidationError."""
        return cls.__pydantic_validator__.validate_json(data)  # type: ignore[no-any-return]


class OfBooking(Message):
    """What is about one booking."""

    booking_id: UUID
