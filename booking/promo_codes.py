"""Promo codes, pure: what one takes off the price, which hidden ticket types it unlocks, and how often it is good.

A use is a booking. How many uses a code has, and how many each owner has of it, is counted in rows of their own
(`promo_code_rows.py`), in the statement that gives, moves or frees the booking's seats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from booking.faults import Fault, refuse
from booking.state import PENDING, Booking, Event, Item
from common.contracts import errors
from common.contracts.codes import code_key
from common.contracts.currencies import part_fault_of, step_of
from common.contracts.history import FieldChange
from common.contracts.messages import CreateBookingWithCode

# What stands for "no limit" in the row of an owner, so that it can be compared like any limit.
UNLIMITED = 2**31 - 1
# The format of times in error texts; they are in UTC.
TIME = "%Y-%m-%dT%H:%M:%SZ"


class PromoCode(NamedTuple):
    """One code of an event. `code` is as an operator has written it. `percent_off`, or `amount_off` in the minor
    unit, is taken off each ticket of `ticket_types` (none: of all); neither: it takes nothing off. `unlocks`: the
    hidden ticket types that are there for those who have it. `uses_max`: how many bookings may be made with it, and
    `uses_per_owner`: by one owner; None: any number. It is good from `valid_from` and before `valid_until`. Of its
    uses `held` are of pending bookings and `used` of confirmed ones. `version` grows with each change of its
    terms."""

    id: UUID
    event_id: UUID
    code: str
    percent_off: int | None = None
    amount_off: int | None = None
    ticket_types: tuple[UUID, ...] = ()
    unlocks: tuple[UUID, ...] = ()
    uses_max: int | None = None
    uses_per_owner: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    active: bool = True
    held: int = 0
    used: int = 0
    version: int = 1

    def takes_off(self, ticket_type_id: UUID) -> bool:
        takes = self.percent_off is not None or self.amount_off is not None
        return takes and (not self.ticket_types or ticket_type_id in self.ticket_types)

    def unit_discount(self, ticket_type_id: UUID, unit_amount: int, currency: str) -> int:
        """What it takes off one ticket at this price: at most all of it. A percentage is rounded half up to the
        currency's smallest step, for each ticket alone: so each has a price of its own, by which it is refunded."""
        if not self.takes_off(ticket_type_id):
            return 0
        if self.amount_off is not None:
            return min(self.amount_off, unit_amount)
        step = step_of(currency)
        steps = (2 * unit_amount * (self.percent_off or 0) + 100 * step) // (200 * step)
        return min(steps * step, unit_amount)

    def fault(self, now: datetime) -> errors.HoldfastError | None:
        """Why it is not good now, for anybody. One that is switched off does not exist."""
        if not self.active:
            return errors.CodeNotFound()
        if self.valid_from is not None and now < self.valid_from:
            text = f"The code is good from {self.valid_from:{TIME}} on"
            return errors.CodeNotValidYet(text, valid_from=self.valid_from)
        if self.valid_until is not None and now >= self.valid_until:
            text = f"The code was good until {self.valid_until:{TIME}}"
            return errors.CodeExpired(text, valid_until=self.valid_until)
        return None


class CodeBound(NamedTuple):
    """What the new bookings of one owner add to the uses of a code: `held` pending ones and `used` confirmed ones.
    `version`: of the terms by which they were decided; `uses_max`: how many uses the owner, whose row has `key`,
    may have then."""

    key: str
    code_id: UUID
    version: int
    held: int
    used: int
    uses_max: int


def owner_key(code_id: UUID, owner: str) -> str:
    return f"{code_id}:{owner}"


def owner_keys(codes: Iterable[PromoCode], requests: Iterable[CreateBookingWithCode]) -> set[str]:
    """The owners' rows that these requests concern."""
    ids = {(each.event_id, code_key(each.code)): each.id for each in codes}
    named = ((ids.get((each.event_id, code_key(each.code))), each.owner) for each in requests)
    return {owner_key(id, owner) for id, owner in named if id is not None}


class PromoCodes:
    """The codes that a batch's bookings name, with their uses, to which those bookings add one after the other."""

    def __init__(self, codes: Iterable[PromoCode] = (), uses: Mapping[str, int] | None = None) -> None:
        """`uses`: how many uses owners have, by the keys of their rows; one without a row has none."""
        self._codes = {each.id: each for each in codes}
        self._by_key = {(each.event_id, code_key(each.code)): each for each in self._codes.values()}
        self._uses = uses or {}
        self._added: dict[str, CodeBound] = {}

    def find(
        self, event_id: UUID, written: str, now: datetime, owner: str | None = None
    ) -> PromoCode | errors.HoldfastError:
        """The code of this event that somebody has `written` so, if it is good for one more booking of `owner`
        (None: of anybody); or the error that says why not."""
        code = self._by_key.get((event_id, code_key(written)))
        if code is None:
            return errors.CodeNotFound()
        return code.fault(now) or self._used_up(code, owner) or code

    def _used_up(self, code: PromoCode, owner: str | None) -> errors.HoldfastError | None:
        added = sum(each.held + each.used for each in self._added.values() if each.code_id == code.id)
        if code.uses_max is not None and code.held + code.used + added >= code.uses_max:
            return errors.CodeUsedUp()
        if code.uses_per_owner is None or owner is None:
            return None
        key = owner_key(code.id, owner)
        known = self._added.get(key)
        uses = self._uses.get(key, 0) + (known.held + known.used if known else 0)
        if uses >= code.uses_per_owner:
            return errors.CodeOwnerLimitReached(uses_per_owner=code.uses_per_owner)
        return None

    def has_use_for(self, booking: Booking) -> bool:
        """Whether a booking that had given back its use may have one again; always without a code."""
        if booking.code_id is None:
            return True
        code = self._codes.get(booking.code_id)
        return code is not None and self._used_up(code, booking.owner) is None

    def take(self, booking: Booking) -> None:
        """Count the booking's use of its code, if it was made with one of these."""
        if booking.code_id is None or (code := self._codes.get(booking.code_id)) is None:
            return
        key, held = owner_key(code.id, booking.owner), int(booking.status is PENDING)
        known = self._added.get(key) or CodeBound(
            key, code.id, code.version, 0, 0, code.uses_per_owner or UNLIMITED
        )
        self._added[key] = known._replace(held=known.held + held, used=known.used + 1 - held)

    @property
    def bounds(self) -> Sequence[CodeBound]:
        """What all bookings counted here add, by code and owner."""
        return list(self._added.values())


def applicable(code: PromoCode, items: Iterable[Item]) -> bool:
    """Whether it does something for a booking of these items."""
    return any(code.takes_off(item.ticket_type_id) or item.ticket_type_id in code.unlocks for item in items)


# --- what operators do --------------------------------------------------------------------------------------

# What its history shows when it changes: all but what is counted, and what never changes.
TERMS = (
    "percent_off", "amount_off", "ticket_types", "unlocks", "uses_max", "uses_per_owner", "valid_from",
    "valid_until", "active",
)  # fmt: skip


def check(code: PromoCode, event: Event) -> None:
    """Raises the error that says why the event cannot have this code, or cannot have it so."""
    found = []
    if code.percent_off is not None and code.amount_off is not None:
        found.append(Fault(("amount_off",), "one_discount", "a code has percent_off or amount_off, not both"))
    if code.percent_off is None and code.amount_off is None:
        if not code.unlocks:
            text = "a code takes something off (percent_off, amount_off) or unlocks ticket types"
            found.append(Fault(("percent_off",), "does_nothing", text))
        if code.ticket_types:
            text = "ticket_types are those whose price is less: without percent_off and amount_off none is"
            found.append(Fault(("ticket_types",), "no_discount", text))
    if code.amount_off is not None and (fault := part_fault_of(code.amount_off, event.currency)) is not None:
        found.append(Fault(("amount_off",), fault.code, fault.text, fault.limit))
    if None not in (code.valid_from, code.valid_until) and code.valid_from >= code.valid_until:  # type: ignore[operator]
        text = "a code is good from valid_from on, and before valid_until"
        found.append(Fault(("valid_until",), "date_before_start", text, code.valid_from))
    for name in ("ticket_types", "unlocks"):
        found += [
            Fault((name, position), "ticket_type_unknown", f"the event has no ticket type {id}")
            for position, id in enumerate(getattr(code, name))
            if id not in event.ticket_types
        ]
    refuse(found)


def change(code: PromoCode, values: Mapping[str, Any], event: Event) -> PromoCode:
    """The code with these values, for bookings that are made from now on; the same if it has them already. Raises
    the error that refuses it."""
    after = code._replace(**values)
    if after == code:
        return code
    check(after, event)
    if after.uses_max is not None and after.uses_max < code.held + code.used:
        raise errors.UsesBelowUsed(uses=code.held + code.used)
    return after._replace(version=code.version + 1)


def what_changed(old: PromoCode | None, new: PromoCode) -> list[FieldChange]:
    """The terms of the code that have another value since; None: there was none."""
    changes = ((name, None if old is None else getattr(old, name), getattr(new, name)) for name in TERMS)
    return [
        FieldChange(field=name, code=new.code, old=_in_history(before), new=_in_history(after))
        for name, before, after in changes
        if before != after and not (old is None and after == ())
    ]


def _in_history(value: Any) -> Any:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return value.isoformat() if isinstance(value, datetime) else value
