"""What scanners were answered, and whether it is consistent: nobody is let in twice, and no check-in is lost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.acceptance.client import Json
from tests.chaos.judge import Judge

ONCE = "a ticket lets somebody in once"
STAYS = "a check-in that was answered stays"
UNDONE = "a check-in that was undone stays undone"
ENDED = "a ticket that has ended lets nobody in"
MET = "scanners are answered what they have met"


class Shown(NamedTuple):
    """A ticket that was shown at a scanner. `id`: the scanner's own, the same however often it is sent; `device`:
    names this once alone, so that each check-in in an answer or in the database is known by it."""

    id: str
    device: str
    ticket_id: str
    booking_id: str
    code: str


class Kept(NamedTuple):
    """A check-in as the database has it."""

    ticket_id: str
    device: str
    undone: bool


@dataclass
class CheckIns:
    """All that all scanners were answered. `outcomes`: how often, by how they were sent and by what they met;
    `let_in`: by ticket, the check-ins that let somebody in; `by_id`: their ids, of a check-in that another one has
    met too, with ticket and device."""

    judge: Judge
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    let_in: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    by_id: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Whose bookings had ended, as scanners were answered.
    ended: set[str] = field(default_factory=set)
    _shown: set[str] = field(default_factory=set)
    # For which an undo was sent, and those that are undone, with the time of it.
    _undoing: set[str] = field(default_factory=set)
    _undone: dict[str, str] = field(default_factory=dict)

    def sent(self, shown: Shown) -> None:
        self._shown.add(shown.device)

    def answered(self, shown: Shown, outcome: str, check_in: Json | None, how: str, *, ended: bool) -> None:
        """`how`: by which request; `ended`: before this was sent, the ticket's customer was shown that the booking
        had ended."""
        self.outcomes[how, outcome] += 1
        if outcome == "ok":
            assert check_in is not None
            if ended:
                self.judge.breaks(ENDED, f"{shown}: {check_in}")
            self._let(shown, check_in)
        elif outcome == "used":
            assert check_in is not None
            if check_in["device"] == shown.device:
                self.judge.breaks(MET, f"{shown} has met itself: {check_in}")
            self._learn(check_in["id"], shown.ticket_id, check_in["device"])
        elif outcome == "cancelled":
            self.ended.add(shown.booking_id)
        else:
            self.judge.breaks(MET, f"{shown}: {outcome}")

    def _let(self, shown: Shown, check_in: Json) -> None:
        ids = self.let_in[shown.ticket_id]
        if others := ids - self._undoing - {check_in["id"]}:
            self.judge.breaks(ONCE, f"{shown} by {check_in['id']}, and by {others}")
        ids.add(check_in["id"])
        self._learn(check_in["id"], shown.ticket_id, shown.device)

    def _learn(self, id: str, ticket_id: str, device: str) -> None:
        if (known := self.by_id.setdefault(id, (ticket_id, device))) != (ticket_id, device):
            self.judge.breaks(STAYS, f"{id} was {known}, is {(ticket_id, device)}")

    def undoing(self, id: str) -> None:
        """An undo is about to be sent."""
        self._undoing.add(id)

    def undone(self, id: str, at: str | None) -> None:
        """An undo is answered. Repeated, it changes nothing."""
        self.outcomes["undo", "undone"] += 1
        if at is None or self._undone.setdefault(id, at) != at:
            self.judge.breaks(UNDONE, f"{id} was undone at {self._undone.get(id)}, and at {at}")

    def compare(self, kept: Mapping[str, Kept], confirmed: Collection[str]) -> None:
        """At the end the database has all that scanners were answered. `confirmed`: the bookings that are so."""
        for id, known in self.by_id.items():
            row = kept.get(id)
            if row is None or row[:2] != known:
                self.judge.breaks(STAYS, f"{id} was {known}, is {row}")
            elif row.undone if id not in self._undoing else id in self._undone and not row.undone:
                self.judge.breaks(UNDONE, f"{id}: undone at {self._undone.get(id)}, is {row}")
        for id, row in kept.items():
            if row.device not in self._shown:
                self.judge.breaks(STAYS, f"nobody has sent {id}: {row}")
        counting = Counter(row.ticket_id for row in kept.values() if not row.undone)
        for ticket_id, times in counting.items():
            if times > 1:
                self.judge.breaks(ONCE, f"{times} check-ins of {ticket_id} count")
        if wrong := self.ended & set(confirmed):
            self.judge.breaks(MET, f"confirmed, and scanners were answered that they had ended: {wrong}")
