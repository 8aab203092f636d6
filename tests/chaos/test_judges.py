"""The judges of promo codes and waiting lists find each kind of mistake, in rows and answers that a test makes."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from common.contracts.ids import offer_id
from tests.acceptance.client import Json
from tests.chaos.codes import judge_codes, misquoted
from tests.chaos.judge import Judge
from tests.chaos.waiting import KEPT, PASSED_OVER, Line, Place
from tests.waiting_lists import due, judge_order, judge_reserved

# --- promo codes --------------------------------------------------------------------------------------------


def code(held: int = 0, used: int = 0, **terms: Any) -> Json:
    nothing = dict.fromkeys(("percent_off", "amount_off", "uses_max", "uses_per_owner"))
    return {"id": 1, "code": "CODE", "held": held, "used": used, **nothing, **terms}


def by_code(status: str, owner: str = "ann", off: int = 0) -> Json:
    items = [{"quantity": 2, "unit_amount": 1500, "unit_discount": off}]
    return {"id": "B", "code_id": 1, "owner": owner, "status": status, "items": json.dumps(items)}


@pytest.mark.parametrize(
    ("terms", "bookings", "found"),
    [
        (code(1, 1, uses_max=2), [by_code("pending"), by_code("confirmed"), by_code("cancelled")], ""),
        (code(1), [by_code("cancelled")], "held 1, used 0"),  # not given back
        (code(0, 1), [], "held 0, used 1"),
        (code(1, 1), [by_code("confirmed"), by_code("confirmed")], "held 1, used 1"),
        (code(0, 2, uses_max=1), [by_code("confirmed"), by_code("confirmed")], "2 uses of 1"),
        (code(1, 1, uses_per_owner=1), [by_code("confirmed"), by_code("pending")], "2 uses of 1 by ann"),
        (code(0, 2, uses_per_owner=1), [by_code("confirmed"), by_code("confirmed", "bob")], ""),
        (code(0, 1, percent_off=33), [by_code("confirmed", off=495)], ""),
        (code(0, 1, percent_off=33), [by_code("confirmed", off=490)], "takes 495 off"),
        (code(0, 1, amount_off=2000), [by_code("confirmed", off=1500)], ""),
        (code(0, 1, amount_off=500), [by_code("confirmed")], "takes 500 off"),
    ],
)
def test_codes_are_counted_and_limited_and_take_off_what_they_say(
    terms: Json, bookings: list[Json], found: str
) -> None:
    findings = list(judge_codes([terms], bookings))
    assert (len(findings), found in "".join(findings)) == (int(bool(found)), True)


def priced(amount: int, off: int, **more: Any) -> Json:
    item = {"ticket_type_id": "T", "quantity": 2, "unit_amount": 1500, "unit_discount": off}
    return {"amount": amount, "currency": "eur", "items": [item | more]}


@pytest.mark.parametrize(
    ("booking", "differs"),
    [
        (priced(2010, 495, more="ignored"), False),
        (priced(3000, 0), True),
        (priced(2010, 0), True),
        (priced(2010, 495, quantity=1), True),
    ],
)
def test_a_booking_must_cost_what_was_quoted(booking: Json, differs: bool) -> None:
    assert (misquoted(priced(2010, 495, name="Row 1"), booking) is not None) is differs


# --- waiting lists ------------------------------------------------------------------------------------------

ENTRY = "11111111-1111-4111-8111-111111111111"
OFFER = str(offer_id(UUID(ENTRY)))


def entry(status: str, version: int = 1, position: int | None = None, booking_id: str | None = None) -> Json:
    return {"id": ENTRY, "status": status, "version": version, "position": position, "booking_id": booking_id}


class Clients(Line):
    """Clients that are answered as a test wants."""

    def __init__(self) -> None:
        self.judge = Judge()
        super().__init__(self.judge)
        self._asked.add(ENTRY)


@pytest.mark.parametrize(
    ("shown", "broken"),
    [
        ([entry("waiting", 1, 3), entry("waiting", 1, 1), entry("offered", 3, booking_id=OFFER)], []),
        ([entry("waiting", 1, 2), entry("waiting", 1, 3)], [PASSED_OVER]),
        ([entry("left", 2), entry("waiting", 2)], [KEPT]),
        ([entry("offered", 3, booking_id=OFFER), entry("offered", 2, booking_id=OFFER)], [KEPT]),
    ],
)
def test_a_place_in_a_line_never_goes_back(shown: list[Json], broken: list[str]) -> None:
    line = Clients()
    for each in shown:
        line.shown(each)
    assert [each.promise for each in line.judge.broken] == broken


@pytest.mark.parametrize(
    ("shown", "places", "broken"),
    [
        (entry("waiting"), {ENTRY: Place("offered", OFFER)}, []),
        (entry("lapsed", booking_id=OFFER), {ENTRY: Place("offered", OFFER)}, []),
        (entry("waiting"), {}, [KEPT]),
        (entry("left"), {ENTRY: Place("offered", OFFER)}, [KEPT]),
        (entry("offered", booking_id=OFFER), {ENTRY: Place("waiting", None)}, [KEPT]),
        (entry("waiting"), {ENTRY: Place("offered", ENTRY)}, ["an entry has one offer"]),
        (entry("left"), {ENTRY: Place("left", None), OFFER: Place("left", None)}, ["one key is one entry"]),
    ],
)
def test_the_database_must_have_the_entries_that_clients_were_answered(
    shown: Json, places: dict[str, Place], broken: list[str]
) -> None:
    line = Clients()
    line.shown(shown)
    line.compare(places)
    assert [each.promise for each in line.judge.broken] == broken


def entry_of(number: int, status: str, offer: int | None = None, together: str = "", of: str = "T") -> Json:
    offered = {"offer": offer, "together": together or str(offer)}
    return {"id": number, "ticket_type_id": of, "number": number, "status": status, **offered}


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([entry_of(1, "offered", 5), entry_of(2, "left"), entry_of(3, "offered", 6), entry_of(4, "waiting")], ""),
        ([entry_of(1, "waiting"), entry_of(2, "offered", 5)], "2 got an offer before number 1, who waits"),
        ([entry_of(1, "offered", 6), entry_of(2, "offered", 5)], "number 2 got an offer before number 1"),
        ([entry_of(1, "offered", 6, "one"), entry_of(2, "offered", 5, "one")], ""),  # both at once
        ([entry_of(1, "offered", 6, of="S"), entry_of(2, "waiting", of="S"), entry_of(3, "offered", 5)], ""),
    ],
)
def test_nobody_is_passed_over(entries: list[Json], found: str) -> None:
    findings = list(judge_order(entries))
    assert (len(findings), found in "".join(findings)) == (int(bool(found)), True)


@pytest.mark.parametrize(
    ("waiting", "booked", "reserved", "wrong"),
    [(5, 8, 2, False), (1, 8, 1, False), (0, 8, 0, False), (5, 8, 1, True), (1, 8, 2, True), (1, 10, 1, True)],
)
def test_all_free_seats_are_reserved_that_somebody_waits_for(
    waiting: int, booked: int, reserved: int, wrong: bool
) -> None:
    row = {"id": "T", "capacity": 10, "booked_held": 1, "booked_sold": booked - 1}
    findings = list(judge_reserved([row | {"waiting": waiting, "reserved": reserved}]))
    assert bool(findings) is wrong


@pytest.mark.parametrize(
    ("quantity", "free", "on_sale", "is_due"),
    [(2, 1, True, False), (2, 2, True, True), (2, 0, False, True)],
)
def test_who_is_first_waits_only_for_seats_that_are_not_there(
    quantity: int, free: int, on_sale: bool, is_due: bool
) -> None:
    first = {"id": UUID(ENTRY), "quantity": quantity, "free": free, "on_sale": on_sale}
    assert bool(due([first])) is is_due
