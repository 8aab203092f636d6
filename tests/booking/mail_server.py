"""A real mail server (aiosmtpd) in this process, whose answers a test chooses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


class MailServerInTests:
    """`received`: the mails that it has taken. `answers`: what it says at its next mails, in order: to RCPT ("rcpt
    450 later"), to MAIL ("mail 550 no"), to the data ("data 554 no"), or nothing, after it has taken the mail
    ("lost")."""

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.users: list[str] = []
        self.answers: list[str] = []
        self.port = 0

    def _answer(self, step: str) -> str | None:
        if self.answers and self.answers[0].startswith(step):
            return self.answers.pop(0).removeprefix(step).strip()
        return None

    async def handle_MAIL(self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        envelope.mail_from = address
        return self._answer("mail") or "250 OK"

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if (answer := self._answer("rcpt")) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:
        if (answer := self._answer("data")) is not None:
            return answer
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.received.append(message)
        self.recipients += envelope.rcpt_tos
        if self._answer("lost") is not None:
            cast(asyncio.Transport, server.transport).abort()
        return "250 OK"

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, auth: Any) -> AuthResult:
        self.users.append(auth.login.decode())
        return AuthResult(success=auth.password == b"right")


@asynccontextmanager
async def mail_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, auth: bool = False
) -> AsyncIterator[MailServerInTests]:
    """Serves on a free port of the loopback interface."""
    stand, loop = MailServerInTests(), asyncio.get_running_loop()
    made: Callable[[], SMTP] = lambda: SMTP(  # noqa: E731
        stand,
        hostname="localhost",
        loop=loop,
        tls_context=starttls,
        require_starttls=starttls is not None,
        auth_required=auth,
        authenticator=stand.authenticate if auth else None,
    )
    server = await loop.create_server(made, "127.0.0.1", 0, ssl=tls)
    stand.port = server.sockets[0].getsockname()[1]
    try:
        yield stand
    finally:
        server.close()
