"""The door: scanners check in the tickets of confirmed bookings, some of them without a network for a while."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from tests.acceptance.client import Answer, Json
from tests.acceptance.scanner import Followed
from tests.chaos.check_ins import CheckIns, Shown
from tests.chaos.judge import Judge
from tests.chaos.shopper import JOURNEY_S, Shopper
from tests.chaos.visitor import Visitor

SCANNERS = 4
# Of so many visits one is a scanner's loss of its network, which lasts so many seconds, from and to.
OUTAGE_EVERY, OUTAGE_S = 15, (2.0, 8.0)
# How likely somebody shows a ticket that was shown before, two people show one ticket at once, and a check-in that
# let somebody in is undone.
AGAIN, AT_ONCE, UNDO = 0.4, 0.3, 0.15
# And how likely a ticket that a scanner without a network can check is shown there.
AT_OFFLINE = 0.7
# The last so many tickets and check-ins may come again, and a customer's last so many bookings come to the door.
RECENT = 50
# How many check-ins a request has at most.
SENT_MAX = 100


@dataclass(frozen=True)
class Ticket:
    """A ticket as its customer has it."""

    event_id: str
    booking_id: str
    id: str
    code: str
    customer: Visitor

    @property
    def ended(self) -> bool:
        """Whether the customer was shown that the booking has ended."""
        return bool(self.customer.witness.newest[self.booking_id]["status"] != "confirmed")


class Scanner:
    """With a network it checks tickets of any event in; while it is `offline`, those of the event that it follows,
    if they are valid as far as it knows."""

    def __init__(self, name: str, visitor: Visitor, event: Json, check_ins: CheckIns) -> None:
        self._name = name
        self._visitor = visitor
        self._check_ins = check_ins
        self.known = Followed(event)
        self.offline = False
        self._losing = asyncio.Lock()
        self._numbers = 0
        self._kept: list[tuple[Ticket, Shown, datetime]] = []

    async def show(self, ticket: Ticket, id: str) -> str | None:
        """Somebody shows the ticket. Returns the check-in by which a scanner with a network has let them in."""
        self._numbers += 1
        shown = Shown(id, f"{self._name}/{self._numbers}", ticket.id, ticket.booking_id, ticket.code)
        if not self.offline:
            return await self._check_in(ticket, shown)
        valid = self.known.states.get(ticket.id, "valid") == "valid"
        if valid and ticket.event_id == self.known.event_id:
            self.known.states[ticket.id] = "used"
            self._kept.append((ticket, shown, datetime.now(UTC)))
        return None

    async def _check_in(self, ticket: Ticket, shown: Shown) -> str | None:
        ended = ticket.ended
        self._check_ins.sent(shown)
        body = {"id": shown.id, "code": shown.code, "device": shown.device, "event_id": ticket.event_id}
        answer = await self._visitor.insist("POST", "/admin/tickets/check-in", json=body)
        assert answer is not None
        outcome, check_in = _met(answer)
        self._check_ins.answered(shown, outcome, check_in, "at once", ended=ended)
        return str(check_in["id"]) if outcome == "ok" and check_in is not None else None

    async def undo(self, check_in_id: str) -> None:
        self._check_ins.undoing(check_in_id)
        body = {"check_in_id": check_in_id}
        answer = await self._visitor.insist("POST", "/admin/tickets/undo", json=body)
        assert answer is not None
        self._check_ins.undone(check_in_id, answer.ok()["undone_at"])

    async def lose_network(self, seconds: float) -> None:
        """Prepare for it, be without one, and send what was checked in meanwhile."""
        if self._losing.locked():
            return
        async with self._losing:
            await self.follow()
            self.offline = True
            await asyncio.sleep(seconds)
            self.offline = False
            await self.send_kept()
            await self.follow()

    async def send_kept(self) -> None:
        """Send what was checked in without a network."""
        while self._kept:
            part, self._kept = self._kept[:SENT_MAX], self._kept[SENT_MAX:]
            await self._send(part)

    async def _send(self, part: Sequence[tuple[Ticket, Shown, datetime]]) -> None:
        ended = [ticket.ended for ticket, _, _ in part]
        items = []
        for _, shown, at in part:
            self._check_ins.sent(shown)
            items.append({"id": shown.id, "code": shown.code, "device": shown.device, "at": at.isoformat()})
        answer = await self._visitor.insist("POST", "/admin/tickets/check-ins", json={"items": items})
        assert answer is not None
        for (_, shown, _), was_ended, result in zip(part, ended, answer.ok()["items"], strict=True):
            assert (result["id"], result["ticket_id"]) == (shown.id, shown.ticket_id), result
            check_in = result["check_in"]
            self._check_ins.answered(shown, result["outcome"], check_in, "later", ended=was_ended)

    async def follow(self) -> None:
        """Learn all that has changed."""
        more = True
        while more:
            answer = await self._visitor.insist("GET", self.known.path)
            assert answer is not None
            more = self.known.learn(answer.ok())


def _met(answer: Answer) -> tuple[str, Json | None]:
    """What a check-in has met, in the words of those that are sent later."""
    if answer.status == 200:
        return "ok", answer.body
    if answer.code == "ticket_used":
        return "used", {"id": answer.body["check_in_id"], "device": answer.body["device"]}
    return "cancelled" if answer.code == "ticket_cancelled" else f"{answer.status} {answer.body}", None


class Door:
    """All scanners. They follow `event`."""

    def __init__(self, judge: Judge, seed: int, visitors: Sequence[Visitor], event: Json) -> None:
        self._judge = judge
        self._seed = seed
        self._visits = 0
        self.check_ins = CheckIns(judge)
        self.scanners = [
            Scanner(f"scanner {number}", visitor, event, self.check_ins) for number, visitor in enumerate(visitors)
        ]
        self._recent: deque[Ticket] = deque(maxlen=RECENT)
        self._let_in: deque[str] = deque(maxlen=RECENT)

    async def visit(self, shoppers: Sequence[Shopper]) -> None:
        """One thing that happens at the door."""
        self._visits += 1
        chance = random.Random(f"{self._seed}/door {self._visits}")
        try:
            async with asyncio.timeout(JOURNEY_S):
                await self._visit(chance, shoppers, outage=self._visits % OUTAGE_EVERY == 1)
        except TimeoutError:
            self._judge.breaks("a client comes to an end", f"at the door, visit {self._visits}")

    async def _visit(self, chance: random.Random, shoppers: Sequence[Shopper], *, outage: bool) -> None:
        if outage:
            # Never all of them: somebody lets in who cannot be let in without a network.
            await chance.choice(self.scanners[1:]).lose_network(chance.uniform(*OUTAGE_S))
            return
        if self._let_in and chance.random() < UNDO:
            await self.scanners[0].undo(chance.choice(self._let_in))
            return
        again = self._recent and chance.random() < AGAIN
        ticket = chance.choice(self._recent) if again else await self._fetched(chance, shoppers)
        if ticket is None:
            return
        self._recent.append(ticket)
        offline = [each for each in self.scanners if each.offline and each.known.event_id == ticket.event_id]
        if offline and chance.random() < AT_OFFLINE:
            scanners = [chance.choice(offline)]
        else:
            scanners = chance.sample(self.scanners, 2 if chance.random() < AT_ONCE else 1)
        ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in scanners]
        shown = (scanner.show(ticket, id) for scanner, id in zip(scanners, ids, strict=True))
        self._let_in += [each for each in await asyncio.gather(*shown) if each is not None]

    async def _fetched(self, chance: random.Random, shoppers: Sequence[Shopper]) -> Ticket | None:
        """A ticket of one of the last bookings of a customer; None if none of these is confirmed."""
        customer = chance.choice(shoppers).visitor
        last = islice(reversed(customer.witness.newest.values()), RECENT)
        confirmed = [each["id"] for each in last if each["status"] == "confirmed"]
        if not confirmed:
            return None
        id = chance.choice(confirmed)
        answer = await customer.insist("GET", f"/bookings/{id}/tickets")
        assert answer is not None
        found = answer.ok()
        tickets = [
            Ticket(found["event"]["id"], id, each["id"], each["code"], customer)
            for each in found["items"]
            if each["code"] is not None
        ]
        return chance.choice(tickets) if tickets else None
