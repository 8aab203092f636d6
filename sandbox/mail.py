"""A stand-in for a mail server: it takes every mail, delivers none, and shows them under `/_sandbox/mail`."""

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html import escape
from itertools import count

import orjson
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

# The mails that are kept: the newest ones.
KEPT = 500
SHOWN_HEADERS = ("From", "To", "Subject", "Date", "Message-ID")
# A mail's HTML may show itself, and do nothing else.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; img-src data:"

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}
td,th{{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #ddd}}
iframe{{width:100%;height:28rem;border:1px solid #ccc}} pre{{white-space:pre-wrap;background:#f6f6f6;padding:1rem}}
</style></head><body><h1>{title}</h1>{content}</body></html>"""


@dataclass(frozen=True)
class Caught:
    """A mail that was taken."""

    number: int
    recipients: tuple[str, ...]
    message: EmailMessage

    def as_json(self) -> dict[str, object]:
        """Its number, recipients, headers and texts, and the names of its attachments."""
        return {
            "number": self.number,
            "recipients": self.recipients,
            **{name.lower().replace("-", "_"): str(self.message[name] or "") for name in SHOWN_HEADERS},
            "text": self.body("plain"),
            "html": self.body("html"),
            "attachments": self.attachments(),
        }

    def body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return "" if part is None else str(part.get_content())

    def attachments(self) -> list[str]:
        """The names of its files, and of the images that its HTML shows."""
        return [name for part in self.message.walk() if (name := part.get_filename())]

    def html(self) -> str:
        """With its images in itself, as a mail program shows it."""
        html = self.body("html")
        for part in self.message.walk():
            if (id := part["Content-ID"]) is not None:
                image = part.get_payload(decode=True)
                assert isinstance(image, bytes)
                data = f"data:{part.get_content_type()};base64,{b64encode(image).decode()}"
                html = html.replace(f"cid:{id.strip('<>')}", data)
        return html


class Mailbox:
    """The mails that were taken, oldest first. aiosmtpd calls it."""

    def __init__(self) -> None:
        self.mails: deque[Caught] = deque(maxlen=KEPT)
        self._numbers = count(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the mail."""
        content = envelope.content
        message = message_from_bytes(content if isinstance(content, bytes) else b"", policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append(Caught(next(self._numbers), tuple(envelope.rcpt_tos), message))
        return "250 OK"


@asynccontextmanager
async def serving(mailbox: Mailbox, host: str, port: int) -> AsyncIterator[None]:
    """Takes mails by SMTP, without TLS and without passwords."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="sandbox", loop=loop), host, port)
    try:
        yield
    finally:
        server.close()


def add_routes(router: web.UrlDispatcher, find: Callable[[web.Request], Mailbox]) -> None:
    """Put the pages under `/_sandbox/mail`; programs get JSON."""

    async def show_all(request: web.Request) -> web.Response:
        mails = find(request).mails
        if not _wants_html(request):
            return _json({"mails": [mail.as_json() for mail in mails]})
        rows = "".join(
            f'<tr><td><a href="/_sandbox/mail/{mail.number}">{escape(str(mail.message["Subject"]))}</a></td>'
            f"<td>{escape(', '.join(mail.recipients))}</td><td>{escape(str(mail.message['Date']))}</td></tr>"
            for mail in reversed(mails)
        )
        table = f"<table><tr><th>Subject</th><th>To</th><th>Date</th></tr>{rows}</table>"
        return _page("Mails", table if rows else "<p>No mail was sent yet.</p>")

    async def show(request: web.Request) -> web.Response:
        number = request.match_info["number"]
        mail = next((each for each in find(request).mails if str(each.number) == number), None)
        if mail is None:
            return _page("No such mail", '<p><a href="/_sandbox/mail">All mails</a></p>', 404)
        if not _wants_html(request):
            return _json(mail.as_json())
        headers = "".join(
            f"<tr><th>{name}</th><td>{escape(str(mail.message[name] or ''))}</td></tr>" for name in SHOWN_HEADERS
        )
        attached = "".join(f"<li>{escape(name)}</li>" for name in mail.attachments())
        content = (
            f'<p><a href="/_sandbox/mail">All mails</a></p><table>{headers}</table>'
            f'<h2>HTML</h2><iframe sandbox title="HTML" srcdoc="{escape(mail.html())}"></iframe>'
            f"<h2>Text</h2><pre>{escape(mail.body('plain'))}</pre>"
            + (f"<h2>Attachments</h2><ul>{attached}</ul>" if attached else "")
        )
        return _page(str(mail.message["Subject"] or "Mail"), content)

    router.add_get("/_sandbox/mail", show_all)
    router.add_get("/_sandbox/mail/{number}", show)


def _wants_html(request: web.Request) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _page(title: str, content: str, status: int = 200) -> web.Response:
    html = PAGE.format(title=escape(title), content=content)
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=html, content_type="text/html", status=status, headers=headers)
