"""Tickets follow from their booking: which there are, their states, their codes, and who sees them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from booking.settings import BookingSettings
from booking.state import Event
from booking.ticket_codes import CODE_CHARACTERS, PAYLOAD, TicketCodes
from booking.tickets import Ticket, has_tickets, refused, state_of, tickets_of
from common.contracts.codes import reference_of
from common.contracts.errors import NotFound
from common.contracts.messages import (
    CheckInEntry,
    CheckInTickets,
    GetSigningKeys,
    GetTickets,
    ItemRequest,
    SetCustomer,
)
from common.contracts.resources import Booking
from common.contracts.statuses import (
    BookingStatus,
    CancelReason,
    CheckInOutcome,
    IntentStatus,
    Reason,
    TicketState,
)
from common.contracts.tickets import BookingTickets
from common.contracts.values import Customer, Venue
from tests.booking.samples import booking as sample
from tests.booking.stage import SIGNING_KEY as KEY
from tests.booking.stage import Show, Stage, report

OTHER_KEY = "another-private-key-of-some-32-bytes-abcdef"
TICKET = Ticket(uuid4(), uuid4(), uuid4(), 3)
CODES = TicketCodes([KEY])
EVENT = Event(uuid4(), "Concert", datetime(2030, 1, 1, tzinfo=UTC), "eur", True, 10, {})


async def tickets(stage: Stage, id: UUID, owner: str | None = "alice", **wanted: Any) -> BookingTickets:
    (reply,) = await stage.call(GetTickets(booking_id=id, owner=owner, **{"limit": 200, **wanted}))
    assert reply.error is None, reply
    return BookingTickets.model_validate(reply.result)


# --- the rules


@pytest.mark.parametrize(("status", "reason", "used"), list(product(BookingStatus, [None, *Reason], [False, True])))
def test_only_tickets_of_confirmed_bookings_are_good(status: BookingStatus, reason: str | None, used: bool) -> None:
    booking = sample(status)._replace(reason=reason)
    ticket, *_ = tickets_of(booking)
    state = state_of(ticket, booking, EVENT, used=used)
    if status is BookingStatus.CONFIRMED:
        assert state is (TicketState.USED if used else TicketState.VALID)
    else:
        assert state is (TicketState.REFUNDED if reason == Reason.REFUNDED else TicketState.CANCELLED)


@pytest.mark.parametrize("used", [False, True])
def test_what_a_refund_or_the_end_of_the_event_has_cancelled_is_good_no_more(used: bool) -> None:
    booking = sample(BookingStatus.CONFIRMED)
    one, other = tickets_of(booking)
    part = booking._replace(cancelled_seats=(other.seat,))
    cancelled = EVENT._replace(called_off_at=EVENT.starts_at)
    good = TicketState.USED if used else TicketState.VALID
    assert [state_of(each, part, EVENT, used=used) for each in (one, other)] == [good, TicketState.REFUNDED]
    assert state_of(one, booking, cancelled, used=used) is TicketState.CANCELLED


@pytest.mark.parametrize(("status", "was_confirmed"), list(product(BookingStatus, [False, True])))
def test_a_booking_has_tickets_once_it_was_confirmed(status: BookingStatus, was_confirmed: bool) -> None:
    there = status is BookingStatus.CONFIRMED or (status is BookingStatus.CANCELLED and was_confirmed)
    assert has_tickets(sample(status), was_confirmed=was_confirmed) is there


@pytest.mark.parametrize(("status", "seat"), list(product([None, *BookingStatus], [False, True])))
def test_only_sold_seats_let_people_in(status: BookingStatus | None, seat: bool) -> None:
    why = refused(status, seat=seat)
    if not seat or status in (None, BookingStatus.PENDING, BookingStatus.FAILED):
        assert why is CheckInOutcome.INVALID
    else:
        assert why is (CheckInOutcome.CANCELLED if status is BookingStatus.CANCELLED else None)


# --- codes


def test_a_code_is_as_it_is_documented() -> None:
    """Read here with nothing of ours but the public key: docs/tickets.md."""
    code = CODES.sign(TICKET)
    assert code is not None
    raw = base64.b32decode(code)
    assert (len(code), len(raw)) == (216, 135)
    (shown,) = CODES.public.keys
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(shown.x + "="))
    key.verify(raw[71:], raw[:71])
    assert raw[0] == 1
    assert raw[1:5].hex() == shown.kid
    event, booking, kind = (UUID(bytes=raw[at : at + 16]) for at in (5, 21, 37))
    number = int.from_bytes(raw[53:55])
    assert (event, booking, kind, number) == TICKET
    assert UUID(bytes=raw[55:71]) == uuid5(booking, f"{kind}/{number}") == TICKET.id


def test_the_same_ticket_has_the_same_code_and_it_is_read_back() -> None:
    code = CODES.sign(TICKET)
    assert code == CODES.sign(TICKET)
    assert code is not None
    assert (CODES.read(code), CODES.read(code.lower()), CODES.read(f" {code}\n")) == (TICKET, TICKET, TICKET)


@given(st.integers(0, 134), st.integers(1, 255))
def test_a_code_with_any_byte_changed_is_none(at: int, flipped: int) -> None:
    raw = bytearray(base64.b32decode(CODES.sign(TICKET) or ""))
    raw[at] ^= flipped
    assert CODES.read(base64.b32encode(raw).decode()) is None


@given(st.text() | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=CODE_CHARACTERS, max_size=CODE_CHARACTERS))
def test_any_other_text_is_no_code(text: str) -> None:
    assert CODES.read(text) is None


def test_a_code_of_another_version_is_none() -> None:
    payload = PAYLOAD.pack(2, CODES._first.id, *(bytes(16),) * 3, 1, bytes(16))  # type: ignore[union-attr]
    signature = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(KEY + "=")).sign(payload)
    assert CODES.read(base64.b32encode(payload + signature).decode()) is None


def test_the_first_key_signs_and_all_check() -> None:
    """A rotation: the new key is added behind the old one, then put first, and the old one removed at last."""
    old, both, turned, new = (
        TicketCodes(keys) for keys in ([KEY], [KEY, OTHER_KEY], [OTHER_KEY, KEY], [OTHER_KEY])
    )
    by_old, by_new = old.sign(TICKET), new.sign(TICKET)
    assert by_old
    assert by_new
    assert (both.sign(TICKET), turned.sign(TICKET)) == (by_old, by_new)
    assert [[bool(codes.read(code)) for codes in (old, both, turned, new)] for code in (by_old, by_new)] == [
        [True, True, True, False],
        [False, True, True, True],
    ]
    assert [key.kid for key in turned.public.keys] == [new.public.keys[0].kid, old.public.keys[0].kid]


def test_without_a_key_there_are_no_codes() -> None:
    none = TicketCodes(())
    assert (none.sign(TICKET), none.read(CODES.sign(TICKET) or ""), none.public.keys) == (None, None, ())


@pytest.mark.parametrize(
    ("value", "complaint"),
    [(KEY[:-1], "32 bytes"), (f"{KEY},{KEY}", "twice"), (f"{KEY},short", "32 bytes"), ("#" * 43, "32 bytes")],
)
def test_wrong_keys_are_refused(value: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        BookingSettings(booking_database_url="postgresql://x/y", ticket_signing_keys=value)


# --- what is shown


async def test_each_seat_of_a_confirmed_booking_has_a_ticket_with_a_code(stage: Stage) -> None:
    show = await stage.show(10, 10, time_zone="Europe/Berlin")
    first, second = show.types
    booking = await bought(stage, show, {second: 2, first: 1})
    page = await tickets(stage, booking.id)
    assert [(each.ticket_type_id, each.number, each.state) for each in page.items] == [
        (second, 1, "valid"),
        (second, 2, "valid"),
        (first, 1, "valid"),
    ]
    expected = [Ticket(show.id, booking.id, each.ticket_type_id, each.number) for each in page.items]
    assert [CODES.read(each.code or "") for each in page.items] == expected
    assert [each.id for each in page.items] == [ticket.id for ticket in expected]
    assert [(each.name, each.quantity) for each in page.seats] == [("Type 1", 2), ("Type 0", 1)]
    assert page.event.starts_at_local == "2031-01-01T21:00:00+01:00"


async def test_tickets_say_where_it_is_and_whom_they_are_for(stage: Stage) -> None:
    venue = Venue("Stadttheater", city="Weimar")
    show = await stage.show(venue=venue)
    booking = await bought(stage, show, {show.types[0]: 1})
    page = await tickets(stage, booking.id)
    assert (page.event.venue, page.reference, page.holder) == (venue, reference_of(booking.id), None)
    ada = Customer("Ada Lovelace", "ada@example.com", "en-GB")
    await stage.give(SetCustomer(booking_id=booking.id, owner="alice", customer=ada))
    assert (await tickets(stage, booking.id)).holder == ada.name


async def test_tickets_come_in_pages_or_alone(stage: Stage) -> None:
    show = await stage.show()
    booking = await bought(stage, show, {show.types[0]: 3})
    everything = (await tickets(stage, booking.id)).items
    pages, after = [], 0
    while True:
        (reply,) = await stage.call(GetTickets(booking_id=booking.id, owner="alice", after=after, limit=2))
        pages.append([UUID(each["id"]) for each in reply.result["items"]])
        if reply.result["next"] is None:
            break
        (after,) = reply.result["next"]
    assert pages == [[each.id for each in everything[:2]], [everything[2].id]]
    assert (await tickets(stage, booking.id, ticket_id=everything[1].id)).items == everything[1:2]
    assert (await tickets(stage, booking.id, ticket_id=uuid4())).items == ()


async def test_what_was_never_paid_has_no_tickets(stage: Stage) -> None:
    show = await stage.show()
    pending = await stage.pending(show)
    assert (await tickets(stage, pending.id)).items == ()
    await stage.cancel(pending)
    await stage.apply(report(pending, IntentStatus.CANCELED, 2))
    assert (await stage.row(pending))["status"] == "cancelled"
    assert (await tickets(stage, pending.id)).items == ()


async def test_tickets_of_a_cancelled_booking_are_all_cancelled_and_have_no_codes(stage: Stage) -> None:
    show = await stage.show()
    booking = await bought(stage, show, {show.types[0]: 2})
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    page = await tickets(stage, booking.id)
    assert [(each.state, each.code) for each in page.items] == [("cancelled", None)] * 2


async def test_a_refund_of_a_part_leaves_tickets_valid_and_one_of_all_does_not(stage: Stage) -> None:
    show = await stage.show()
    booking = await bought(stage, show, {show.types[0]: 2})
    refunded = {"amount_captured": booking.amount, "refund_ids": (uuid4(),)}
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, **refunded, amount_refunded=100))
    assert [each.state for each in (await tickets(stage, booking.id)).items] == ["valid", "valid"]
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 4, **refunded, amount_refunded=booking.amount))
    assert [each.state for each in (await tickets(stage, booking.id)).items] == ["refunded", "refunded"]


async def test_only_its_owner_and_operators_see_a_bookings_tickets(stage: Stage) -> None:
    show = await stage.show()
    booking = await bought(stage, show, {show.types[0]: 1})
    (ticket,) = (await tickets(stage, booking.id)).items
    entry = CheckInEntry(id=uuid4(), code=ticket.code)
    await stage.call(CheckInTickets(by="box-office-7", entries=(entry,)))
    (own,) = (await tickets(stage, booking.id)).items
    (seen,) = (await tickets(stage, booking.id, owner=None)).items
    assert (own.state, own.used_at is not None, own.check_in) == ("used", True, None)
    assert seen.check_in is not None
    assert (seen.check_in.by, seen.check_in.at) == ("box-office-7", own.used_at)
    replies = await stage.call(
        *(GetTickets(booking_id=id, owner="mallory", limit=9) for id in (booking.id, uuid4()))
    )
    assert [reply.error for reply in replies] == [NotFound.code] * 2


async def test_the_public_keys_are_those_of_the_settings(stage: Stage) -> None:
    (reply,) = await stage.call(GetSigningKeys())
    assert reply.result == json.loads(CODES.public.as_json())


async def bought(stage: Stage, show: Show, quantities: dict[UUID, int]) -> Booking:
    """A paid booking of Alice's."""
    items = tuple(ItemRequest(ticket_type_id=id, quantity=quantity) for id, quantity in quantities.items())
    (made,) = await stage.book(show.order().model_copy(update={"items": items}))
    for version, status in enumerate((IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.SUCCEEDED), 1):
        (made,) = await stage.apply(report(made, status, version))
    return made
