"""Who asked for it: each change that somebody asked for, of bookings, events and refunds, names who did."""

from __future__ import annotations

from common.contracts.messages import RefundBooking
from tests.simulation.world import World

PROMISE = "who asked is named"
# Changes that a client has asked for, and those by which time has cancelled the paid bookings of an event.
NAMELESS = """
SELECT booking_id, version, cause_type FROM booking_transitions WHERE by IS NULL AND (
    cause_type IN ('booking.create', 'booking.cancel', 'booking.refund', 'booking.sell', 'booking.set_customer')
    OR (cause_type = 'time' AND from_status = 'confirmed' AND reason = 'event_cancelled')
)
"""
NAMELESS_OF_EVENTS = "SELECT event_id, version, what FROM event_changes WHERE by IS NULL OR changes IS NULL"
NAMELESS_REFUNDS = "SELECT id FROM refunds WHERE id = ANY($1::uuid[]) AND by IS NULL"


async def check_requesters(world: World, *, lost: bool) -> None:
    """`lost`: a database has lost rows. Then payment has some refunds from Stripe alone, which does not know who
    asked for them."""
    booking, payment = world.lasting.booking.raw, world.lasting.payment.raw
    for query in (NAMELESS, NAMELESS_OF_EVENTS):
        for id, version, what in await booking.fetch(query):
            world.story.violate(PROMISE, f"{id} v{version}: {what} by nobody")
    if lost:
        return
    messages = (request.message for request in world.people.requests.values())
    asked = [each.refund_id for each in messages if isinstance(each, RefundBooking)]
    for row in await payment.fetch(NAMELESS_REFUNDS, asked):
        world.story.violate(PROMISE, f"refund {row['id']} by nobody")
