"""Mails as they are sent: text and HTML from templates, in the customer's language, and the message's headers.

The templates are in `templates/`, a folder for each language: `KIND.txt`, whose first line is the subject, and
`KIND.html`. What they may use is in `_values`.
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
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_currency
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, select_autoescape

from booking.mail_rows import Attention
from booking.mails import Mail, address_of, one_line
from booking.state import Booking, Event
from common.contracts.codes import reference_of
from common.contracts.currencies import exponent_of
from common.contracts.statuses import MailKind

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("en", "de")
# In the order in which they are tried; operators are written to in the first one.
DEFAULT_LANGUAGE = LANGUAGES[0]


class Attachment(NamedTuple):
    """`media_type` such as `application/pdf`."""

    name: str
    media_type: str
    content: bytes


class Letter(NamedTuple):
    """All that a mail is written from. `event`: None where its database has lost it; `attention`: for operators."""

    mail: Mail
    recipient: str
    booking: Booking
    event: Event | None
    attention: Attention | None = None


# Makes attachments of a mail: tickets, a calendar file.
Attach = Callable[[Letter], Awaitable[Sequence[Attachment]]]


class MailTexts:
    """`sender`: who writes, such as `Tickets <tickets@example.com>`; `folder`: templates that are used instead of
    ours; `attach`: what makes attachments."""

    def __init__(self, sender: str, folder: Path | None = None, attach: Sequence[Attach] = ()) -> None:
        self._sender = address_of(sender)
        self._attach = tuple(attach)
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

    async def message(self, letter: Letter) -> EmailMessage:
        """The same message each time, but for what has changed in the booking. Raises ValueError for an address
        that cannot be written to."""
        mail, booking = letter.mail, letter.booking
        locale = locale_of(None if booking.customer is None else booking.customer.locale)
        if mail.kind is MailKind.ATTENTION:
            locale = locale_of(None)
        values = _values(letter, locale)
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
        for attach in self._attach:
            for name, media_type, content in await attach(letter):
                kind, _, subtype = media_type.partition("/")
                message.add_attachment(content, maintype=kind, subtype=subtype, filename=name)
        return message


def recipient_of(letter: Letter) -> Address:
    """Raises ValueError for an address that is none."""
    customer = letter.booking.customer
    named = customer is not None and letter.mail.kind is not MailKind.ATTENTION
    address = address_of(letter.recipient)
    return Address(one_line(customer.name), addr_spec=address.addr_spec) if named and customer else address


def locale_of(tag: str | None) -> Locale:
    """By which dates and amounts are formatted; its language is one of ours."""
    try:
        locale = Locale.parse(tag or DEFAULT_LANGUAGE, sep="-")
    except (ValueError, UnknownLocaleError):
        language = (tag or "").partition("-")[0].lower()
        return Locale(language if language in LANGUAGES else DEFAULT_LANGUAGE)
    return locale if locale.language in LANGUAGES else Locale(DEFAULT_LANGUAGE)


def _values(letter: Letter, locale: Locale) -> dict[str, Any]:
    mail, booking, event = letter.mail, letter.booking, letter.event
    exponent = exponent_of(booking.currency) or 0

    def money(amount: int) -> str:
        return format_currency(Decimal(amount).scaleb(-exponent), booking.currency.upper(), locale=locale)

    def when(time: datetime) -> str:
        zone = ZoneInfo(event.time_zone if event is not None else "UTC")
        return format_datetime(time, "full", tzinfo=zone, locale=locale)

    types = {} if event is None else event.ticket_types
    items = [
        {
            "quantity": item.quantity,
            "name": types[item.ticket_type_id].name if item.ticket_type_id in types else "",
            "unit_amount": item.unit_amount,
            "amount": item.unit_amount * item.quantity,
        }
        for item in booking.items
    ]
    attention = letter.attention
    return {
        "name": "" if booking.customer is None else booking.customer.name,
        "event_name": "" if event is None else event.name,
        "starts_at": None if event is None else event.starts_at,
        "items": items,
        "reference": reference_of(booking.id),
        "booking_id": booking.id,
        "event_id": booking.event_id,
        "amount": booking.amount,
        "captured": booking.amount_captured,
        "refunded": mail.amount or 0,
        "refunded_in_all": booking.amount_refunded,
        "at_box_office": booking.box_office is not None,
        "status": booking.status.value,
        "reason": booking.reason,
        "attention": [(reference_of(id), str(id), why) for id, why in attention.bookings] if attention else [],
        "attention_count": attention.found if attention else 0,
        "money": money,
        "when": when,
        "language": locale.language,
    }
