"""Observes the product from inside: which rows of the state table are reached, and how often a webhook counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID

from booking import domain
from booking.rules import Decision, Rule
from booking.state import Booking
from payment.payment_rows import PaymentRows
from payment.stripe_objects import StripeEvent

if TYPE_CHECKING:
    from tests.simulation.schedule import Schedule

_watched: Schedule | None = None


def watch(schedule: Schedule | None) -> None:
    """From now on, count for this schedule."""
    global _watched
    _watched = schedule


def install() -> None:
    """Put the observers in: once in a process, after a planted mistake."""
    for key, rules in domain.TABLE.items():
        status, trigger = key
        domain.TABLE[key] = tuple(
            (guard, _reaching(rule, row_name(status, trigger.value, rule))) for guard, rule in rules
        )
    rows: Any = PaymentRows
    rows.store_events = _counting(rows.store_events)
    rows.save = _counting_moves(rows.save)


def row_name(status: str, trigger: str, rule: Rule) -> str:
    return f"{status}, {trigger}: {rule.__name__}"


def all_rows() -> set[str]:
    """The names of all rows of the state table, as `install` counts them."""
    return {
        row_name(status, trigger.value, rule)
        for (status, trigger), rules in domain.TABLE.items()
        for _, rule in rules
    }


def _reaching(rule: Rule, name: str) -> Rule:
    @wraps(rule)
    def reached(booking: Booking, what: Any) -> Decision:
        if _watched is not None:
            _watched.world.coverage.rows[name] += 1
        return rule(booking, what)

    return reached


def _counting(store: Callable[..., Awaitable[set[str]]]) -> Callable[..., Awaitable[set[str]]]:
    async def store_events(self: object, events: Sequence[StripeEvent], now: object) -> set[str]:
        fresh = await store(self, events, now)
        if _watched is not None:
            _watched.world.lasting.payment.counting |= fresh
        return fresh

    return store_events


def _counting_moves(save: Callable[..., Awaitable[dict[UUID, str]]]) -> Callable[..., Awaitable[dict[UUID, str]]]:
    async def saved(
        self: object, changes: Any, events: Sequence[tuple[UUID, StripeEvent]] = (), now: object = None
    ) -> dict[UUID, str]:
        written = await save(self, changes, events, now)
        if _watched is not None:
            _watched.world.lasting.payment.counting |= {event.id for id, event in events if id in written}
        return written

    return saved
