"""How much of something there may be. Standard library only: the rules of the actors use them."""

from __future__ import annotations

# Of one event, also when they are added one by one: they are read and locked together.
TICKET_TYPES_MAX = 100
# Seats of one booking.
QUANTITY_MAX = 1000
