"""One piece of work on the account: its reads and writes, and the deliveries and moves that follow the commit."""

from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from sandbox.errors import missing_object
from sandbox.identifiers import new_id
from sandbox.ledger import Ledger
from sandbox.objects import API_VERSION, Object


class Endpoint(NamedTuple):
    """A URL that events are sent to. `enabled_events` holds event types, or `*` for all."""

    position: int
    url: str
    secret: str
    enabled_events: frozenset[str]

    def accepts(self, event_type: str) -> bool:
        return "*" in self.enabled_events or event_type in self.enabled_events


class Delivery(NamedTuple):
    """One event on its way to one endpoint."""

    seq: int
    event: str
    type: str
    endpoint: int
    attempts: int = 0


class Move(NamedTuple):
    """Something that the stand-in does later without a request, such as ending a bank debit."""

    seq: int
    name: str
    object_id: str
    due: float


@dataclass
class Work:
    """Passed to every operation. Its webhooks and moves start only after the commit."""

    ledger: Ledger
    endpoints: tuple[Endpoint, ...]
    time: float
    """Seconds since the epoch at the beginning of the work, by the account's clock."""
    origin: str
    """Scheme, host and port that the caller used, for links in answers."""
    settle_seconds: float
    ahead_seconds: float = 0
    """How far the account's clock is ahead of this machine's, by which due times are stored."""
    event_lag_seconds: float = 0
    event_lag_share: float = 1
    request_id: str | None = None
    idempotency_key: str | None = None
    publishable: bool = False
    """Whether the caller holds only the publishable key."""
    refund_refused: bool = False
    """Refuse the refund, because the account's balance is too low."""
    refund_pending: str | None = None
    """The pending_reason of a refund that stays pending until `/_sandbox` moves it; None: it does not."""
    deliveries: list[Delivery] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)

    @property
    def now(self) -> int:
        return int(self.time)

    def get(self, kind: str, object_id: str, param: str = "id") -> Object:
        """The object of this kind and id.

        Raises:
            ApiError: 404, there is none.
        """
        found = self.ledger.find(kind, object_id)
        if found is None:
            raise missing_object(kind, object_id, param)
        return found

    def emit(self, event_type: str, obj: Object, previous: Object | None = None) -> None:
        """Store an event with a snapshot of the object; `previous` has the old values of the changed fields."""
        event_id = new_id("evt")
        endpoints = [endpoint for endpoint in self.endpoints if endpoint.accepts(event_type)]
        data = {"object": obj} if previous is None else {"object": obj, "previous_attributes": previous}
        event = {
            "id": event_id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": len(endpoints),
            "request": {"id": self.request_id, "idempotency_key": self.idempotency_key},
            "type": event_type,
        }
        self.ledger.write(
            "INSERT INTO events (id, type, created, body) VALUES (?, ?, ?, ?)",
            (event_id, event_type, self.now, orjson.dumps(event).decode()),
        )
        for endpoint in endpoints:
            self.send(event_id, event_type, endpoint)

    def send(self, event_id: str, event_type: str, endpoint: Endpoint) -> None:
        """Add a delivery of a stored event."""
        row = self.ledger.write(
            "INSERT INTO deliveries (event, endpoint, status, due) VALUES (?, ?, 'pending', ?)",
            (event_id, endpoint.position, self.time - self.ahead_seconds),
        )
        assert row.lastrowid is not None
        self.deliveries.append(Delivery(row.lastrowid, event_id, event_type, endpoint.position))

    def later(self, name: str, object_id: str, seconds: float) -> None:
        """Schedule the move of this name on an object after `seconds`; a restart does not lose it."""
        due = self.time - self.ahead_seconds + seconds
        row = self.ledger.write("INSERT INTO moves (name, object, due) VALUES (?, ?, ?)", (name, object_id, due))
        assert row.lastrowid is not None
        self.moves.append(Move(row.lastrowid, name, object_id, due))

    def forget(self) -> None:
        """Drop the deliveries and moves, because the work was rolled back."""
        self.deliveries.clear()
        self.moves.clear()
