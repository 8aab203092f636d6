"""What needs a person, as far as booking knows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

import common.postgres.attention
from common.contracts.attention import KnownAttention
from common.contracts.codes import reference_of
from common.contracts.messages import GetAttention
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.messaging.streams import dead_letters
from tests.booking.stage import Show, Stage, report
from tests.booking.test_box_office import refund, sale, sold

PERSON = "ada@example.com"
MAIL = """
INSERT INTO mails (id, booking_id, kind, status, version, recipient, error, made_at, send_after, ended_at)
SELECT $1, $2, 'confirmation', $3::varchar, 1, $4::varchar, '550 no such user: ' || $4, now() - $5::interval,
    CASE $3::varchar WHEN 'owed' THEN now() END,
    CASE $3::varchar WHEN 'owed' THEN NULL ELSE now() - $5::interval END
"""
ENDPOINT = """
INSERT INTO webhook_endpoints (id, url, secrets, disabled_at, disabled_reason, created_at, updated_at, deleted_at)
SELECT $1, 'https://example.com/?token=secret', '[]', now(), $2, now(), now(), CASE WHEN $3 THEN now() END
"""


async def needed(stage: Stage) -> list[dict[str, Any]]:
    (reply,) = await stage.call(GetAttention())
    assert PERSON not in str(reply.result)
    assert "secret" not in str(reply.result)
    items: list[dict[str, Any]] = KnownAttention.model_validate(reply.result).model_dump(mode="json")["items"]
    return items


async def refund_failed(stage: Stage, show: Show) -> Booking:
    booking = await stage.confirmed(show)
    await stage.rows(
        "UPDATE bookings SET payment = 'refund_failed', refund_failed_amount = 900, refund_error = 'declined' "
        "WHERE id = $1",
        booking.id,
    )
    return booking


async def test_where_all_is_well_nothing_is_listed(stage: Stage) -> None:
    await stage.confirmed(await stage.show(10))
    assert await needed(stage) == []


async def test_a_failed_refund_is_listed_with_its_booking_until_it_is_tried_again(stage: Stage) -> None:
    booking = await refund_failed(stage, await stage.show(10))
    (item,) = await needed(stage)
    (example,) = item["examples"]
    assert (item["kind"], item["count"], item["since"], item["mailbox"]) == (
        "refund_failed",
        1,
        example["since"],
        None,
    )
    assert (example["id"], example["booking_id"]) == (str(booking.id), str(booking.id))
    assert (example["reference"], example["event_id"]) == (reference_of(booking.id), str(booking.event_id))
    assert (example["amount"], example["currency"], example["text"]) == (900, "eur", "declined")
    await stage.rows("UPDATE bookings SET payment = 'refund_pending'")
    assert await needed(stage) == []


async def test_money_of_the_box_office_is_listed_until_it_was_given_back(stage: Stage) -> None:
    booking = await sold(stage, sale(await stage.show(10), 2))
    await sold(stage, sale(await stage.show(10)))
    assert await needed(stage) == []
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    for noted, left in ((2000, 5000), (None, 3000)):
        (item,) = await needed(stage)
        (example,) = item["examples"]
        assert (item["kind"], item["count"], example["id"]) == ("refund_by_hand", 1, str(booking.id))
        assert (example["amount"], example["text"]) == (left, "it was paid by cash")
        await refund(stage, booking, noted)
    assert await needed(stage) == []


async def test_refunds_that_wait_for_the_balance_at_stripe_are_listed_until_it_suffices(stage: Stage) -> None:
    show = await stage.show(10)
    low, slow = await stage.confirmed(show), await stage.confirmed(show)
    query = "UPDATE bookings SET payment = 'refund_pending', refund_waiting = $2 WHERE id = $1"
    await stage.rows(query, slow.id, "processing")
    assert await needed(stage) == []
    for reason in ("insufficient_funds", "insufficient_balance_for_refund", "balance_insufficient"):
        await stage.rows(query, low.id, reason)
        (item,) = await needed(stage)
        (example,) = item["examples"]
        assert (item["kind"], item["count"], example["id"]) == ("balance_too_low", 1, str(low.id))
        assert (example["amount"], example["text"]) == (None, reason)
    await stage.rows("UPDATE bookings SET payment = 'refunded'")
    assert await needed(stage) == []


async def test_of_many_the_oldest_are_examples_and_no_more_are_counted_than_the_limit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = await stage.show(100)
    bookings = [await refund_failed(stage, show) for _ in range(3)]
    for days, booking in enumerate(bookings):
        query = "UPDATE bookings SET updated_at = now() - make_interval(days => $2) WHERE id = $1"
        await stage.rows(query, booking.id, days)
    monkeypatch.setattr(common.postgres.attention, "EXAMPLES_MAX", 2)
    (item,) = await needed(stage)
    assert [each["id"] for each in item["examples"]] == [str(bookings[2].id), str(bookings[1].id)]
    assert (item["count"], item["since"]) == (3, item["examples"][0]["since"])
    monkeypatch.setattr(common.postgres.attention, "COUNT_MAX", 2)
    (item,) = await needed(stage)
    assert (item["count"], item["examples"][0]["id"]) == (2, str(bookings[2].id))


async def test_a_payment_of_another_amount_is_listed_for_a_week(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 2, amount_captured=1))
    (item,) = await needed(stage)
    assert (item["kind"], item["examples"][0]["amount"]) == ("payment_mismatch", 1)
    assert item["examples"][0]["text"] == f"the booking costs {booking.amount}"
    stage.clock.ahead = timedelta(days=8)
    assert await needed(stage) == []


@pytest.mark.parametrize(
    ("mails", "listed"),
    [
        ([("refused", 1)], ["confirmation, refused by the mail server"]),
        ([("given_up", 1)], ["confirmation, given up"]),
        ([("given_up", 2), ("refused", 1)], ["confirmation, given up", "confirmation, refused by the mail server"]),
        ([("given_up", 2), ("owed", 1)], []),
        ([("refused", 2), ("sent", 1)], []),
        ([("sent", 2), ("refused", 1)], ["confirmation, refused by the mail server"]),
        ([("refused", 8)], []),
        ([("sent", 1), ("dropped", 1), ("owed", 1)], []),
    ],
)
async def test_a_mail_that_was_not_sent_is_listed_unless_another_took_its_place(
    stage: Stage, mails: list[tuple[str, int]], listed: list[str]
) -> None:
    booking_id = uuid4()
    for status, days in mails:
        await stage.rows(MAIL, uuid4(), booking_id, status, PERSON, timedelta(days=days))
    found = [example for item in await needed(stage) for example in item["examples"]]
    assert [each["text"] for each in found] == listed
    assert {each["booking_id"] for each in found} <= {str(booking_id)}


async def test_endpoints_are_listed_that_no_operator_has_disabled(stage: Stage) -> None:
    ids = {name: uuid4() for name in ("failing", "gone", "by_operator", "deleted")}
    for name, id in ids.items():
        await stage.rows(ENDPOINT, id, "failing" if name == "deleted" else name, name == "deleted")
    (item,) = await needed(stage)
    assert (item["kind"], item["count"]) == ("endpoint_disabled", 2)
    assert {each["id"] for each in item["examples"]} == {str(ids["failing"]), str(ids["gone"])}


async def test_dead_letters_are_listed_by_mailbox_without_their_contents(stage: Stage) -> None:
    """What says nothing that is known may be anything, and is not shown either."""
    booking_id = UUID(int=7)
    known = {"type": "payment.succeeded", "subject": str(booking_id), "data": PERSON, "dead_error": PERSON}
    letters: list[dict[str, str]] = [
        known | {"dead_attempts": "5"},
        known | {"type": PERSON, "subject": PERSON, "dead_attempts": "0"},
        known | {"subject": PERSON, "dead_attempts": "0"},
        {"type": "customer.erase", "subject": PERSON, "dead_error": PERSON, "dead_attempts": "5"},
    ]
    for letter in letters:
        await stage.redis.xadd(dead_letters("booking.payments"), dict(letter.items()))
    id = cast(bytes, await stage.redis.xadd(dead_letters("booking.queries"), {"dead_error": "missing: type"}))
    queries, payments = await needed(stage)
    assert [(each["kind"], each["mailbox"], each["count"]) for each in (queries, payments)] == [
        ("dead_letters", "booking.queries", 1),
        ("dead_letters", "booking.payments", 4),
    ]
    assert queries["examples"][0]["id"] == (id.decode() if isinstance(id, bytes) else id)
    assert [(each["text"], each["booking_id"]) for each in payments["examples"]] == [
        ("payment.succeeded, which failed 5 times", str(booking_id)),
        ("no message that is known here", None),
        ("payment.succeeded, unreadable", None),
        ("customer.erase, which failed 5 times", None),
    ]
    assert payments["since"] == payments["examples"][0]["since"]
