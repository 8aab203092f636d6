"""Buys a ticket with the client that openapi-python-client has made: the package `holdfast_client`.

`buy.py <gateway> <operator's token>` prints the guest's token and booking as JSON, waits for a line (the test has
paid), and prints how the booking stands.
"""

import json
import sys
from datetime import UTC, datetime
from uuid import uuid4

from holdfast_client.api.admin import create_event
from holdfast_client.api.bookings import create_booking, get_booking, list_bookings
from holdfast_client.api.events import get_event
from holdfast_client.api.tokens import create_guest
from holdfast_client.models import (
    Booking,
    Event,
    EventDetails,
    GuestToken,
    KnownBookingReason,
    NewBooking,
    NewBookingItem,
    NewEvent,
    NewEventCurrency,
    NewEventTicketType,
    Problem,
)

from holdfast_client import AuthenticatedClient, Client

url, operators_token = sys.argv[1:]
operator = AuthenticatedClient(base_url=url, token=operators_token, raise_on_unexpected_status=True)
made = create_event.sync(
    client=operator,
    idempotency_key=str(uuid4()),
    body=NewEvent(
        name="Generated in Python",
        starts_at=datetime(2090, 5, 1, tzinfo=UTC),
        currency=NewEventCurrency.EUR,
        ticket_types=[NewEventTicketType(name="Row", unit_amount=4500, capacity=10)],
    ),
)
assert isinstance(made, Event), made
anybody = Client(base_url=url, raise_on_unexpected_status=True)
event = get_event.sync(made.id, client=anybody)
assert isinstance(event, EventDetails), event
assert event.time_zone == "UTC", event

guest = create_guest.sync(client=anybody)
assert isinstance(guest, GuestToken), guest
customer = AuthenticatedClient(base_url=url, token=guest.token, raise_on_unexpected_status=True)
items = [NewBookingItem(ticket_type_id=event.ticket_types[0].id, quantity=2)]
dearer = create_booking.sync(
    client=customer,
    idempotency_key=str(uuid4()),
    body=NewBooking(event_id=event.id, items=items, expected_amount=8000),
)
assert isinstance(dearer, Problem), dearer
assert (dearer.code, dearer.amount, dearer.expected_amount) == ("price_changed", 9000, 8000), dearer
booking = create_booking.sync(
    client=customer, idempotency_key=str(uuid4()), body=NewBooking(event_id=event.id, items=items)
)
assert isinstance(booking, Booking), booking
sys.stdout.write(json.dumps({"token": guest.token, "booking": booking.to_dict()}) + "\n")
sys.stdout.flush()

sys.stdin.readline()
now = get_booking.sync(booking.id, client=customer)
assert isinstance(now, Booking), now
listed = list_bookings.sync(client=customer)
assert [each.id for each in listed.items] == [now.id]
# A reason that this client does not know is a text: nothing breaks.
unknown = Booking.from_dict(now.to_dict() | {"reason": "of_a_later_release"})
assert not isinstance(unknown.reason, KnownBookingReason)
assert Booking.from_dict(now.to_dict() | {"reason": "sold_out"}).reason is KnownBookingReason.SOLD_OUT
sys.stdout.write(json.dumps({"status": now.status, "payment": now.payment.status}) + "\n")
