"""Which mails are owed for a change of a booking, and when one is tried again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from typing import NamedTuple
from uuid import UUID, uuid5

from booking.announcements import Announcement
from booking.state import CONFIRMED
from common.contracts.statuses import AnnouncementKind, CancelReason, MailKind, MailStatus, Reason
from common.runtime.backoff import Retry

# After a server's "not now" (4xx) or an answer that was lost: soon at first, then every four hours.
RETRY = Retry(timedelta(minutes=1), timedelta(hours=4))
# A mail over its recipient's limit is looked at again after this time.
LIMITED_AGAIN = timedelta(hours=1)
# Over how long a recipient's mails are counted.
LIMIT_OVER = timedelta(days=1)
# Operators get one mail for each event in which something needs a person in this time, when it is over.
GATHERED_OVER = timedelta(minutes=10)
# The slowest transaction that makes such a mail has ended by then.
GATHERED_LATER = timedelta(minutes=1)
# What is needed of a person: a refund has failed, a dispute wants an answer, money of another amount came in.
_NEEDS_PERSON = (AnnouncementKind.REFUND_FAILED, AnnouncementKind.DISPUTED)


class MailPolicy(NamedTuple):
    """`per_recipient`: how many mails one may get in a day, 0: any number; `give_up`: how long a mail is tried;
    `kept`: how long its row stays; `operators`: their address; `connections`: to the server, at once."""

    per_recipient: int = 20
    give_up: timedelta = timedelta(days=3)
    kept: timedelta = timedelta(days=365)
    operators: str | None = None
    connections: int = 4


class Mail(NamedTuple):
    """One mail, about a booking or, for operators, an endpoint of webhooks. `version`: of what it is about;
    `amount`: what the booking's change has refunded. `recipient`: to whom it was tried to be sent last.
    `send_after`: its retry time, None when it has ended, at `ended_at`. `error`: why it is not sent. `by`: the
    operator who wants it sent again."""

    id: UUID
    booking_id: UUID | None
    kind: MailKind
    version: int
    made_at: datetime
    send_after: datetime | None
    amount: int | None = None
    by: str | None = None
    status: MailStatus = MailStatus.OWED
    recipient: str | None = None
    attempts: int = 0
    error: str | None = None
    tried_at: datetime | None = None
    ended_at: datetime | None = None
    endpoint_id: UUID | None = None


class NewAddress(NamedTuple):
    """A confirmation for who may have one already."""

    mail: Mail
    email: str


class Owed(NamedTuple):
    """The mails that are owed; `again` only where the booking's confirmation did not go to that address before."""

    mails: list[Mail]
    again: list[NewAddress]


def owed(made: Iterable[Announcement], now: datetime, *, operators: bool) -> Owed:
    """The mails for these announcements; `operators`: they have an address."""
    mails: list[Mail] = []
    again: list[NewAddress] = []
    for each in made:
        email, confirmed = each.booking.email, each.booking.status is CONFIRMED
        if each.kind is AnnouncementKind.CUSTOMER_CHANGED:
            if email is not None and confirmed:
                again.append(NewAddress(_mail(each, MailKind.CONFIRMATION, now), email))
        elif email is not None and (kind := _for_customer(each)) is not None:
            mails.append(_mail(each, kind, now))
        if operators and _needs_person(each):
            mails.append(_for_operators(each, now))
    confirmed_now = {each.booking_id for each in mails if each.kind is MailKind.CONFIRMATION}
    # The last of several addresses is the one that is written to.
    latest = {each.mail.booking_id: each for each in again if each.mail.booking_id not in confirmed_now}
    return Owed(mails, list(latest.values()))


def after_failure(mail: Mail, error: str, now: datetime, give_up: timedelta, drawn: float) -> Mail:
    """The mail after an attempt whose result may be another one later: tried again, until it is given up."""
    if now - mail.made_at >= give_up:
        return ended(mail, MailStatus.GIVEN_UP, now, error)
    return mail._replace(send_after=now + RETRY.pause(mail.attempts - 1, drawn), error=error)


def over_limit(mail: Mail, now: datetime, give_up: timedelta) -> Mail:
    """The mail whose recipient has had enough for now."""
    text = "this recipient has had as many mails as one may have in a day"
    if now - mail.made_at >= give_up:
        return ended(mail, MailStatus.GIVEN_UP, now, text)
    return mail._replace(send_after=now + LIMITED_AGAIN, error=text)


def ended(mail: Mail, status: MailStatus, now: datetime, error: str | None = None) -> Mail:
    return mail._replace(status=status, send_after=None, ended_at=now, error=error)


def _mail(each: Announcement, kind: MailKind, now: datetime) -> Mail:
    amount = each.amount if kind is MailKind.REFUND else None
    return Mail(each.id, each.booking.id, kind, each.change.version, now, now, amount)


def _for_customer(each: Announcement) -> MailKind | None:
    """Who never had the seats, and let the hold go by themselves or by not paying, need no mail about it."""
    match each.kind:
        case AnnouncementKind.CONFIRMED:
            return MailKind.CONFIRMATION
        case AnnouncementKind.REFUNDED:
            return MailKind.REFUND
        case AnnouncementKind.OFFERED:
            return MailKind.OFFER
        case AnnouncementKind.CANCELLED:
            before, others = each.change.before, (CancelReason.BY_OPERATOR, CancelReason.EVENT_CANCELLED)
            had_seats = before is not None and before.status is CONFIRMED
            paid = each.booking.amount_captured > 0
            return MailKind.CANCELLATION if had_seats or paid or each.change.reason in others else None
        case AnnouncementKind.FAILED if each.change.reason == Reason.PAYMENT_MISMATCH:
            return MailKind.CANCELLATION if each.booking.amount_captured > 0 else None
        case _:
            return None


def _needs_person(each: Announcement) -> bool:
    failed = each.kind is AnnouncementKind.FAILED
    return each.kind in _NEEDS_PERSON or (failed and each.change.reason == Reason.PAYMENT_MISMATCH)


def _for_operators(each: Announcement, now: datetime) -> Mail:
    """One for each event and GATHERED_OVER; it is written when that time is over, and has all of it."""
    seconds = GATHERED_OVER.total_seconds()
    number = int(now.timestamp() // seconds)
    until = datetime.fromtimestamp((number + 1) * seconds, UTC)
    id = uuid5(each.booking.event_id, f"{MailKind.ATTENTION}/{number}")
    return Mail(id, each.booking.id, MailKind.ATTENTION, each.change.version, now, until + GATHERED_LATER)


def address_of(written: str) -> Address:
    """`Name <address>` or an address. Raises ValueError."""
    name, bracket, rest = one_line(written).rpartition("<")
    spec = rest.removesuffix(">").strip() if bracket else rest
    if not spec.isascii():
        raise ValueError("an address must be in ASCII; a domain with other letters in its xn-- form")
    return Address(display_name=name.strip().strip('"'), addr_spec=spec)


def one_line(text: str) -> str:
    """Without what could end a header's line, and all else that is not printed."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
