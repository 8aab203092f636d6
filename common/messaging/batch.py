"""A batch: entries in a consumer's hands, decoded, and what follows from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from common.contracts.messages import Message
from common.messaging.envelope import Delivery, Envelope, Undecodable, UnknownType, decode
from common.messaging.redis import Command
from common.messaging.streams import Entry

Handler = Callable[[Sequence[Delivery]], Awaitable[Iterable[Envelope]]]
Handlers = Mapping[type[Message], Handler]


@dataclass(eq=False, slots=True)
class Batch:
    """Entries of one mailbox, `size` of them whatever became of them. No attempt may begin after `deadline`."""

    deadline: float
    size: int
    deliveries: list[Delivery] = field(default_factory=list)
    undecodable: deque[tuple[Entry, Undecodable]] = field(default_factory=deque)
    unknown: deque[Entry] = field(default_factory=deque)
    # There are more entries behind it.
    full: bool = False
    # When the last attempt began.
    started: float = 0.0
    # What follows from it; and that with its acknowledgement, to be sent as one step.
    follow: Iterable[Envelope] = ()
    step: Sequence[Command] = ()
    # What is sent beside it, and may fail alone.
    news: Sequence[Command] = ()

    def decode(self, stream: str, entries: Sequence[Entry], handlers: Handlers) -> None:
        for entry in entries:
            try:
                delivery = decode(stream, entry)
                if type(delivery.envelope.message) not in handlers:
                    # A newer release may have moved it here.
                    raise UnknownType(f"{delivery.envelope.message.type} is not known in this mailbox")
            except UnknownType:
                self.unknown.append(entry)
            except Undecodable as error:
                self.undecodable.append((entry, error))
            else:
                self.deliveries.append(delivery)

    def one_by_one(self) -> list[Batch]:
        return [Batch(self.deadline, 1, [each]) for each in self.deliveries]


def in_order(deliveries: Sequence[Delivery], handlers: Handlers) -> list[tuple[Handler, list[Delivery]]]:
    """Group deliveries by handler without changing the order of messages about one subject.

    Deliveries of one handler keep their order too: seats are given in stream order.
    """
    groups: list[tuple[Handler, list[Delivery]]] = []
    last_of: dict[str, int] = {}
    for delivery in deliveries:
        handler = handlers[type(delivery.envelope.message)]
        subject = delivery.envelope.subject
        index = last_of.get(subject, 0)
        while index < len(groups) and groups[index][0] != handler:
            index += 1
        if index == len(groups):
            groups.append((handler, []))
        groups[index][1].append(delivery)
        last_of[subject] = index
    return groups
