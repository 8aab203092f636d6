"""The mail server of the simulation, and what must hold of mails when all is finished."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid5

from aiosmtplib import SMTP

from booking.smtp import MailNotTaken, MailServer, MailServerUnavailable
from tests.simulation.faults import Fault, Point
from tests.simulation.gates import Gates

DOMAIN = "simulation.example"
PROMISE = "who is owed a mail gets it once"
UNANNOUNCED = "SELECT id FROM bookings WHERE announce_from IS NOT NULL"
MAILS = "SELECT id, booking_id, kind, status, version, amount, attempts, error FROM mails"
# Whose customer has never changed, with what became of them: by these alone it is known who was owed a mail.
KNOWN = """
SELECT b.id, t.version, t.from_status, t.to_status, coalesce(t.amount_refunded, 0) AS amount_refunded
FROM bookings b JOIN booking_transitions t ON t.booking_id = b.id
WHERE b.customer IS NOT NULL AND NOT EXISTS (
    SELECT FROM booking_transitions c WHERE c.booking_id = b.id AND c.cause_type = 'booking.set_customer'
) ORDER BY b.id, t.version
"""


class SimulatedMailServer(MailServer):
    """Takes mails, with every fault that a mail server has."""

    def __init__(self, gates: Gates) -> None:
        """Without a network."""
        self._gates = gates
        # By Message-ID: the mails that were taken, and the attempts whose outcome the sender may not have learned.
        self.taken: dict[str, list[EmailMessage]] = defaultdict(list)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[SMTP]:
        if self._gates.strikes(Fault.MAIL_SERVER_UNAVAILABLE):
            raise MailServerUnavailable("made up: no connection")
        yield cast(SMTP, SimpleNamespace(is_connected=True))

    async def send(self, smtp: SMTP, message: EmailMessage, sender: str, recipient: str) -> None:
        await self._gates.reach(Point.AROUND_MAIL)
        if self._gates.strikes(Fault.MAIL_NOT_NOW):
            raise MailNotTaken("made up: 450 not now")
        self.taken[message["Message-ID"]].append(message)
        if self._gates.strikes(Fault.MAIL_ANSWER_LOST):
            cast(Any, smtp).is_connected = False
            raise MailNotTaken("made up: the answer was lost")
        await self._gates.reach(Point.AROUND_MAIL)


async def check_mails(world: Any) -> None:
    """Every mail that is owed was sent, under one id, and nothing is sent that nobody is owed."""
    raw, taken, violate = world.lasting.booking.raw, world.mail.taken, world.story.violate
    for row in await raw.fetch(UNANNOUNCED):
        violate(PROMISE, f"{row['id']}: not announced")
    mails = {row["id"]: row for row in await raw.fetch(MAILS)}
    ids = {f"<{id}@{DOMAIN}>": row for id, row in mails.items()}
    for id, row in mails.items():
        copies = len(taken.get(f"<{id}@{DOMAIN}>", ()))
        if row["status"] not in ("sent", "dropped") or (row["status"] == "sent" and not copies):
            violate(PROMISE, f"{id}, {row['kind']} of {row['booking_id']}: {row['status']}, sent {copies} times")
        if copies > row["attempts"]:
            violate(PROMISE, f"{id}: sent {copies} times by {row['attempts']} attempts")
    for message_id in taken.keys() - ids.keys():
        violate(PROMISE, f"{message_id} was sent, and nobody knows of it")
    refunded: dict[Any, int] = defaultdict(int)
    for row in mails.values():
        refunded[row["booking_id"]] += row["amount"] or 0
    known = await raw.fetch(KNOWN)
    for row in known:
        became = row["to_status"] if row["to_status"] != row["from_status"] else None
        owed = became == "confirmed" or (became == "cancelled" and row["from_status"] == "confirmed")
        if owed and uuid5(row["id"], f"{row['version']}/booking.{became}") not in mails:
            violate(PROMISE, f"{row['id']} v{row['version']}: no mail is owed")
    # A refund that was made can fail later: what went back is then less than before.
    went_back: dict[Any, int] = defaultdict(int)
    before: dict[Any, int] = {}
    for row in known:
        went_back[row["id"]] += max(0, row["amount_refunded"] - before.get(row["id"], 0))
        before[row["id"]] = row["amount_refunded"]
    for id, amount in went_back.items():
        if refunded[id] != amount:
            violate(PROMISE, f"{id}: {amount} went back, and mails say {refunded[id]}")
