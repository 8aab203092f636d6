"""Identifiers: UUIDv7 for what is new (sortable by time), UUIDv5 for what must come out the same again; traces."""

from __future__ import annotations

import os
import random
import secrets
import time
from uuid import UUID, uuid5

# The namespace of booking ids; changing it would let an old Idempotency-Key book a second time.
BOOKINGS = UUID("5b0bd8a4-5a3c-5a53-9d0f-0d9a1f0f6c11")


# Seeded once by the system, whose own source costs a call for each id.
_random = random.Random(os.urandom(32))


def uuid7() -> UUID:
    """A new time-ordered id (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def message_id() -> str:
    """A new UUIDv7 as text, for what must differ and need not be unguessable: a message costs a quarter so."""
    value = (time.time_ns() // 1_000_000) << 80 | _random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    text = f"{value & ~(0x3 << 62) | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_traceparent() -> str:
    """A new W3C trace (https://www.w3.org/TR/trace-context/), marked as sampled."""
    ids = secrets.token_hex(24)
    return f"00-{ids[:32]}-{ids[32:]}-01"


def booking_id(subject: str, idempotency_key: str | None) -> UUID:
    """The id of the booking that `subject` asks for: with a key always the same one, else a new one."""
    return uuid7() if idempotency_key is None else uuid5(BOOKINGS, f"{subject}\0{idempotency_key}")
