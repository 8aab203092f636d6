"""The mail server of the simulation, and what must hold of mails when all is finished."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from types import SimpleNamespace
from typing import Any, cast

from aiosmtplib import SMTP

from booking.smtp import MailNotTaken, MailServer, MailServerUnavailable
from common.runtime.urls import smtp_options
from tests.announced import mail_findings
from tests.simulation.faults import Fault, Point
from tests.simulation.gates import Gates

DOMAIN = "simulation.example"
PROMISE = "who is owed a mail gets it once"


class SimulatedMailServer(MailServer):
    """Takes mails, with every fault that a mail server has."""

    def __init__(self, gates: Gates) -> None:
        super().__init__(smtp_options("smtp://no.network.example"), timeout_s=1.0)
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
    for finding in await mail_findings(world.lasting.booking.raw, world.mail.taken, DOMAIN):
        world.story.violate(PROMISE, finding)
