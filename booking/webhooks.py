"""Outgoing webhooks, by the rules of Standard Webhooks: what is signed and how, and when it is sent again. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID, uuid5

from booking.announcements import Announcement
from common.contracts.webhooks import DeliveryStatus, DisabledReason
from common.runtime.backoff import Retry

SECRET_PREFIX = "whsec_"  # noqa: S105  # what each secret begins with
# Bytes of a new secret; Standard Webhooks asks for 24 to 64.
SECRET_BYTES = 32
# Secrets that an endpoint signs with at once: each makes its requests larger.
SECRETS_MAX = 5
# After the first attempt within seconds, as a receiver may be restarting; then ever more seldom, up to every 85
# minutes, as Retry doubles ten times.
RETRY = Retry(timedelta(seconds=5), timedelta(hours=2))
# A receiver may ask to be left alone (Retry-After) for this long.
RETRY_AFTER_MAX = timedelta(days=1)
# Of the time for which a delivery is retried its endpoint has failed for at least this share, if it has failed all
# the time: the first attempt comes after the delivery is made.
FAILING_SHARE = 0.9
GONE = 410
# The statuses with which a receiver says when to come again: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
WITH_RETRY_AFTER = (429, 503)


class Policy(NamedTuple):
    """To where webhooks may be sent beyond https and the internet's addresses."""

    http: bool = False
    private: bool = False


class WebhookTerms(NamedTuple):
    """`on`: whether this installation sends webhooks. `retried_for`: how long a delivery is retried."""

    on: bool
    policy: Policy
    retried_for: timedelta


class SenderTerms(NamedTuple):
    """`concurrency`: requests under way to one endpoint from this process. `timeout`: of one request.
    `retried_for`: how long a delivery is retried; `kept`: how long it can be read after it has ended.
    `mails_operators`: they get a mail when an endpoint is disabled because it fails."""

    concurrency: int = 8
    timeout: timedelta = timedelta(seconds=20)
    retried_for: timedelta = timedelta(days=3)
    kept: timedelta = timedelta(days=14)
    mails_operators: bool = False


class Secret(NamedTuple):
    """A secret of an endpoint; None in `ends_at`: until the next rotation."""

    secret: str
    made_at: datetime
    ends_at: datetime | None = None


class ChangedEvent(NamedTuple):
    """A row of an event's history that is still to be announced."""

    id: int
    event_id: UUID
    version: int
    what: str
    at: datetime


class Owed(NamedTuple):
    """A change that endpoints are to receive. `message_id` is the same whenever this is made again, and another
    after a restored database has come to the same version by another change."""

    message_id: UUID
    type: str
    resource_id: UUID
    version: int
    happened_at: datetime


class Outcome(StrEnum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # another status than 2xx
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    FORBIDDEN = "forbidden"  # the address or the URL is one to which nothing may be sent
    MISSING = "missing"  # the booking or event does not exist any more


class Attempt(NamedTuple):
    """One attempt. `response_status` and `response`: the answer, if there was one; `error`: why it failed;
    `retry_after`: when the receiver wants to be asked again."""

    outcome: Outcome
    response_status: int | None = None
    response: str | None = None
    error: str | None = None
    retry_after: timedelta | None = None


class Next(NamedTuple):
    """What follows from an attempt: how the delivery stands, when it is sent again, and why its endpoint is
    disabled from now on, if it is."""

    status: DeliveryStatus
    due_at: datetime | None = None
    disabled: DisabledReason | None = None


def owed_for_booking(announcement: Announcement) -> Owed:
    change = announcement.change
    return _owed(announcement.kind, change.booking_id, change.version, change.at)


def owed_for_event(change: ChangedEvent) -> Owed:
    return _owed(f"event.{change.what}", change.event_id, change.version, change.at)


def _owed(type: str, resource_id: UUID, version: int, at: datetime) -> Owed:
    return Owed(uuid5(resource_id, f"{type}\0{version}\0{at.isoformat()}"), type, resource_id, version, at)


def new_secret(drawn: bytes, now: datetime) -> Secret:
    """The secret of these random bytes, as receivers get it."""
    return Secret(SECRET_PREFIX + base64.b64encode(drawn).decode(), now)


def rotated(secrets: Iterable[Secret], new: Secret, overlap: timedelta) -> tuple[Secret, ...]:
    """With `new` as the newest; those before end after `overlap`, unless they do sooner."""
    now, until = new.made_at, new.made_at + overlap
    ending = (each._replace(ends_at=min(each.ends_at or until, until)) for each in in_use(secrets, now))
    return *(each for each in ending if overlap), new


def in_use(secrets: Iterable[Secret], now: datetime) -> tuple[Secret, ...]:
    """Those that are signed with, oldest first."""
    return tuple(each for each in secrets if each.ends_at is None or each.ends_at > now)


def signed(message_id: UUID, body: bytes, secrets: Iterable[Secret], now: datetime) -> dict[str, str]:
    """The headers of `body`, with a signature by each of these secrets that is in use."""
    seconds = int(now.timestamp())
    content = b"%b.%d.%b" % (str(message_id).encode(), seconds, body)
    keys = (base64.b64decode(each.secret.removeprefix(SECRET_PREFIX)) for each in in_use(secrets, now))
    signatures = (base64.b64encode(hmac.digest(key, content, sha256)).decode() for key in keys)
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }


def after(
    attempt: Attempt,
    attempts: int,
    give_up_at: datetime,
    failing_since: datetime | None,
    now: datetime,
    retried_for: timedelta,
    drawn: float,
) -> Next:
    """What follows from `attempt`, which is number `attempts` of its delivery. `failing_since`: since when the
    endpoint has failed; one that has answered nothing well while a delivery was retried to its end is disabled.
    `drawn`: a random number below 1."""
    if attempt.outcome is Outcome.DELIVERED:
        return Next(DeliveryStatus.DELIVERED)
    if attempt.outcome is Outcome.MISSING:
        return Next(DeliveryStatus.FAILED)
    if attempt.response_status == GONE:
        return Next(DeliveryStatus.FAILED, disabled=DisabledReason.GONE)
    if now >= give_up_at:
        failing = failing_since is not None and now - failing_since >= retried_for * FAILING_SHARE
        return Next(DeliveryStatus.FAILED, disabled=DisabledReason.FAILING if failing else None)
    pause = max(RETRY.pause(attempts - 1, drawn), min(attempt.retry_after or timedelta(), RETRY_AFTER_MAX))
    # The last attempt is made when the time is over, not before.
    return Next(DeliveryStatus.PENDING, min(now + pause, give_up_at))
