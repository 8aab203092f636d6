"""The codes of tickets, which QR codes show: made with a private key, checked with the public ones. The format is
described byte by byte in docs/tickets.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from struct import Struct
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from booking.tickets import Ticket
from common.contracts.tickets import SigningKey, SigningKeys

VERSION = 1
# Version, key id, event, booking, ticket type, number, ticket.
PAYLOAD = Struct(">B4s16s16s16sH16s")
SIGNATURE_BYTES = 64
# Without padding: the bytes divide by five.
CODE_CHARACTERS = (PAYLOAD.size + SIGNATURE_BYTES) // 5 * 8
KEY_ID_BYTES = 4
SEED_BYTES = 32


def seed_of(text: str) -> bytes:
    """The private key that a setting holds: 32 bytes in base64url. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}=?", text):
        raise ValueError("each must be 32 bytes in base64url, which are 43 characters")
    return base64.urlsafe_b64decode(text[:43] + "=")


class _Key:
    """One private key, with what follows from it."""

    def __init__(self, text: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed_of(text))
        public: Ed25519PublicKey = self._private.public_key()
        self.sign, self.verify = self._private.sign, public.verify
        raw = public.public_bytes_raw()
        self.id = hashlib.sha256(raw).digest()[:KEY_ID_BYTES]
        self.shown = SigningKey(kid=self.id.hex(), x=base64.urlsafe_b64encode(raw).decode().rstrip("="))


class TicketCodes:
    """Signs with the first of `keys`, and accepts what any of them has signed."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` as the settings have them. Raises ValueError."""
        self._keys = {key.id: key for key in map(_Key, keys)}
        self._first = next(iter(self._keys.values()), None)
        self.public = SigningKeys(keys=tuple(key.shown for key in self._keys.values()))

    def sign(self, ticket: Ticket) -> str | None:
        """The ticket's code; None without a key. The same ticket and key always give the same code."""
        if (key := self._first) is None:
            return None
        event, booking, kind, number = ticket
        payload = PAYLOAD.pack(VERSION, key.id, event.bytes, booking.bytes, kind.bytes, number, ticket.id.bytes)
        return base64.b32encode(payload + key.sign(payload)).decode()

    def read(self, code: str) -> Ticket | None:
        """The ticket whose code this is, in upper or lower case; None if it is none that we have signed."""
        code = code.strip()  # scanners may add a line's end
        if len(code) != CODE_CHARACTERS:
            return None
        try:
            raw = base64.b32decode(code, casefold=True)
        except (binascii.Error, ValueError):
            return None
        payload, signature = raw[: PAYLOAD.size], raw[PAYLOAD.size :]
        version, key_id, event, booking, kind, number, _ = PAYLOAD.unpack(payload)
        key = self._keys.get(key_id)
        if version != VERSION or key is None:
            return None
        try:
            key.verify(signature, payload)
        except InvalidSignature:
            return None
        return Ticket(UUID(bytes=event), UUID(bytes=booking), UUID(bytes=kind), number)
