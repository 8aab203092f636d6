"""Codes that people read, write and say: their alphabet, and the reference of a booking."""

from __future__ import annotations

import re
from uuid import UUID

# Without letters that are taken for digits, or for each other: https://www.crockford.com/base32.html
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUP = 4  # characters: easy to copy
# What people write for a digit, and between the groups.
_AS_READ = str.maketrans("OIL", "011", "- ")
_UNSEPARATED = str.maketrans("", "", "- ")
# What every reference begins with. Its 8 characters are the first 40 bits of the booking's id, which is a hash
# (`ids.booking_id`): of a million bookings two may have the same, so a search by it finds a list.
PREFIX = "HF"
REFERENCE = re.compile(f"(?:{PREFIX})?([{ALPHABET}]{{8}})")
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_BEHIND = 128 - 40


def grouped(code: str) -> str:
    """`code` in groups with hyphens between them."""
    return "-".join(code[begin : begin + GROUP] for begin in range(0, len(code), GROUP))


def as_read(written: str) -> str:
    """The characters of a code, however somebody has written them."""
    return written.upper().translate(_AS_READ)


def code_key(written: str) -> str:
    """By what an event's promo codes are told apart: case, spaces and hyphens do not count. Letters that look like
    digits do: operators choose the words."""
    return written.upper().translate(_UNSEPARATED)


def reference_of(booking_id: UUID | str) -> str:
    """By what people name a booking to each other, such as `HF-7K3M-9Q2T`: the same for the same id."""
    text = str(booking_id)
    number = int(text[:8] + text[9:11], 16)
    first, second = _PAIRS[number >> 30], _PAIRS[number >> 20 & 1023]
    return f"{PREFIX}-{first}{second}-{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"


def ids_of(reference: str) -> tuple[UUID, UUID] | None:
    """The first and the last id with this reference, however it is written; None for what can be no reference."""
    if (found := REFERENCE.fullmatch(as_read(reference))) is None:
        return None
    number = 0
    for character in found[1]:
        number = number << 5 | ALPHABET.index(character)
    return UUID(int=number << _BEHIND), UUID(int=(number + 1 << _BEHIND) - 1)
