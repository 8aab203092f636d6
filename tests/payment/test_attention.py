"""What needs a person, as far as payment knows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from common.attention import AttentionHandlers
from common.contracts.attention import KnownAttention
from common.contracts.codes import reference_of
from common.contracts.messages import GetPaymentAttention
from common.messaging.streams import dead_letters
from tests.payment.rows import bank
from tests.payment.stage import Stage, booking, delivery
from tests.payment.test_lost import GRACE, close, refunds_of, stray, unknown

MAILBOXES = ("payment.commands", "payment.queries")


async def needed(stage: Stage, redis: Redis) -> list[dict[str, Any]]:
    handlers = AttentionHandlers(stage.store.reading, redis, MAILBOXES, stage.clock)
    asked = delivery(GetPaymentAttention())
    asked = asked._replace(envelope=asked.envelope._replace(replyto="inbox:test", correlationid="c"))
    (reply,) = await handlers.get_attention([asked])
    found = KnownAttention.model_validate(reply.message.model_dump()["result"])
    items: list[dict[str, Any]] = found.model_dump(mode="json")["items"]
    return items


async def test_a_dispute_is_listed_until_it_is_answered(stage: Stage, redis: Redis) -> None:
    of = booking()
    report = await stage.paid(of)
    assert await needed(stage, redis) == []
    intent = report.payment.intent_id
    await bank(stage, f"payment_intents/{intent}/dispute")
    await stage.webhooks(*await stage.events("charge.dispute.created"))
    (item,) = await needed(stage, redis)
    (example,) = item["examples"]
    (row,) = await stage.rows("SELECT * FROM disputes")
    assert (item["kind"], item["count"], example["id"]) == ("dispute", 1, row["id"])
    assert (example["booking_id"], example["reference"]) == (str(of.id), reference_of(of.id))
    assert (example["amount"], example["currency"]) == (of.amount, "eur")
    assert example["text"].startswith(
        f"needs_response, {row['reason']}, answer by {row['respond_by']:%Y-%m-%d %H:%M}Z"
    )
    await stage.rows("UPDATE disputes SET status = 'under_review'")
    assert await needed(stage, redis) == []


async def test_money_of_a_lost_booking_is_listed_until_it_is_back(stage: Stage, redis: Redis) -> None:
    of = booking()
    report = await stage.paid(of)
    await unknown(stage, report)
    (item,) = await needed(stage, redis)
    (example,) = item["examples"]
    assert (item["kind"], example["id"], example["amount"]) == (
        "money_without_booking",
        report.payment.intent_id,
        of.amount,
    )
    assert (example["booking_id"], example["event_id"]) == (str(of.id), str(of.event_id))
    stage.clock.ahead = GRACE + timedelta(seconds=2)
    await unknown(stage, report)
    assert await needed(stage, redis) == []


async def test_a_second_intent_is_listed_until_its_money_is_back_also_by_hand(stage: Stage, redis: Redis) -> None:
    of, intent = await stray(stage, "pm_card_pendingRefund")
    (item,) = await needed(stage, redis)
    assert (item["kind"], [each["id"] for each in item["examples"]]) == ("money_without_booking", [intent])
    stage.clock.ahead = GRACE
    await close(stage, of, intent)
    (own,) = await refunds_of(stage, intent)
    await bank(stage, f"refunds/{own['id']}/fail")
    again = "UPDATE stray_intents SET drive_after = now()"  # as an event of Stripe does
    await stage.rows(again)
    await close(stage, of, intent)
    (item,) = await needed(stage, redis)
    assert item["examples"][0]["text"] == "a second intent of the booking: its refund has failed"

    await stage.call("POST", "/v1/refunds", payment_intent=intent)
    await stage.rows(again)
    await close(stage, of, intent)
    assert await needed(stage, redis) == []


async def test_dead_letters_of_payments_mailboxes_are_listed(stage: Stage, redis: Redis) -> None:
    letter = {"type": "payment.sync", "subject": str(booking().id), "dead_attempts": "5"}
    await redis.xadd(dead_letters("payment.commands"), dict(letter.items()))
    await redis.xadd(dead_letters("booking.commands"), dict(letter.items()))
    (item,) = await needed(stage, redis)
    assert (item["kind"], item["mailbox"], item["count"]) == ("dead_letters", "payment.commands", 1)
