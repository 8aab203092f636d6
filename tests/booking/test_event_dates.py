"""When an event is sold, until when customers may cancel, and which dates and prices are refused. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from booking.admission import sale_closed
from booking.domain import may_cancel
from booking.events import change, check_new
from booking.state import Event, TicketType
from common.contracts.errors import HoldfastError, SalesEnded, SalesNotStarted
from common.contracts.messages import TicketTypeChange
from common.contracts.statuses import CancelReason
from tests.booking.samples import NOW, STATES, result_of

A, B = UUID(int=21), UUID(int=22)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)
START = NOW + 30 * DAY
EVENT = Event(
    UUID(int=2),
    "Concert",
    START,
    "eur",
    on_sale=True,
    max_per_booking=6,
    ticket_types={A: TicketType(A, "Stalls", 2500, capacity=10), B: TicketType(B, "Free", 0, capacity=10)},
)

SALES = [
    # the event's dates, now, the error that refuses a booking
    ({}, NOW, None),
    ({}, START - TICK, None),
    ({}, START, "sales_ended"),
    ({}, START + 365 * DAY, "sales_ended"),
    ({"on_sale": False}, NOW, "not_on_sale"),
    ({"on_sale": False}, START, "not_on_sale"),
    ({"sales_start": NOW + HOUR}, NOW, "sales_not_started"),
    ({"sales_start": NOW + HOUR}, NOW + HOUR - TICK, "sales_not_started"),
    ({"sales_start": NOW + HOUR}, NOW + HOUR, None),
    ({"sales_start": NOW + HOUR}, START, "sales_ended"),
    ({"sales_end": NOW + HOUR}, NOW + HOUR - TICK, None),
    ({"sales_end": NOW + HOUR}, NOW + HOUR, "sales_ended"),
    ({"sales_start": NOW, "sales_end": NOW + HOUR}, NOW, None),
    ({"sell_after_start": True}, START + 365 * DAY, None),
    ({"sell_after_start": True, "sales_end": START + DAY}, START + DAY - TICK, None),
    ({"sell_after_start": True, "sales_end": START + DAY}, START + DAY, "sales_ended"),
    ({"sell_after_start": True, "sales_end": START - DAY}, START, "sales_ended"),
    ({"sell_after_start": True, "sales_start": START + DAY}, START, "sales_not_started"),
]


@pytest.mark.parametrize(("dates", "now", "code"), SALES)
def test_nothing_is_sold_outside_the_sale(dates: dict[str, Any], now: datetime, code: str | None) -> None:
    """The sale includes its first moment, and excludes its last."""
    closed = sale_closed(EVENT._replace(**dates), now)
    assert (closed and closed.code) == code


def test_a_refusal_outside_the_sale_names_its_time() -> None:
    early = sale_closed(EVENT._replace(sales_start=NOW + HOUR), NOW)
    late = sale_closed(EVENT, START)

    assert isinstance(early, SalesNotStarted)
    assert (early.detail, early.extra) == ("The sale starts at 2030-01-01T13:00:00Z", {"sales_start": NOW + HOUR})
    assert isinstance(late, SalesEnded)
    assert (late.detail, late.extra) == ("The sale ended at 2030-01-31T12:00:00Z", {"sales_end": START})


CANCELS = [
    # the event's policy, now, whether a customer may cancel
    ({}, NOW, False),
    ({"cancel_until": START}, START - TICK, True),
    ({"cancel_until": START}, START, True),
    ({"cancel_until": START}, START + TICK, False),
    ({"cancel_until": NOW + HOUR}, NOW + HOUR, True),
    ({"cancel_until": NOW + HOUR}, NOW + HOUR + TICK, False),
    ({"cancel_until": START + 365 * DAY}, START + DAY, False),
    ({"cancel_until": START + 365 * DAY, "cancel_after_start": True}, START + DAY, True),
    ({"cancel_until": START + DAY, "cancel_after_start": True}, START + DAY + TICK, False),
    ({"cancel_after_start": True}, START - DAY, False),
]


@pytest.mark.parametrize(("policy", "now", "may"), CANCELS)
@pytest.mark.parametrize("state", ["confirmed", "confirmed, free"])
def test_customers_cancel_within_the_policy_and_not_after_the_start(
    state: str, policy: dict[str, Any], now: datetime, may: bool
) -> None:
    """Operators may cancel at any time. A customer may give back an unpaid hold at any time; while its payment is
    processing, only until the start, unless customers may cancel after it."""
    event = EVENT._replace(**policy)

    assert may_cancel(STATES[state], CancelReason.BY_CUSTOMER, event, now) is may
    assert may_cancel(STATES[state], CancelReason.BY_OPERATOR, event, now)
    for pending in ("awaiting", "creating", "hold expired"):
        assert may_cancel(STATES[pending], CancelReason.BY_CUSTOMER, event, now)
    being_paid = may_cancel(STATES["processing"], CancelReason.BY_CUSTOMER, event, now)
    assert being_paid is (now <= START or event.cancel_after_start)


def faults(refused: Event | HoldfastError | None) -> list[tuple[tuple[str | int, ...], str, Any]]:
    """(location, rule, limit) of each error; empty if nothing is refused."""
    if not isinstance(refused, HoldfastError):
        return []
    assert refused.code == "invalid_request"
    return [(tuple(error["loc"][1:]), error["type"], error["limit"]) for error in refused.extra["errors"]]


DATES = [
    # dates of the event, the expected errors
    ({}, []),
    ({"starts_at": NOW + TICK}, []),
    ({"sales_start": NOW - 365 * DAY}, []),
    ({"sales_start": START - TICK, "sales_end": START}, []),
    ({"sales_end": START}, []),
    ({"cancel_until": START}, []),
    ({"cancel_until": NOW - 365 * DAY}, []),
    ({"sell_after_start": True, "sales_end": START + DAY}, []),
    ({"sell_after_start": True, "sales_start": START + DAY}, []),
    ({"cancel_after_start": True, "cancel_until": START + DAY}, []),
    ({"sales_end": START + TICK}, [("sales_end", "date_after_start", START)]),
    ({"sales_end": START + DAY, "cancel_after_start": True}, [("sales_end", "date_after_start", START)]),
    ({"cancel_until": START + TICK}, [("cancel_until", "date_after_start", START)]),
    ({"cancel_until": START + 365 * DAY, "sell_after_start": True}, [("cancel_until", "date_after_start", START)]),
    ({"sales_start": START}, [("sales_start", "date_after_end", START)]),
    ({"sales_start": START + DAY}, [("sales_start", "date_after_end", START)]),
    ({"sales_start": START - DAY, "sales_end": START - DAY}, [("sales_start", "date_after_end", START - DAY)]),
    (
        {"sell_after_start": True, "sales_start": START + DAY, "sales_end": START + HOUR},
        [("sales_start", "date_after_end", START + HOUR)],
    ),
]
NEW_ONLY = [
    ({"starts_at": NOW}, [("starts_at", "date_in_past", NOW)]),
    ({"starts_at": NOW - 365 * DAY, "sell_after_start": True}, [("starts_at", "date_in_past", NOW)]),
    ({"sales_end": NOW}, [("sales_end", "date_in_past", NOW)]),
    ({"currency": "eru"}, [("currency", "currency_unknown", None)]),
]


@pytest.mark.parametrize(("dates", "wrong"), [*DATES, *NEW_ONLY])
def test_a_new_events_dates_fit_one_another(dates: dict[str, Any], wrong: list[tuple[str, str, Any]]) -> None:
    expected = [((field,), rule, limit) for field, rule, limit in wrong]
    assert faults(result_of(check_new, EVENT._replace(**dates), NOW)) == expected


@pytest.mark.parametrize(("dates", "wrong"), DATES)
def test_changed_dates_fit_those_that_stay(dates: dict[str, Any], wrong: list[tuple[str, str, Any]]) -> None:
    after = result_of(change, EVENT, dates, (), NOW)

    assert faults(after) == [((field,), rule, limit) for field, rule, limit in wrong]
    if not wrong and dates:
        assert after == EVENT._replace(**dates, version=2)


LATER, EARLIER = START + 7 * DAY, START - 7 * DAY
MOVES = [
    # the dates before, the change, the fields that are refused, the end of the sale afterwards
    ({}, {"starts_at": LATER}, [], LATER),
    ({}, {"starts_at": EARLIER}, [], EARLIER),
    ({"sales_end": START}, {"starts_at": LATER}, [], START),
    ({"sales_end": START}, {"starts_at": EARLIER}, ["sales_end"], None),
    ({"sales_end": START}, {"starts_at": EARLIER, "sales_end": EARLIER}, [], EARLIER),
    ({"sales_end": START}, {"starts_at": EARLIER, "sales_end": None}, [], EARLIER),
    ({"sales_end": START - DAY}, {"starts_at": EARLIER}, ["sales_end"], None),
    ({"cancel_until": START - DAY}, {"starts_at": EARLIER}, ["cancel_until"], None),
    ({"cancel_until": START - DAY}, {"starts_at": EARLIER, "cancel_until": EARLIER - DAY}, [], EARLIER),
    ({"cancel_until": START - DAY}, {"starts_at": EARLIER, "cancel_until": None}, [], EARLIER),
    ({"sales_start": START - DAY}, {"starts_at": EARLIER}, ["sales_start"], None),
    ({"sales_start": START - DAY}, {"starts_at": EARLIER, "sales_start": None}, [], EARLIER),
    ({"sales_end": START, "cancel_until": START}, {"starts_at": EARLIER}, ["sales_end", "cancel_until"], None),
    ({"sell_after_start": True, "sales_end": START + DAY}, {"sell_after_start": False}, ["sales_end"], None),
    ({"sell_after_start": True, "sales_end": START + DAY}, {"starts_at": EARLIER}, [], START + DAY),
    (
        {"cancel_after_start": True, "cancel_until": START + DAY},
        {"cancel_after_start": False},
        ["cancel_until"],
        None,
    ),
    ({}, {"starts_at": NOW}, ["starts_at"], None),
    ({}, {"starts_at": NOW - DAY}, ["starts_at"], None),
    ({}, {"sales_end": NOW - HOUR}, [], NOW - HOUR),
]


@pytest.mark.parametrize(("before", "sent", "wrong", "sales_end"), MOVES)
def test_defaults_follow_a_moved_start_and_dates_that_were_set_must_fit(
    before: dict[str, Any], sent: dict[str, Any], wrong: list[str], sales_end: datetime | None
) -> None:
    """The end of a sale may be set to the present or the past: the sale is then over."""
    after = result_of(change, EVENT._replace(**before), sent, (), NOW)

    assert [field for (field,), _, _ in faults(after)] == wrong
    if not wrong:
        assert isinstance(after, Event)
        assert after.sales_end_at == sales_end


def test_an_event_that_has_begun_is_changed_like_any_other() -> None:
    """An unchanged start is not refused for being in the past."""
    after = result_of(change, EVENT, {"name": "Opera", "starts_at": START}, (), START + DAY)
    assert after == EVENT._replace(name="Opera", version=2)


PRICES = [
    # currency, the price of a ticket type, the rule that it breaks, the limit
    ("eur", 0, None, None),
    ("eur", 50, None, None),
    ("eur", 10, "amount_under_limit", 50),
    ("eur", 49, "amount_under_limit", 50),
    ("eur", 100_000_000, "amount_over_limit", 99_999_999),
    ("idr", 100_000_000, None, None),
    ("idr", 10**12, "amount_over_limit", 10**12 - 1),
    ("isk", 150, "amount_off_step", 100),
    ("ugx", 500, None, None),
    ("kwd", 5124, "amount_off_step", 10),
    ("jpy", 49, "amount_under_limit", 50),
    ("vnd", 1, None, None),
]


@pytest.mark.parametrize(("currency", "price", "rule", "limit"), PRICES)
def test_a_price_that_stripe_would_refuse_is_refused(
    currency: str, price: int, rule: str | None, limit: int | None
) -> None:
    """Checked for one seat, when an event is made and when a price is changed or added; with its location."""
    expected = [(("ticket_types", 1, "unit_amount"), rule, limit)] if rule else []
    event = EVENT._replace(currency=currency, ticket_types={A: EVENT.ticket_types[B], B: EVENT.ticket_types[B]})
    new = event._replace(
        ticket_types={A: EVENT.ticket_types[B], B: EVENT.ticket_types[B]._replace(unit_amount=price)}
    )
    other = TicketTypeChange(id=A, name="Stalls")
    dearer = TicketTypeChange.model_construct(id=B, unit_amount=price)
    added = TicketTypeChange.model_construct(id=UUID(int=9), name="Box", unit_amount=price, capacity=1)

    assert faults(result_of(check_new, new, NOW)) == expected
    assert faults(result_of(change, event, {}, (other, dearer), NOW)) == expected
    assert faults(result_of(change, event, {}, (other, added), NOW)) == expected


def test_an_event_of_before_whose_currency_or_price_is_refused_now_can_be_changed() -> None:
    """Only the sent fields are checked, and a currency that is not in the table has no limits."""
    old = EVENT._replace(currency="bgn", ticket_types={A: TicketType(A, "Stalls", 10, capacity=10)})
    cheap = old._replace(currency="eur")

    for event, changes in ((old, ()), (cheap, ()), (old, (TicketTypeChange(id=A, unit_amount=20),))):
        after = result_of(change, event, {"name": "Opera"}, changes, NOW)
        assert isinstance(after, Event)
        assert (after.name, after.version) == ("Opera", 2)
