"""The links in mails: each leads to its booking's page, and there gives a guest a token again, on any device.

Nothing is stored. A link's token is an HMAC of the booking's id and the address that the mail goes to: it is good
for as long as the booking has a customer with that address.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from booking.state import Booking
from common.contracts.codes import reference_of
from common.contracts.ids import is_guest

# 128 bits: nobody guesses one, and mail programs break no URL of that length.
TOKEN_BYTES = 16
# What is signed begins with it, so that no signature of another kind under the same secret is a link.
PURPOSE = b"holdfast link 1\0"


class Link(NamedTuple):
    """`opens`: it has a token, by which who has it can see and change what is its guest's."""

    url: str
    opens: bool


class Links:
    """`secrets`: the first signs, each is accepted; `url`: the public address, None: mails have no link; `last`:
    for how long after the event's start a link is good."""

    def __init__(self, secrets: Sequence[str] = (), url: str | None = None, last: timedelta = timedelta()) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._url = url
        self.last = last

    def make(self, booking: Booking, email: str) -> Link | None:
        """The link of a mail to this address. Only a guest's has a token: who issues the tokens of other owners
        signs them in as well."""
        if self._url is None:
            return None
        page = f"{self._url}/b/{reference_of(booking.id)}"
        if not self._secrets or not is_guest(booking.owner):
            return Link(page, opens=False)
        # Behind `#`: no browser sends that to a server, so that no log has it.
        return Link(f"{page}#link={_token(self._secrets[0], booking.id, email)}", opens=True)

    def opens(self, booking_id: UUID, email: str, link_hash: str) -> bool:
        """Whether this is the SHA-256 of the token of a link to the booking that was mailed to this address."""
        hashes = [sha256(_token(secret, booking_id, email).encode()).hexdigest() for secret in self._secrets]
        return any(hmac.compare_digest(each, link_hash) for each in hashes)


def _token(secret: bytes, booking_id: UUID, email: str) -> str:
    signed = PURPOSE + booking_id.bytes + email.lower().encode()
    return base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")[:TOKEN_BYTES]).decode().rstrip("=")
