"""Calendar entries as RFC 5545 has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts.statuses import BookingStatus
from common.contracts.tickets import BookingTickets
from common.icalendar import LINE_BYTES, calendar, folded
from gateway.examples import BOOKING_ID, EXAMPLES

NOW = datetime(2030, 4, 1, 12, 30, 5, tzinfo=UTC)
TICKETS = EXAMPLES["BookingTickets"]


def entry(status: str = "confirmed", seats: Any = TICKETS["seats"], **event: Any) -> dict[str, str]:
    """The properties of the entry, as a calendar reads them."""
    values = TICKETS | {"status": status, "seats": seats, "event": TICKETS["event"] | event}
    text = calendar(BookingTickets.model_validate(values), NOW)
    assert text.endswith("END:VCALENDAR\r\n")
    for line in text.removesuffix("\r\n").split("\r\n"):
        assert 0 < len(line.encode()) <= LINE_BYTES
        assert "\n" not in line
    unfolded = text.replace("\r\n ", "").removesuffix("\r\n").split("\r\n")
    assert unfolded[:2] == ["BEGIN:VCALENDAR", "VERSION:2.0"]
    return dict(line.split(":", 1) for line in unfolded)


def test_an_entry_has_all_that_it_needs() -> None:
    expected = {
        "UID": BOOKING_ID,
        "DTSTAMP": "20300401T123005Z",
        "DTSTART": "20300501T193000Z",
        "SEQUENCE": "2",
        "STATUS": "CONFIRMED",
        "SUMMARY": "Opening night",
    }
    assert expected.items() <= entry().items()


@pytest.mark.parametrize("status", BookingStatus)
def test_the_status_is_that_of_the_booking(status: BookingStatus) -> None:
    expected = {"pending": "TENTATIVE", "confirmed": "CONFIRMED"}.get(status, "CANCELLED")
    found = entry(status)
    # An entry with a lower or equal number does not replace one.
    assert (found["STATUS"], found["SEQUENCE"]) == (expected, "3" if expected == "CANCELLED" else "2")


def test_the_entry_of_a_cancelled_event_is_cancelled() -> None:
    assert entry(called_off_at=NOW)["STATUS"] == "CANCELLED"


def test_times_are_in_utc() -> None:
    assert entry(starts_at="2030-05-01T21:30:00+02:00")["DTSTART"] == "20300501T193000Z"


@given(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])))
def test_texts_are_escaped_and_read_back(text: str) -> None:
    found = entry(name=text)["SUMMARY"]
    plain, escaped = "", False
    for character in found:
        if escaped:
            plain += "\n" if character == "n" else character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            assert character not in ";,"
            plain += character
    assert plain == text


def test_every_ticket_type_is_named() -> None:
    seats = [{"ticket_type_id": BOOKING_ID, "name": name, "quantity": 2} for name in ("Stalls; left", "Box, 1")]
    named = "2 × Stalls\\; left\\n2 × Box\\, 1\\nAda Lovelace\\nHF-5WE8-Y3KA"
    assert entry(seats=seats)["DESCRIPTION"] == named


@pytest.mark.parametrize(
    ("venue", "location"),
    [
        (TICKETS["event"]["venue"], "Stadttheater\\, Am Markt 1\\, 99423 Weimar\\, DE"),
        ({"name": "Hall 1; left"}, "Hall 1\\; left"),
        (None, None),
    ],
)
def test_the_place_is_one_line(venue: Any, location: str | None) -> None:
    assert entry(venue=venue).get("LOCATION") == location


@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=400))
def test_lines_are_folded_between_characters(text: str) -> None:
    parts = list(folded(text))
    assert all(len(part.encode()) <= LINE_BYTES for part in parts)
    assert all(part.startswith(" ") for part in parts[1:])
    assert parts[0] + "".join(part[1:] for part in parts[1:]) == text
