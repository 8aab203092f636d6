"""The rules of outgoing webhooks: signatures that the official library verifies, rotation, and what follows from
each outcome of an attempt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from booking.webhooks import (
    RETRY,
    SECRET_BYTES,
    Attempt,
    ChangedEvent,
    Next,
    Outcome,
    Secret,
    after,
    in_use,
    new_secret,
    owed_for_event,
    rotated,
    signed,
)
from common.contracts.webhooks import DeliveryStatus, DisabledReason

NOW = datetime.now(UTC)
DAYS = timedelta(days=3)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
BODY = '{"type":"booking.confirmed","data":{"name":"Zoë"}}'.encode()
FAILED, PENDING = DeliveryStatus.FAILED, DeliveryStatus.PENDING


def secret(number: int, ends_at: datetime | None = None) -> Secret:
    return new_secret(bytes([number]) * SECRET_BYTES, NOW)._replace(ends_at=ends_at)


def verify(headers: dict[str, str], with_secret: Secret, body: bytes = BODY) -> None:
    Webhook(with_secret.secret).verify(body, headers)


def test_the_official_library_verifies_what_is_signed() -> None:
    headers = signed(uuid4(), BODY, [secret(1)], datetime.now(UTC))
    verify(headers, secret(1))
    for wrong in (headers | {"webhook-id": str(uuid4())}, headers | {"webhook-timestamp": "1674087231"}):
        with pytest.raises(WebhookVerificationError):
            verify(wrong, secret(1))
    with pytest.raises(WebhookVerificationError):
        verify(headers, secret(1), BODY + b" ")
    with pytest.raises(WebhookVerificationError):
        verify(headers, secret(2))


def test_a_message_is_signed_by_each_secret_in_use_and_by_no_other() -> None:
    now = datetime.now(UTC)
    headers = signed(uuid4(), BODY, [secret(1, now), secret(2, now + SECOND), secret(3)], now)
    for used in (secret(2), secret(3)):
        verify(headers, used)
    with pytest.raises(WebhookVerificationError):
        verify(headers, secret(1))
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_a_rotation_ends_the_secrets_before_after_the_overlap_and_never_later_than_they_would() -> None:
    ending, newest, new = secret(1, NOW + SECOND), secret(2), secret(3)
    known = rotated([secret(9, NOW - SECOND), ending, newest], new, HOUR)
    assert known == (ending, newest._replace(ends_at=NOW + HOUR), new)
    assert in_use(known, NOW + HOUR) == (new,)
    assert rotated(known, secret(4), timedelta()) == (secret(4),)


def test_a_secret_has_the_form_that_receivers_know() -> None:
    assert secret(1).secret.startswith("whsec_")
    assert Webhook(secret(1).secret)._whsecret == bytes([1]) * SECRET_BYTES


def test_the_id_of_a_message_is_the_same_for_the_same_change_and_another_for_any_other() -> None:
    change = ChangedEvent(1, uuid4(), 3, "changed", NOW)
    id = owed_for_event(change).message_id
    assert owed_for_event(change._replace(id=2)).message_id == id
    # The last one: a restored database has come to the same version by another change.
    others = [{"event_id": uuid4()}, {"version": 4}, {"what": "cancelled"}, {"at": NOW + SECOND}]
    ids = {owed_for_event(change._replace(**other)).message_id for other in others}  # type: ignore[arg-type]
    assert len(ids | {id}) == 5


REFUSED = Attempt(Outcome.REFUSED, 500)


@pytest.mark.parametrize(
    ("attempt", "left", "failing_for", "expected"),
    [
        (Attempt(Outcome.DELIVERED, 204), HOUR, DAYS, Next(DeliveryStatus.DELIVERED)),
        (REFUSED, HOUR, None, Next(PENDING, NOW + 5 * SECOND)),
        (Attempt(Outcome.TIMEOUT), HOUR, HOUR, Next(PENDING, NOW + 5 * SECOND)),
        (Attempt(Outcome.REFUSED, 429, retry_after=60 * SECOND), HOUR, None, Next(PENDING, NOW + 60 * SECOND)),
        (Attempt(Outcome.REFUSED, 503, retry_after=SECOND), HOUR, None, Next(PENDING, NOW + 5 * SECOND)),
        # A receiver that wants to be left alone for years is asked after a day.
        (
            Attempt(Outcome.REFUSED, 503, retry_after=365 * DAYS),
            DAYS,
            None,
            Next(PENDING, NOW + timedelta(days=1)),
        ),
        # The last attempt is made at the end of the time, and no other follows.
        (REFUSED, SECOND, HOUR, Next(PENDING, NOW + SECOND)),
        (REFUSED, timedelta(), HOUR, Next(FAILED)),
        (REFUSED, timedelta(), DAYS, Next(FAILED, disabled=DisabledReason.FAILING)),
        (Attempt(Outcome.UNREACHABLE), HOUR, 2 * DAYS, Next(PENDING, NOW + 5 * SECOND)),
        (Attempt(Outcome.REFUSED, 410), HOUR, None, Next(FAILED, disabled=DisabledReason.GONE)),
        (Attempt(Outcome.MISSING), HOUR, DAYS, Next(FAILED)),
    ],
)
def test_what_follows_from_an_attempt(
    attempt: Attempt, left: timedelta, failing_for: timedelta | None, expected: Next
) -> None:
    failing_since = None if failing_for is None else NOW - failing_for
    assert after(attempt, 1, NOW + left, failing_since, NOW, DAYS, 1.0) == expected


def test_the_pauses_grow_from_seconds_to_more_than_an_hour_and_are_never_longer_than_two() -> None:
    pauses = [RETRY.pause(attempts) for attempts in range(60)]
    assert pauses[0] == 5 * SECOND
    assert all(shorter <= longer <= 2 * HOUR for shorter, longer in pairwise(pauses))
    assert pauses[-1] > HOUR
