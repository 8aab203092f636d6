"""Mails as they are sent: text and HTML from templates, in the customer's language, and the message's headers.

The templates are in `templates/`, a folder for each language: `KIND.txt`, whose first line is the subject, and
`KIND.html`. What they may use is in `_values`, and `images`: the attached images that the HTML shows, each with its
Content-ID and caption; in mails to customers also `link`, with its `url` and whether it `opens` the booking by
itself, or None where there is no public address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_currency
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, select_autoescape

from booking.links import Links
from booking.mail_rows import Attention
from booking.mails import Mail, address_of, one_line
from booking.state import Booking, Content, Event
from booking.webhook_rows import Endpoint
from common.contracts.codes import reference_of
from common.contracts.currencies import exponent_of
from common.icalendar import place

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("en", "de")
# In the order in which they are tried; operators are written to in the first one.
DEFAULT_LANGUAGE = LANGUAGES[0]
NO_LINKS = Links()

log = structlog.get_logger()


class Attachment(NamedTuple):
    """`media_type` such as `application/pdf`. `caption`: of an image that the mail shows, else it is a file."""

    name: str
    media_type: str
    content: bytes
    caption: str | None = None


class Letter(NamedTuple):
    """All that a mail to a customer is written from. `event`: None where its database has lost it; `content`: what
    it shows."""

    mail: Mail
    recipient: str
    booking: Booking
    event: Event | None
    content: Content


class Notice(NamedTuple):
    """All that a mail to operators is written from: the bookings of an event that need a person, or an endpoint
    that has failed for days. `endpoint`: None as well where it does not exist any more."""

    mail: Mail
    recipient: str
    event_id: UUID | None = None
    event: Event | None = None
    attention: Attention | None = None
    endpoint: Endpoint | None = None


# Makes attachments of a mail.
Attach = Callable[[Letter], Awaitable[Sequence[Attachment]]]


class MailTexts:
    """`sender`: who writes, such as `Tickets <tickets@example.com>`; `folder`: templates that are used instead of
    ours; `attach`: what makes attachments of mails to customers; `links`: what makes the links in them."""

    def __init__(
        self,
        sender: str,
        folder: Path | None = None,
        attach: Sequence[Attach] = (),
        links: Links = NO_LINKS,
    ) -> None:
        self._sender = address_of(sender)
        self._attach = tuple(attach)
        self._links = links
        folders = [FileSystemLoader(each) for each in (folder, TEMPLATES) if each is not None]
        self._templates = Environment(
            loader=ChoiceLoader(folders),
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @property
    def envelope_sender(self) -> str:
        return self._sender.addr_spec

    async def message(self, letter: Letter | Notice) -> EmailMessage:
        """The same message each time, but for what has changed since. Raises ValueError for an address that cannot
        be written to."""
        mail, attached = letter.mail, await self._attached(letter)
        images = [(f"{number}.{mail.id}@{self._sender.domain}", each) for number, each in enumerate(attached, 1)]
        images = [(id, each) for id, each in images if each.caption is not None]
        locale, values = _values(letter)
        values["images"] = [(id, each.caption) for id, each in images]
        if isinstance(letter, Letter):
            # By the address that this mail goes to, which its booking may not have any more.
            values["link"] = self._links.make(letter.booking, letter.recipient)
        language = locale.language
        written = self._templates.get_template(f"{language}/{mail.kind}.txt").render(values)
        subject, _, text = written.partition("\n")
        html = self._templates.get_template(f"{language}/{mail.kind}.html").render(values, subject=subject)

        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = recipient_of(letter)
        message["Subject"] = one_line(subject)
        message["Date"] = mail.made_at
        message["Message-ID"] = f"<{mail.id}@{self._sender.domain}>"
        # https://www.rfc-editor.org/rfc/rfc3834#section-5: nobody's absence is to be answered to it.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text.strip() + "\n")
        message.add_alternative(html, subtype="html")
        message["Content-Language"] = language
        shown = message.get_payload(1)
        assert isinstance(shown, EmailMessage)
        for id, image in images:
            kind, _, subtype = image.media_type.partition("/")
            shown.add_related(
                image.content, kind, subtype, cid=f"<{id}>", disposition="inline", filename=image.name
            )
        for each in attached:
            if each.caption is None:
                kind, _, subtype = each.media_type.partition("/")
                charset = {"charset": "utf-8"} if kind == "text" else {}
                message.add_attachment(each.content, kind, subtype, filename=each.name, params=charset)
        return message

    async def _attached(self, letter: Letter | Notice) -> list[Attachment]:
        """What cannot be made is left out: the mail says what matters without it."""
        found: list[Attachment] = []
        if isinstance(letter, Letter):
            for attach in self._attach:
                try:
                    found += await attach(letter)
                except Exception as error:
                    log.exception("attachment not made", exc_info=error, mail=str(letter.mail.id))
        return found


def recipient_of(letter: Letter | Notice) -> Address:
    """Raises ValueError for an address that is none."""
    address = address_of(letter.recipient)
    customer = letter.booking.customer if isinstance(letter, Letter) else None
    return address if customer is None else Address(one_line(customer.name), addr_spec=address.addr_spec)


def locale_of(tag: str | None) -> Locale:
    """By which dates and amounts are formatted; its language is one of ours."""
    try:
        locale = Locale.parse(tag or DEFAULT_LANGUAGE, sep="-")
    except (ValueError, UnknownLocaleError):
        language = (tag or "").partition("-")[0].lower()
        return Locale(language if language in LANGUAGES else DEFAULT_LANGUAGE)
    return locale if locale.language in LANGUAGES else Locale(DEFAULT_LANGUAGE)


def _values(letter: Letter | Notice) -> tuple[Locale, dict[str, Any]]:
    """What the templates may use; and the locale by which they are written."""
    return _of_booking(letter) if isinstance(letter, Letter) else _of_notice(letter)


def _of_booking(letter: Letter) -> tuple[Locale, dict[str, Any]]:
    mail, booking, event = letter.mail, letter.booking, letter.event
    exponent = exponent_of(booking.currency) or 0
    locale = locale_of(None if booking.customer is None else booking.customer.locale)

    def money(amount: int) -> str:
        return format_currency(Decimal(amount).scaleb(-exponent), booking.currency.upper(), locale=locale)

    types = {} if event is None else event.ticket_types
    items = [
        {
            "quantity": item.quantity,
            "name": types[item.ticket_type_id].name if item.ticket_type_id in types else "",
            # As they were paid: without what the promo code took off.
            "unit_amount": item.unit_amount - item.unit_discount,
            "amount": (item.unit_amount - item.unit_discount) * item.quantity,
        }
        for item in booking.items_left
        if item.quantity
    ]
    return locale, {
        "name": "" if booking.customer is None else booking.customer.name,
        "event_name": "" if event is None else event.name,
        "starts_at": None if event is None else event.starts_at,
        "place": "" if letter.content.venue is None else place(letter.content.venue),
        "items": items,
        "seats": sum(item.quantity for item in booking.items_left),
        "seats_cancelled": len(booking.cancelled_seats),
        "reference": reference_of(booking.id),
        "booking_id": booking.id,
        "event_id": booking.event_id,
        "amount": booking.amount,
        "captured": booking.amount_captured,
        "refunded": mail.amount or 0,
        "refunded_in_all": booking.amount_refunded,
        "at_box_office": booking.box_office is not None,
        "held_until": booking.expires_at,
        "status": booking.status.value,
        "reason": booking.reason,
        "money": money,
        "when": _when(event, locale),
        "language": locale.language,
    }


def _of_notice(notice: Notice) -> tuple[Locale, dict[str, Any]]:
    locale, attention, endpoint = locale_of(None), notice.attention, notice.endpoint
    return locale, {
        "event_name": "" if notice.event is None else notice.event.name,
        "event_id": notice.event_id,
        "attention": [(reference_of(id), str(id), why) for id, why in attention.bookings] if attention else [],
        "attention_count": attention.found if attention else 0,
        "endpoint": endpoint,
        "when": _when(None, locale),
        "language": locale.language,
    }


def _when(event: Event | None, locale: Locale) -> Callable[[datetime], str]:
    zone = ZoneInfo(event.time_zone if event is not None else "UTC")
    return lambda time: format_datetime(time, "full", tzinfo=zone, locale=locale)
