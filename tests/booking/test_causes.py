"""The causes of transitions that clients are told of are those that there are."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from booking.handlers import BookingHandlers
from common.contracts.messages import REPORT_TYPES, RequestPayment, SellSeats
from common.contracts.open_enums import CAUSES


def test_every_message_that_changes_a_booking_is_listed() -> None:
    """RequestPayment asks for what there is, and changes nothing. SellSeats has a handler of its own."""
    mock: Any = Mock()
    commands = BookingHandlers(mock, mock, mock, mock, mock).commands.keys() - {RequestPayment}
    kinds: set[type[Any]] = {*commands, SellSeats}
    assert set(CAUSES) == {"time", *REPORT_TYPES, *(name for kind in kinds for name in kind.types)}
