"""What the booking process reads from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from booking.buyers import BuyerPolicy
from booking.fair_share import Share
from booking.links import Links
from booking.mails import MailPolicy, address_of
from booking.state import HoldPolicy
from booking.ticket_codes import TicketCodes
from booking.webhooks import Policy, SenderTerms, WebhookTerms
from common.runtime.settings import ActorSettings, CommaSeparated, SigningSecrets
from common.runtime.urls import PostgresUrl, PublicUrl, SmtpUrl


def _mailbox(value: str) -> str:
    """Raises ValueError if it is no address, or none with a domain."""
    if not address_of(value).domain:
        raise ValueError("must be an address such as Tickets <tickets@example.com>")
    return value


Mailbox = Annotated[str, AfterValidator(_mailbox)]


class Tasks(StrEnum):
    """What a booking process does: sell, send (announce changes by mail and webhook), or both."""

    ALL = "all"
    BOOKINGS = "bookings"
    SENDING = "sending"


class BookingSettings(ActorSettings):
    """Settings of the booking process; `.env.example` says what they mean."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "decline_seconds": "hold_extension_seconds",
        "release_seconds": "grace_seconds",
    }

    port: int = Field(default=8081, ge=0, le=65535)
    booking_database_url: PostgresUrl = Field(repr=False)
    database_pool_size: int = Field(default=10, ge=2, le=100)
    # Sending has connections of its own, so that it never takes one that a booking waits for. With `bookings` and
    # `sending` processes it runs and scales apart.
    booking_tasks: Tasks = Tasks.ALL
    sending_pool_size: int = Field(default=4, ge=2, le=100)

    hold_seconds: int = Field(default=900, ge=1, le=86_400)
    hold_max_seconds: int | None = Field(default=None, ge=1, le=2 * 86_400)
    hold_extension_seconds: int = Field(default=600, ge=0, le=86_400)
    grace_seconds: int = Field(default=300, ge=1, le=86_400)
    # For how long a booking that is offered to somebody who waits holds its seats: people are not at their screens.
    offer_seconds: int = Field(default=1800, ge=1, le=2 * 86_400)
    # How many seats of an event one owner may have, where the event sets no max_per_owner, and how many of its
    # bookings may wait to be paid: of an owner, and of the guests of one address together; and how many seats these
    # guests' bookings may have meanwhile. 0: no limit.
    seats_per_owner: int = Field(default=20, ge=0, le=1_000_000)
    holds_per_owner: int = Field(default=5, ge=0, le=1_000_000)
    holds_per_address: int = Field(default=50, ge=0, le=1_000_000)
    seats_per_address: int = Field(default=100, ge=0, le=1_000_000)
    # For how long an owner may not book after a hold that was left to expire; twice as long after each further one.
    hold_pause_seconds: int = Field(default=30, ge=0, le=3600)
    # After how many days addresses of guests are forgotten.
    address_days: int = Field(default=7, ge=1, le=365)
    # For how many days a guest's recovery code is good: most tickets are bought within half a year of the event.
    recovery_code_days: int = Field(default=180, ge=1, le=3650)
    # Of the links in mails: where the shop or front end is (without it there are none), the secrets of their tokens
    # (without one they have none), and for how many days after the event's start they are good: refunds take weeks.
    public_url: PublicUrl | None = None
    link_secrets: SigningSecrets = ()
    link_days: int = Field(default=30, ge=0, le=3650)
    availability_ms: int = Field(default=250, ge=10, le=60_000)
    availability_max_ms: int = Field(default=2000, ge=10, le=60_000)
    queue_ms: int = Field(default=1000, ge=10, le=60_000)
    operator_key_days: int = Field(default=30, ge=1, le=3650)
    owner_stripe_calls: int = Field(default=4, ge=0, le=10_000)
    owner_stripe_call_seconds: float = Field(default=2.0, gt=0, le=3600)
    address_owners: int = Field(default=20, ge=0, le=100_000)
    # Private keys of the codes of tickets (Ed25519, 32 bytes in base64url): the first signs, each is accepted.
    # Without one tickets have no codes.
    ticket_signing_keys: Annotated[CommaSeparated, Field(repr=False)] = ()

    # Whether changes of bookings and events are sent to the endpoints that operators make.
    webhooks: bool = False
    # Whether they may be sent without TLS, and to addresses that are not of the internet.
    webhook_http: bool = False
    webhook_private_addresses: bool = False
    # Requests under way to one endpoint, from each process that sends; and how long a receiver may take to answer.
    webhook_concurrency: int = Field(default=8, ge=1, le=100)
    webhook_timeout_seconds: float = Field(default=20.0, gt=0, le=60)
    # For how many days a delivery is retried, and its endpoint may fail; and for how many it can be read after its
    # end.
    webhook_retry_days: float = Field(default=3.0, gt=0, le=30)
    webhook_kept_days: int = Field(default=14, ge=1, le=365)

    # Without a mail server nothing is mailed.
    smtp_url: SmtpUrl | None = Field(default=None, repr=False)
    # Who writes, and to whom what needs a person is written: to nobody where it is not set.
    mail_from: Mailbox = "Holdfast <holdfast@localhost>"
    mail_operators: Mailbox | None = None
    # Templates in it replace those of the same name.
    mail_templates: Path | None = None
    # For how many seconds the mail server may be silent: RFC 5321 (4.5.3.2) allows servers minutes, and no good one
    # takes them.
    smtp_timeout_seconds: float = Field(default=30.0, gt=0, le=60)
    smtp_connections: int = Field(default=4, ge=1, le=50)
    # How many mails one recipient may get in a day: more than a customer's own bookings make. 0: no limit.
    mails_per_recipient: int = Field(default=20, ge=0, le=100_000)
    # For how many hours a mail is tried: most failures of mail servers end within a weekend.
    mail_retry_hours: int = Field(default=72, ge=1, le=720)
    mail_kept_days: int = Field(default=365, ge=31, le=3650)

    @field_validator("ticket_signing_keys")
    @classmethod
    def _keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if len(TicketCodes(keys).public.keys) < len(keys):
            raise ValueError("one of them is there twice")
        return keys

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> Self:
        if self.smtp_url is not None and "mail_from" not in self.model_fields_set:
            raise ValueError("MAIL_FROM must be set where SMTP_URL is: who writes the mails")
        return self

    @model_validator(mode="after")
    def _holds_end(self) -> Self:
        if self.hold_max_seconds is not None and self.hold_max_seconds < self.hold_seconds:
            raise ValueError(
                f"HOLD_MAX_SECONDS ({self.hold_max_seconds}) must be at least HOLD_SECONDS ({self.hold_seconds})"
            )
        return self

    @property
    def buyer_policy(self) -> BuyerPolicy:
        return BuyerPolicy(
            seats=self.seats_per_owner,
            owner_holds=self.holds_per_owner,
            address_holds=self.holds_per_address,
            address_seats=self.seats_per_address,
            pause=timedelta(seconds=self.hold_pause_seconds),
        )

    @property
    def links(self) -> Links:
        return Links(self.link_secrets, self.public_url, timedelta(days=self.link_days))

    @property
    def mail_policy(self) -> MailPolicy:
        return MailPolicy(
            per_recipient=self.mails_per_recipient,
            give_up=timedelta(hours=self.mail_retry_hours),
            kept=timedelta(days=self.mail_kept_days),
            operators=self.mail_operators,
            connections=self.smtp_connections,
        )

    @property
    def share(self) -> Share:
        return Share(self.owner_stripe_calls, self.owner_stripe_call_seconds, self.address_owners)

    @property
    def webhook_terms(self) -> WebhookTerms:
        return WebhookTerms(
            on=self.webhooks,
            policy=Policy(http=self.webhook_http, private=self.webhook_private_addresses),
            retried_for=timedelta(days=self.webhook_retry_days),
        )

    @property
    def sender_terms(self) -> SenderTerms:
        return SenderTerms(
            concurrency=self.webhook_concurrency,
            timeout=timedelta(seconds=self.webhook_timeout_seconds),
            retried_for=timedelta(days=self.webhook_retry_days),
            kept=timedelta(days=self.webhook_kept_days),
            mails_operators=self.smtp_url is not None and self.mail_operators is not None,
        )

    @property
    def hold_policy(self) -> HoldPolicy:
        return HoldPolicy(
            hold=timedelta(seconds=self.hold_seconds),
            hold_max=timedelta(seconds=self.hold_max_seconds or 2 * self.hold_seconds),
            extension=timedelta(seconds=self.hold_extension_seconds),
            grace=timedelta(seconds=self.grace_seconds),
            offer=timedelta(seconds=self.offer_seconds),
        )
