"""The events of a season and how they sell, which the scenes share."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from tests.acceptance.client import Client, Json
from tests.acceptance.polling import eventually
from tests.acceptance.scanner import Scanner, tickets
from tests.pages.house import NIGHT_MUSIC, House, at

COMEDY_SEATS = 24
# As if they had been sold over three weeks, the most of them lately: no client can say when it has booked.
SPREAD = """
    WITH latest AS (
        SELECT id, row_number() OVER (ORDER BY created_at DESC, id) - 1 AS place, count(*) OVER () AS count
        FROM bookings WHERE event_id = $1
    )
    UPDATE bookings SET created_at = created_at - interval '21 days' * power(place::float / count, 1.6)
    FROM latest WHERE bookings.id = latest.id
"""


@dataclass
class Season:
    night: Json
    jazz: Json
    comedy: Json
    snow: Json
    wolf: Json
    tango: Json
    organ: Json
    # Guests with a booking each: of the cancelled event, and one ticket of which has been used.
    of_organ: tuple[Client, Json] = field(init=False)
    of_wolf: tuple[Client, Json] = field(init=False)


async def prepared(house: House) -> Season:
    season = Season(
        night=await house.event(
            "Harbour Lights: Night Music", ("Stalls", 4500, 120), ("Balcony", 2900, 60), ("Under 26", 1500, 30),
            poster="harbour", category="Classical", description=NIGHT_MUSIC, starts_at=at(30),
            cancel_until=at(29, 12),
        ),
        jazz=await house.event(
            "The Inès Moreau Quartet", ("Table", 3200, 30), ("Bar", 2200, 30), poster="jazz", category="Jazz",
            starts_at=at(16, 21),
        ),
        comedy=await house.event(
            "Stand-up at the Boathouse", ("Seat", 2400, COMEDY_SEATS), poster="comedy", category="Comedy",
            starts_at=at(9),
        ),
        snow=await house.event(
            "The Snow Queen", ("Stalls", 3800, 150), ("Balcony", 2600, 80), poster="tale", category="Theatre",
            starts_at=at(75, 19), sales_start=at(3, 10),
        ),
        wolf=await house.event(
            "Peter and the Wolf, for Children and Everybody Else", ("Child", 0, 60), ("Grown-up", 0, 60),
            poster="wolf", category="Family", starts_at=at(12, 11), cancel_until=at(12, 9),
        ),
        tango=await house.event(
            "Tango on the Pier", ("Dancer", 1200, 100), category="Dance", starts_at=at(40), on_sale=False
        ),
        organ=await house.event(
            "Metropolis, with Live Organ", ("Seat", 1900, 90), category="Film", starts_at=at(21)
        ),
    )  # fmt: skip
    await _sold(house, season)
    connection = await asyncpg.connect(house.shop.stack.booking_database_url)
    await connection.execute(SPREAD, season.night["id"])
    await connection.close()
    names = {event["name"] for event in (season.night, season.tango)}

    async def listed() -> set[str]:
        page = (await house.shop.anybody.request("GET", "/events")).ok()
        return {each["name"] for each in page["items"]}

    await eventually(listed, lambda found: names <= found)
    return season


async def _sold(house: House, season: Season) -> None:
    await house.sells(season.night, 9, 2)
    await house.sells(season.night, 6, 3, 1)
    await house.sells(season.night, 5, 0, 4, method="cash")
    await house.sells(season.night, 7, 0, 0, 2)
    await house.sells(season.night, 2, 2, method="complimentary")
    for quantity in (2, 4, 1):
        await house.buys(season.night, quantity)
    await house.books(season.night, 2, 2)
    await house.sells(season.jazz, 9, 3, 2)
    await house.sells(season.jazz, 1, 1, 9)
    await house.sells(season.comedy, COMEDY_SEATS // 4, 4)
    organ = await house.buys(season.organ, 2)
    await house.sells(season.organ, 3, 2)
    await house.cancels(season.organ)
    await organ.receives_payment("refunded")
    season.of_organ = (organ.client, organ.booking)
    wolf = await house.buys(season.wolf, 2, 1)
    season.of_wolf = (wolf.client, wolf.booking)
    await house.sells(season.wolf, 8, 2, 2, method="complimentary")
    (await Scanner(house.shop, season.wolf).check_in((await tickets(wolf.client, wolf.booking))[0])).ok()
    code = {"code": "FRIENDS-10", "percent_off": 10, "uses_max": 50}
    (await house.operator.request("POST", f"/admin/events/{season.night['id']}/codes", json=code)).ok(201)
