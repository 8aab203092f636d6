"""What a client was shown of its bookings, and whether it is consistent: statuses and versions only go forward."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.acceptance.client import Json
from tests.chaos.judge import Judge

FORWARD = "a status never goes backwards"
SHOWN = "what was shown stays true"


class Fact(NamedTuple):
    """The status and payment status of one version of a booking."""

    status: str
    payment: str


def may_follow(before: Json, after: Json) -> bool:
    """Whether `before` can become `after` by the rows of docs/states.md, with any number of changes in between."""
    was, now = before["status"], after["status"]
    if was == "pending":
        return True
    if was == "confirmed":
        return bool(now == "confirmed" or (now == "cancelled" and after["reason"] != "hold_expired"))
    if was == "cancelled" and before["reason"] == "hold_expired":
        return now in ("cancelled", "confirmed")
    return bool((was, before["reason"]) == (now, after["reason"]))


@dataclass
class Witness:
    """All that one client was shown. `newest`: each booking's newest version; `facts`: by booking and version."""

    judge: Judge
    newest: dict[str, Json] = field(default_factory=dict)
    facts: dict[tuple[str, int], Fact] = field(default_factory=dict)

    def version(self, id: str) -> int:
        """The newest version of the booking that the client was shown; -1 if none."""
        return int(self.newest[id]["version"]) if id in self.newest else -1

    def shown(self, booking: Json, by: str, *, least: int = -1) -> None:
        """The client is shown `booking`, which must not be older than version `least`."""
        id, version = booking["id"], booking["version"]
        if version < 1:
            return  # the request is still in its mailbox: no booking exists yet
        if version < least:
            self.judge.breaks(FORWARD, f"{by}: booking {id} version {version} after {least}")
        fact = Fact(booking["status"], booking["payment"]["status"])
        known = self.facts.setdefault((id, version), fact)
        if known != fact:
            self.judge.breaks(SHOWN, f"{by}: booking {id} version {version} was {known}, is {fact}")
        before = self.newest.get(id)
        if before is None or version > before["version"]:
            if before is not None and not may_follow(before, booking):
                self.judge.breaks(FORWARD, f"{by}: booking {id} {_described(booking)} after {_described(before)}")
            self.newest[id] = booking
        elif not may_follow(booking, before):
            self.judge.breaks(FORWARD, f"{by}: booking {id} {_described(before)} after {_described(booking)}")

    def missing(self, id: str, by: str) -> None:
        """The gateway answers that there is no such booking."""
        if id in self.newest:
            self.judge.breaks(SHOWN, f"{by}: booking {id} is not found, and was {_described(self.newest[id])}")


def _described(booking: Json) -> str:
    reason = f" ({booking['reason']})" if booking["reason"] else ""
    return f"{booking['status']}{reason}, version {booking['version']}"
