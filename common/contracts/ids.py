"""Identifiers: UUIDv7 for new things (sortable by time), UUIDv5 for what must get the same id again; trace ids."""

from __future__ import annotations

import os
import random
import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID, uuid5

# The namespace of booking ids. If it changed, an old Idempotency-Key would book a second time.
BOOKINGS = UUID("5b0bd8a4-5a3c-5a53-9d0f-0d9a1f0f6c11")

# That of the ids of waiting lists' entries: a key may be used for a booking and for an entry.
WAITING_ENTRIES = UUID("0b7a3a52-8f3d-5d0e-9d53-6f1d5b8e7c21")
# What the subjects of guests begin with.
GUEST = "guest_"


# Seeded once from the system's random source, which costs a system call for each id.
_random = random.Random(os.urandom(32))


def uuid7() -> UUID:
    """A new time-ordered id (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def id_and_time() -> tuple[str, str]:
    """Id and time of a new message as text: a UUIDv7 (unique, but it may be guessed) and an RFC 3339 time."""
    begin, at = _of_millisecond(time.time_ns() // 1_000_000)
    return f"{begin}-{_random.getrandbits(48):012x}", at


@lru_cache(maxsize=1)
def _of_millisecond(number: int) -> tuple[str, str]:
    """The part that all ids of one millisecond share, and its time: the messages of a batch mostly share one."""
    drawn = _random.getrandbits(26)
    begin = f"{number >> 16:08x}-{number & 0xFFFF:04x}-7{drawn >> 14:03x}-{0x8000 | drawn & 0x3FFF:04x}"
    return begin, datetime.fromtimestamp(number / 1000, UTC).isoformat(timespec="milliseconds")


def new_traceparent() -> str:
    """A new W3C trace (https://www.w3.org/TR/trace-context/), marked as sampled."""
    ids = secrets.token_hex(24)
    return f"00-{ids[:32]}-{ids[32:]}-01"


def new_guest() -> str:
    """The subject of a new guest."""
    return f"{GUEST}{uuid7().hex}"


def is_guest(subject: str) -> bool:
    """Whether it is a guest's subject: anybody can get any number of them."""
    return subject.startswith(GUEST)


def booking_id(subject: str, idempotency_key: str) -> UUID:
    """The id of the booking that `subject` asks for: the same for the same key."""
    return uuid5(BOOKINGS, f"{subject}\0{idempotency_key}")


def waiting_entry_id(subject: str, idempotency_key: str) -> UUID:
    """The id of the waiting list's entry that `subject` asks for: the same for the same key."""
    return uuid5(WAITING_ENTRIES, f"{subject}\0{idempotency_key}")


def offer_id(entry_id: UUID) -> UUID:
    """The id of the booking that is offered to an entry of a waiting list."""
    return uuid5(entry_id, "offer")


def ticket_id(booking_id: UUID, ticket_type_id: UUID, number: int) -> UUID:
    """The id of a ticket: the booking's seat of this ticket type with this number, counted from 1."""
    return uuid5(booking_id, f"{ticket_type_id}/{number}")
