"""The one rule by which seats are kept for those who wait, as SQL: whatever no booking has, up to what they want.

A reserved seat counts as held: what sells seats, also a process of the release before, finds it taken without
knowing of waiting lists. `held - reserved` is what bookings hold.
"""

from __future__ import annotations


def reserving(
    *, held: str = "0", sold: str = "0", waiting: str = "0", taken: str = "0", capacity: str = "t.capacity"
) -> str:
    """Assignments for a row `t` of ticket_types: `held` and `reserved` after bookings have added this to what they
    hold and have `sold`, and the entries to what they want (`waiting`). `taken`: seats that leave the reserved ones
    without being held, for a booking that the next statement of this transaction writes. The caller writes `sold`,
    `waiting` and `capacity`."""
    unbooked = f"{capacity} - (t.held - t.reserved) - t.sold - ({held}) - ({sold}) - ({taken})"
    reserved = f"least(t.waiting + ({waiting}), {unbooked})"
    return f"held = t.held - t.reserved + ({held}) + {reserved}, reserved = {reserved}"
