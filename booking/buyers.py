"""How much of an event one buyer may take, pure. A buyer is the owner of bookings, or all guests of one address.

What each buyer has taken is counted in a row of its own (`buyer_rows.py`), because two statements for one buyer do
not see each other's bookings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple
from uuid import UUID

from booking.state import CONFIRMED, PENDING, Booking, Event
from common.contracts import errors
from common.contracts.messages import CreateBooking

# What stands for "no limit" in a row, so that it can be compared like any limit.
UNLIMITED = 2**31 - 1
# A buyer whose holds are all taken may ask again after this many seconds: about as long as a quick payment takes.
HOLDS_RETRY_SECONDS = 15

# A booking counts as an open hold while it is pending. One without a price is confirmed at once and stays one: else
# the seats of a free event could be taken by anybody who fetches enough guest tokens.
NOT_COUNTED, OPEN_HOLD, PAID = 0, 1, 2


class BuyerPolicy(NamedTuple):
    """What one buyer may have of one event: `seats` of an owner, open and sold together, if the event itself sets
    no `max_per_owner`; open holds of an owner; open holds, and the seats of these, of the guests of one address. 0:
    no limit. After a hold that was left to expire its owner may not book for `pause`, after each further one for
    twice as long."""

    seats: int = 0
    owner_holds: int = 0
    address_holds: int = 0
    address_seats: int = 0
    pause: timedelta = timedelta()

    def counts(self, event: Event) -> bool:
        """Whether bookings of `event` are counted."""
        return bool(event.max_per_owner or self.seats or self.owner_holds or self.counts_addresses)

    @property
    def counts_addresses(self) -> bool:
        return bool(self.address_holds or self.address_seats)


class Taken(NamedTuple):
    """The row of a buyer. `paused_until`: before that the buyer may not book."""

    seats: int = 0
    holds: int = 0
    paused_until: datetime | None = None


class BuyerBound(NamedTuple):
    """What new bookings add to the row of a buyer, and what it may not exceed then. `address`: the buyer is the
    guests of an address, of whom only open holds and their seats are counted. `at`: when the bookings are made."""

    key: str
    event_id: UUID
    address: bool
    at: datetime
    seats: int
    holds: int
    seats_max: int
    holds_max: int


class Marks(NamedTuple):
    """What a new booking has of its buyers: the fields of `Booking` with these names."""

    address: str | None = None
    counted: int | None = None


NO_LIMITS = BuyerPolicy()
UNMARKED = Marks()
NOTHING_TAKEN = Taken()


def owner_key(event_id: UUID, owner: str) -> str:
    return f"{event_id}:owner:{owner}"


def address_key(event_id: UUID, address: str) -> str:
    return f"{event_id}:address:{address}"


def keys_of(requests: Iterable[CreateBooking]) -> set[str]:
    """The buyers that these requests concern."""
    found = set()
    for each in requests:
        found.add(owner_key(each.event_id, each.owner))
        if each.address is not None:
            found.add(address_key(each.event_id, each.address))
    return found


def counts_as(booking: Booking) -> int | None:
    """As what the booking is to be counted; None for one that is not: of the release before, or without limits."""
    if booking.counted is None:
        return None
    if booking.status is PENDING or (booking.status is CONFIRMED and not booking.amount):
        return OPEN_HOLD
    return PAID if booking.status is CONFIRMED else NOT_COUNTED


class Buyers:
    """What the buyers of a batch have taken, and what its bookings add to that one after the other."""

    def __init__(self, policy: BuyerPolicy, taken: Mapping[str, Taken] | None = None) -> None:
        """`taken`: the buyers' rows; without them only what is added here is compared with the limits."""
        self._policy = policy
        self._taken = taken or {}
        self._added: dict[str, BuyerBound] = {}

    def marks(self, request: CreateBooking, event: Event) -> Marks:
        if not self._policy.counts(event):
            return UNMARKED
        return Marks(request.address if self._policy.counts_addresses else None, OPEN_HOLD)

    @property
    def bounds(self) -> list[BuyerBound]:
        """What all bookings added here need, by buyer."""
        return list(self._added.values())

    def add(self, booking: Booking, event: Event, now: datetime) -> errors.HoldfastError | None:
        """Count the new booking for its buyers; returns the error that refuses it if they may not have it."""
        bounds = [self._with_added(each) for each in self._bounds(booking, event)]
        for bound in bounds:
            if (refused := self._refuse(bound, now)) is not None:
                return refused
        self._added.update((bound.key, bound) for bound in bounds)
        return None

    def _with_added(self, bound: BuyerBound) -> BuyerBound:
        """With what was added for the same buyer before."""
        if (added := self._added.get(bound.key)) is None:
            return bound
        return bound._replace(seats=added.seats + bound.seats, holds=added.holds + bound.holds)

    def _refuse(self, bound: BuyerBound, now: datetime) -> errors.HoldfastError | None:
        taken = self._taken.get(bound.key, NOTHING_TAKEN)
        if taken.paused_until is not None and now < taken.paused_until:
            return errors.BookingPaused(retry_after=ceil((taken.paused_until - now).total_seconds()))
        seats_fit = taken.seats + bound.seats <= bound.seats_max
        if not (seats_fit or bound.address):
            return errors.OwnerLimitReached(max_per_owner=bound.seats_max)
        if not seats_fit or taken.holds + bound.holds > bound.holds_max:
            return errors.TooManyHolds(retry_after=HOLDS_RETRY_SECONDS)
        return None

    def _bounds(self, booking: Booking, event: Event) -> Iterable[BuyerBound]:
        """What this booking adds to its buyers' rows; nothing if it is not counted."""
        if booking.counted is None:
            return
        policy, at = self._policy, booking.created_at
        seats = sum([item.quantity for item in booking.items])
        seats_max = event.max_per_owner or policy.seats or UNLIMITED
        holds_max = policy.owner_holds or UNLIMITED
        yield BuyerBound(owner_key(event.id, booking.owner), event.id, False, at, seats, 1, seats_max, holds_max)
        if booking.address is not None:
            # One guest alone may have as many seats as an owner.
            most = policy.address_seats or UNLIMITED
            seats_max = most if seats_max == UNLIMITED else max(most, seats_max)
            holds_max = policy.address_holds or UNLIMITED
            yield BuyerBound(
                address_key(event.id, booking.address), event.id, True, at, seats, 1, seats_max, holds_max
            )
