"""`docs/states.md` shows the state table of the code."""

from __future__ import annotations

from pathlib import Path

from booking.domain import TABLE
from booking.triggers import Trigger
from common.contracts.statuses import BookingStatus, IntentStatus, PaymentStatus, Reason

DOCUMENT = (Path(__file__).parents[2] / "docs" / "states.md").read_text()


def shown(document: str) -> set[tuple[BookingStatus, Trigger]]:
    """Every status and trigger that stand in one row of the document's table."""
    table = document.split("### What can happen to it")[1].split("\n#")[0]
    pairs = set()
    for line in table.splitlines():
        if line.startswith("| ") and not line.startswith("| from"):
            first, second = (cell.replace("`", "").strip() for cell in line.split("|")[1:3])
            statuses = [BookingStatus(name) for name in first.split(", ")]
            pairs |= {(status, Trigger(name)) for status in statuses for name in second.split(", ")}
    return pairs


def test_the_document_has_the_rows_of_the_table() -> None:
    """No row is missing, and none is there that the code does not have."""
    assert shown(DOCUMENT) == set(TABLE)


def test_the_document_names_every_status_and_reason() -> None:
    """By their names in the API."""
    names = [*BookingStatus, *PaymentStatus, *IntentStatus]
    named = [name.value for name in names if name.value not in DOCUMENT]
    reasons = {Reason.SOLD_OUT, Reason.HOLD_EXPIRED, Reason.PAYMENT_REJECTED, Reason.PAYMENT_MISMATCH}

    assert named == []
    assert [
        reason for reason in reasons | {Reason.PAYMENT_CANCELED, Reason.REFUNDED} if reason not in DOCUMENT
    ] == []
