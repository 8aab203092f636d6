"""Who is notified of changes: a mail server and a receiver of webhooks. At times both refuse, or lose answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from enum import Enum
from uuid import UUID

import orjson
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.announced import EXPECTED_TYPES, Key
from tests.booking.mail_server import MailServerInTests, mail_server
from tests.booking.receiver import open_receiver
from tests.chaos.judge import Judge
from tests.chaos.visitor import Visitor

# Of the Message-IDs.
DOMAIN = "chaos.example"
# One in so many orders says to whom mails about it go.
ADDRESSED = 3
SIGNED = "webhooks say what has changed, signed"


class Refusal(Enum):
    """What goes wrong: a mail or webhook is not taken, or it is, and the answer is lost."""

    NOT_NOW = "not now"
    LOST = "lost"


class Mails:
    """What the mail server has taken. `refused`: how often it, or its answer, was not what it should be."""

    def __init__(self, server: MailServerInTests) -> None:
        self._server = server

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._server.port}?starttls=no"

    @property
    def refused(self) -> int:
        return self._server.said

    def refuse(self, refusal: Refusal | None) -> None:
        """Do so until this is called again."""
        self._server.always = {None: "", Refusal.NOT_NOW: "rcpt 450 not now", Refusal.LOST: "lost"}[refusal]

    @property
    def taken(self) -> Mapping[str, list[EmailMessage]]:
        """By Message-ID."""
        found: dict[str, list[EmailMessage]] = defaultdict(list)
        for each in self._server.received:
            found[each["Message-ID"]].append(each)
        return found


class Receiver:
    """Receives webhooks at `url`. `received`: by what they are about, the ids under which they came; `requests`:
    how many it has taken."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.secret = ""
        self._refusal: Refusal | None = None
        self.url = ""
        self.refused = 0
        self.requests = 0
        self.received: dict[Key, set[str]] = defaultdict(set)

    async def register(self, operator: Visitor) -> None:
        """From now on it gets all that can be expected."""
        body = {"url": self.url, "types": list(EXPECTED_TYPES)}
        answer = await operator.insist("POST", "/admin/webhook-endpoints", json=body)
        assert answer is not None
        self.secret = answer.ok(201)["secret"]

    def refuse(self, refusal: Refusal | None) -> None:
        """Do so until this is called again."""
        self._refusal = refusal

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.refused += self._refusal is not None
        if self._refusal is Refusal.NOT_NOW:
            return web.Response(status=503)
        self.take({name.lower(): value for name, value in request.headers.items()}, body)
        if self._refusal is Refusal.LOST and request.transport is not None:
            request.transport.abort()
        return web.Response(status=204)

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take a webhook in, if it is signed by the secret."""
        self.requests += 1
        try:
            Webhook(self.secret).verify(body, dict(headers))
        except WebhookVerificationError as error:
            self._judge.breaks(SIGNED, f"{error}: {body!r}")
            return
        message = orjson.loads(body)
        data = message["data"]
        self.received[message["type"], UUID(data["id"]), message["version"]].add(headers["webhook-id"])
        if data.get("terms_version", data["version"]) < message["version"]:
            self._judge.breaks(SIGNED, f"older than the change: {message}")
        if data.get("payment", {}).get("client_secret") is not None:
            self._judge.breaks(SIGNED, f"with the client secret: {message}")


@dataclass(frozen=True)
class Notified:
    mails: Mails
    receiver: Receiver


@asynccontextmanager
async def open_notified(judge: Judge) -> AsyncIterator[Notified]:
    receiver = Receiver(judge)
    async with mail_server() as server, open_receiver(receiver.answer) as stand:
        receiver.url = stand.url()
        yield Notified(Mails(server), receiver)
