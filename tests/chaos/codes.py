"""Promo codes: which ones an event has, and whether each was used as often, and took off as much, as it may."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.acceptance.client import Json

CODES = "codes take off what they say, as often as they may"
QUOTED = "a booking costs what was quoted"
# Of an event: its terms by code, with so few uses that customers compete for them.
TERMS: Mapping[str, Json] = {
    "THIRD-OFF": {"percent_off": 33, "uses_max": 2},
    "FIVE-LESS": {"amount_off": 500, "uses_per_owner": 1},
    "BACKSTAGE": {"percent_off": 10, "uses_max": 3},
}
# The one that unlocks a hidden ticket type.
UNLOCKS = "BACKSTAGE"
# The refusals of a code that has been good.
USED_UP = ("code_used_up", "code_owner_limit_reached")

ALL_CODES = "SELECT * FROM promo_codes"
BY_CODE = "SELECT id, code_id, owner, status, items FROM bookings WHERE code_id IS NOT NULL"

Row = Mapping[str, Any]


def misquoted(quote: Json, booking: Json) -> str | None:
    """How the booking differs from what was quoted for it just before; None: it does not."""
    quoted, booked = _prices(quote), _prices(booking)
    return None if quoted == booked else f"quoted {quoted}, and is {booked}"


def _prices(of: Json) -> list[Any]:
    names = ("ticket_type_id", "quantity", "unit_amount", "unit_discount")
    return [of["amount"], of["currency"], *([item[name] for name in names] for item in of["items"])]


def judge_codes(codes: Sequence[Row], bookings: Sequence[Row]) -> Iterator[str]:
    """At the end each code is used by those bookings that hold or have seats, and by no others, and no more often
    than it may be. What it takes off each ticket is a percentage, rounded half up, or an amount."""
    by_code: dict[Any, list[Row]] = defaultdict(list)
    for each in bookings:
        by_code[each["code_id"]].append(each)
    for code in codes:
        made = by_code[code["id"]]
        uses = [each for each in made if each["status"] in ("pending", "confirmed")]
        counted = Counter(each["status"] for each in uses)
        if (code["held"], code["used"]) != (counted["pending"], counted["confirmed"]):
            yield f"{code['code']}: held {code['held']}, used {code['used']}, and its bookings are {dict(counted)}"
        if code["uses_max"] is not None and len(uses) > code["uses_max"]:
            yield f"{code['code']}: {len(uses)} uses of {code['uses_max']}"
        for owner, number in Counter(each["owner"] for each in uses).items():
            if code["uses_per_owner"] is not None and number > code["uses_per_owner"]:
                yield f"{code['code']}: {number} uses of {code['uses_per_owner']} by {owner}"
        for each in made:
            for item in json.loads(each["items"]):
                off = _off(code, item["unit_amount"])
                if item.get("unit_discount", 0) != off:
                    yield f"{code['code']} takes {off} off {each['id']}, which has {item}"


def _off(code: Row, price: int) -> int:
    if code["amount_off"] is not None:
        return min(int(code["amount_off"]), price)
    return (price * int(code["percent_off"] or 0) + 50) // 100
