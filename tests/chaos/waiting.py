"""Who waits for seats of sold-out ticket types, for a time of their own, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from common.contracts.ids import offer_id, waiting_entry_id
from tests.acceptance.client import Json
from tests.chaos.judge import Judge
from tests.chaos.shopper import JOURNEY_S, REFUSED, Order, Shopper

# For how many seconds somebody waits, from and to, and after how many without a notification they ask.
WAITING_S, SILENCE_S = (2.0, 20.0), 2.0

KEPT = "a place in a line that was answered is kept"
PASSED_OVER = "nobody is passed over"


class Place(NamedTuple):
    """An entry as the database has it."""

    status: str
    booking_id: str | None


class Line:
    """All that clients were told of their entries. Once it is `over`, nobody waits any longer."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.over = False
        self._asked: set[str] = set()
        # By entry: what was shown last.
        self._shown: dict[str, Json] = {}

    async def wait(self, shopper: Shopper, order: Order, wait_max_s: float) -> None:
        """Wait, and then do with the offer what is wished. Where seats are free, book them."""
        id = waiting_entry_id(shopper.subject, order.key)
        offer = str(offer_id(id))
        # The offer may come when nobody waits for it any more.
        shopper.ordered[offer] = order
        outcome = "unfinished"
        try:
            async with asyncio.timeout(JOURNEY_S):
                outcome = await self._wait(shopper, order, str(id), self._judge.now + wait_max_s)
        except TimeoutError:
            self._judge.breaks("a client comes to an end", f"waits, {id}: {self._shown.get(str(id))}")
        shopper.endings["waits", outcome] += 1
        if outcome == "offered":
            await shopper.go(order, offer)
        elif outcome == "not_sold_out":
            await shopper.go(order)

    async def _wait(self, shopper: Shopper, order: Order, id: str, until: float) -> str:
        """Returns how the entry ended, or the code of the error by which none was made."""
        self._asked.add(id)
        visitor = shopper.visitor
        headers = {"Idempotency-Key": order.key}
        body = {"event_id": order.event["id"], **order.seats, **order.customer}
        answer = await visitor.insist("POST", "/waiting-list", json=body, headers=headers)
        assert answer is not None
        if answer.code in ("not_sold_out", "already_waiting", *REFUSED):
            return answer.code
        entry = answer.ok(201)
        self.shown(entry)
        await shopper.screen.open(id, "waiting_entry_id")
        while entry["status"] == "waiting" and not self.over and (left := until - self._judge.now) > 0:
            await shopper.screen.wait_for_notification(id, min(SILENCE_S, left))
            answer = await visitor.insist("GET", f"/waiting-list/{id}")
            assert answer is not None
            self.shown(entry := answer.ok())
        await shopper.screen.close(id)
        if entry["status"] == "waiting":
            answer = await visitor.insist("POST", f"/waiting-list/{id}/leave")
            assert answer is not None
            if answer.code == "offer_made":
                return "offered"
            self.shown(entry := answer.ok())
        if entry["booking_id"] is not None:
            return "offered"
        return f"{entry['status']} {entry['reason'] or ''}".strip()

    def shown(self, entry: Json) -> None:
        """A client is answered `entry`, which it has asked for one time after the other."""
        before = self._shown.get(entry["id"], entry)
        self._shown[entry["id"]] = entry
        if entry["version"] < before["version"] or before["status"] != "waiting" == entry["status"]:
            self._judge.breaks(KEPT, f"{entry} after {before}")
        if None not in (positions := (before["position"], entry["position"])) and positions[0] < positions[1]:
            self._judge.breaks(PASSED_OVER, f"{entry} after {before}")

    def compare(self, places: Mapping[str, Place]) -> None:
        """At the end the database has all that clients were answered, and nothing that nobody has asked for."""
        for id, entry in self._shown.items():
            place = places.get(id)
            ended = "offered" if entry["booking_id"] is not None else entry["status"]
            if place is None or (ended != "waiting" and place != Place(ended, entry["booking_id"])):
                self._judge.breaks(KEPT, f"{entry}, and is {place}")
        if unknown := places.keys() - self._asked:
            self._judge.breaks("one key is one entry", f"nobody has asked for {unknown}")
        for id, place in places.items():
            if place.booking_id not in (None, str(offer_id(UUID(id)))):
                self._judge.breaks("an entry has one offer", f"{id} has {place.booking_id}")
