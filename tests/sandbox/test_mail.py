"""The stand-in for a mail server: it takes mails, and shows them to people and programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import EmailMessage

import aiosmtplib
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, unused_port

from sandbox import mail
from sandbox.mail import Mailbox, add_routes, serving

Client = TestClient[web.Request, web.Application]
HTML = {"Accept": "text/html"}


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Client, int]]:
    mailbox, app, port = Mailbox(), web.Application(), unused_port()
    add_routes(app.router, lambda _: mailbox)
    async with serving(mailbox, "127.0.0.1", port), TestClient(TestServer(app)) as client:
        yield client, port


async def send(port: int, subject: str = "Hello", html: str = '<img src="cid:1@shop">', times: int = 1) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", "ada@example.com", subject
    message.set_content("Hi")
    message.add_alternative(html, subtype="html")
    shown = message.get_payload(1)
    assert isinstance(shown, EmailMessage)
    shown.add_related(b"<svg/>", "image", "svg+xml", cid="<1@shop>", disposition="inline", filename="seat.svg")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="ticket.pdf")
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        for _ in range(times):
            await smtp.send_message(message)


async def test_what_was_sent_is_shown(pages: tuple[Client, int]) -> None:
    client, port = pages
    assert "No mail was sent yet" in await (await client.get("/_sandbox/mail", headers=HTML)).text()
    await send(port)
    (mail,) = (await (await client.get("/_sandbox/mail")).json())["mails"]
    assert (mail["recipients"], mail["subject"], mail["text"].strip()) == (["ada@example.com"], "Hello", "Hi")
    assert mail["attachments"] == ["seat.svg", "ticket.pdf"]
    assert 'href="/_sandbox/mail/1"' in await (await client.get("/_sandbox/mail", headers=HTML)).text()
    page = await (await client.get("/_sandbox/mail/1", headers=HTML)).text()
    assert "ticket.pdf" in page
    assert "data:image/svg+xml;base64,PHN2Zy8+" in page
    assert (await client.get("/_sandbox/mail/2", headers=HTML)).status == 404


async def test_a_mail_runs_nothing_in_the_page(pages: tuple[Client, int]) -> None:
    client, port = pages
    await send(port, "<script>alert(1)</script>", '"></iframe><script>alert(2)</script>')
    response = await client.get("/_sandbox/mail/1", headers=HTML)
    assert "<script>" not in await response.text()
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many mails are kept: fewer than usual."""
    monkeypatch.setattr(mail, "KEPT", 5)
    return 5


async def test_only_the_newest_are_kept(few: int, pages: tuple[Client, int]) -> None:
    client, port = pages
    await send(port, times=few + 1)
    mails = (await (await client.get("/_sandbox/mail")).json())["mails"]
    assert (len(mails), mails[0]["number"]) == (few, 2)
