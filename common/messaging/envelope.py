"""Envelopes: a message with its CloudEvents 1.0 attributes, as the fields of one stream entry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from common.contracts.errors import HoldfastError
from common.contracts.ids import id_and_time, new_traceparent
from common.contracts.messages import TYPES, Message, Reply
from common.messaging.streams import Entry

# How many characters of an unknown type's name are shown.
NAME_SHOWN_MAX = 100


class Undecodable(Exception):
    """An entry that is no message of ours."""


class UnknownType(Undecodable):
    """A message whose type this process does not know, though another release may."""


class Envelope(NamedTuple):
    """One message for `stream`. `subject` is what it is about, mostly a booking id.

    `traceparent` is W3C trace context: it goes from the client's request through every message that follows from
    it. `replyto` and `correlationid` are set when a reply is awaited.
    """

    message: Message
    stream: str
    subject: str
    id: str
    traceparent: str
    time: str
    replyto: str = ""
    correlationid: str = ""

    # fmt: off
    def fields(self, source: str) -> tuple[str | bytes, ...]:
        """The stream entry's fields, names and values alternating."""
        return (
            "specversion", "1.0", "id", self.id, "source", source, "type", self.message.type, "time", self.time,
            "subject", self.subject, "traceparent", self.traceparent,
            "data", self.message.as_json(exclude_unset=True),
            *(("correlationid", self.correlationid) if self.correlationid else ()),
            *(("replyto", self.replyto) if self.replyto else ()),
        )
    # fmt: on


class Delivery(NamedTuple):
    """A message as a handler receives it."""

    entry: Entry
    envelope: Envelope

    @property
    def message(self) -> Any:
        """The message. Its type is known to the handler, which is called for one type only."""
        return self.envelope.message


def decode(stream: str, entry: Entry) -> Delivery:
    """Decode an entry. Raises UnknownType, or Undecodable for missing attributes or wrong data."""
    fields, get = entry.fields, entry.fields.get
    try:
        kind = TYPES.get(name := fields[b"type"].decode())
        if kind is None:
            raise UnknownType(f"unknown: {name[:NAME_SHOWN_MAX]}")
        envelope = Envelope(
            kind.of_json(fields[b"data"]),
            stream,
            fields[b"subject"].decode(),
            fields[b"id"].decode(),
            get(b"traceparent", b"").decode(),
            get(b"time", b"").decode(),
            get(b"replyto", b"").decode(),
            get(b"correlationid", b"").decode(),
        )
    except KeyError as missing:
        raise Undecodable(f"missing: {missing}") from missing
    except ValidationError as invalid:
        raise Undecodable(_explained(invalid)) from None
    except UnicodeDecodeError as wrong:
        raise Undecodable("an attribute is not UTF-8") from wrong
    return Delivery(entry, envelope)


def _explained(invalid: ValidationError) -> str:
    """What is wrong where, without the values: they may be client secrets."""
    return "; ".join(
        f"{'.'.join(map(str, ('data', *error['loc'])))}: {error['msg']}"
        for error in invalid.errors(include_input=False, include_url=False, include_context=False)
    )


def envelope_for(
    message: Message, subject: object, *, cause: Delivery | None = None, traceparent: str = ""
) -> Envelope:
    """Put `message` into an envelope for its own stream, in the trace of what caused it."""
    if cause is not None:
        traceparent = cause.envelope.traceparent
    id, time = id_and_time()
    return Envelope(message, message.stream, str(subject), id, traceparent or new_traceparent(), time)


def answer(delivery: Delivery, result: BaseModel | HoldfastError | Any) -> Iterable[Envelope]:
    """The reply to `delivery`; none where none is awaited."""
    call = delivery.envelope
    if not call.replyto:
        return ()
    if isinstance(result, HoldfastError):
        reply = Reply(error=result.code, detail=result.detail, extra=result.extra)
    else:
        reply = Reply(result=result)
    id, time = id_and_time()
    trace = call.traceparent or new_traceparent()
    return (Envelope(reply, call.replyto, call.subject, id, trace, time, "", call.correlationid),)


def answers(results: Iterable[tuple[Delivery, BaseModel | HoldfastError | Any]]) -> list[Envelope]:
    """The replies to all of these deliveries, in order."""
    return [reply for delivery, result in results for reply in answer(delivery, result)]


async def answer_each(
    deliveries: Iterable[Delivery], handle: Callable[[Delivery], Awaitable[Any]]
) -> list[Envelope]:
    """The replies to these deliveries, which `handle` answers one after the other; an error that it refuses one
    with is the reply to that one."""
    results: list[tuple[Delivery, Any]] = []
    for delivery in deliveries:
        try:
            results.append((delivery, await handle(delivery)))
        except HoldfastError as refused:
            results.append((delivery, refused))
    return answers(results)
