"""What is owed to endpoints is sent to a real receiver, signed, again and again until it is answered well, and an
endpoint that does not is disabled. The clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from standardwebhooks import Webhook

from booking.webhook_announcer import EventAnnouncer, announced_by_webhook
from booking.webhook_client import open_client
from booking.webhook_rows import CLAIM, FORGET, FORGET_DELIVERIES, NEXT_DUE, WebhookRows
from booking.webhook_sender import CLAIM_MARGIN, FORGET_AGAIN, WebhookMetrics, WebhookSender
from booking.webhooks import Owed, SenderTerms
from common.contracts.messages import (
    CancelEvent,
    DeleteWebhookEndpoint,
    EventChanges,
    GetWebhookDelivery,
    ListWebhookDeliveries,
    RepeatWebhookDeliveries,
    RepeatWebhookDelivery,
    UpdateEvent,
)
from common.contracts.resources import Booking
from common.contracts.statuses import EventStatus, IntentStatus
from common.contracts.webhooks import DeliveryStatus
from common.postgres.database import Database
from common.runtime.health import Gate
from tests.booking.receiver import Receiver, open_receiver
from tests.booking.stage import LOCAL, Stage, report
from tests.booking.test_webhook_endpoints import Json, by, changed, creating, done, listed, refused, rotated
from tests.plans import parts

TERMS = SenderTerms(concurrency=2, mails_operators=True)
DAY = timedelta(days=1)


class Sending:
    """A process that sends, and one endpoint at the receiver."""

    def __init__(self, stage: Stage, receiver: Receiver, sender: WebhookSender, metrics: CollectorRegistry) -> None:
        self.stage = stage
        self.receiver = receiver
        self.sender = sender
        self.metrics = metrics

    async def endpoint(self, path: str = "/hooks", **fields: Any) -> Json:
        return await done(self.stage, creating(self.receiver.url(path), **fields))

    async def owe(self, booking: Booking, type: str = "booking.confirmed", id: UUID | None = None) -> None:
        now = self.stage.clock()
        owed = Owed(id or uuid4(), type, booking.id, booking.version, now)
        async with self.stage.database.transaction() as connection:
            await WebhookRows(connection).owe([owed], now, now + TERMS.retried_for)

    async def send(self, after: timedelta = timedelta()) -> None:
        """Advance the time and send what is due, until nothing more is."""
        self.stage.clock.ahead += after
        await self.sender.run_once()
        while self.sender._sends:
            await asyncio.wait(self.sender._sends)
            await self.sender.run_once()

    async def deliveries(self, endpoint: Json, **values: Any) -> list[Json]:
        message = ListWebhookDeliveries(endpoint_id=UUID(endpoint["id"]), **({"limit": 50} | values))
        return (await done(self.stage, message))["items"]  # type: ignore[no-any-return]

    async def state(self, endpoint: Json) -> Json:
        (found,) = [each for each in await listed(self.stage) if each["id"] == endpoint["id"]]
        return found


@pytest.fixture
async def sending(stage: Stage) -> AsyncIterator[Sending]:
    metrics = CollectorRegistry()
    async with open_receiver() as receiver, open_client(LOCAL, endpoints=4, timeout_s=5) as client:
        sender = WebhookSender(stage.database, client.post, stage.clock, WebhookMetrics(metrics), TERMS)
        yield Sending(stage, receiver, sender, metrics)
        receiver.go_on.set()


def ids(receiver: Receiver) -> list[str]:
    return [each.id for each in receiver.received]


def at(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)


async def test_the_whole_booking_is_sent_signed_and_without_its_client_secret(sending: Sending) -> None:
    endpoint = await sending.endpoint()
    booking = await sending.stage.pending(await sending.stage.show())
    assert booking.payment.client_secret
    await sending.owe(booking)
    await sending.send()
    (received,) = sending.receiver.received
    message = Webhook(endpoint["secret"]).verify(received.body, received.headers)
    assert message["type"] == "booking.confirmed"
    assert message["version"] == message["data"]["version"] == booking.version
    assert message["data"]["id"] == str(booking.id)
    assert message["data"]["reference"].startswith("HF-")
    assert message["data"]["kind"] == "booking"
    assert message["data"]["owner"] == "alice"
    assert message["data"]["payment"]["disputes"] == []  # what operators see
    assert booking.payment.client_secret.encode() not in received.body
    (delivery,) = await sending.deliveries(endpoint)
    assert (delivery["status"], delivery["attempts"], delivery["response_status"]) == ("delivered", 1, 204)
    assert delivery["message_id"] == received.id
    await sending.send(DAY)
    assert len(sending.receiver.received) == 1


async def test_what_is_owed_twice_is_one_delivery_to_each_endpoint_that_wants_it(sending: Sending) -> None:
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    all_types = await sending.endpoint("/all")
    await sending.endpoint("/one", types=("booking.confirmed", "booking.failed"))
    await sending.endpoint("/other", types=("booking.cancelled",))
    await sending.endpoint("/off", enabled=False)
    id = uuid4()
    for _ in range(2):
        await sending.owe(booking, id=id)
        await sending.send()
    assert sorted((each.path, each.id) for each in sending.receiver.received) == [
        ("/all", str(id)),
        ("/one", str(id)),
    ]
    # One that is made later gets nothing of what has happened before.
    owed = Owed(uuid4(), "booking.confirmed", booking.id, 1, at(all_types["created_at"]) - timedelta(seconds=1))
    async with sending.stage.database.transaction() as connection:
        assert await WebhookRows(connection).owe([owed], sending.stage.clock(), sending.stage.clock()) == 0


async def test_a_refused_webhook_is_sent_again_with_the_same_id_and_growing_pauses(sending: Sending) -> None:
    endpoint = await sending.endpoint()
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    sending.receiver.statuses = [500, 302, 404, 200]
    await sending.owe(booking)
    pauses = []
    await sending.send()
    for attempts in (1, 2, 3):
        (delivery,) = await sending.deliveries(endpoint)
        assert (delivery["status"], delivery["attempts"]) == ("pending", attempts)
        assert delivery["error"] == f"answered {delivery['response_status']}"
        pause = at(delivery["next_attempt_at"]) - sending.stage.clock()
        pauses.append(pause)
        await sending.send(pause / 2)  # not yet
        await sending.send(pause / 2)
    assert pauses[0] < pauses[2]
    (delivery,) = await sending.deliveries(endpoint)
    assert (delivery["status"], delivery["attempts"], delivery["error"]) == ("delivered", 4, None)
    assert len(set(ids(sending.receiver))) == 1
    assert len(sending.receiver.received) == 4
    times = [each.headers["webhook-timestamp"] for each in sending.receiver.received]
    assert times == sorted(set(times))
    assert all(each.signed_by(endpoint["secret"]) for each in sending.receiver.received)
    assert (await sending.state(endpoint))["failing_since"] is None


async def test_after_days_without_a_good_answer_the_delivery_has_failed_and_the_endpoint_is_disabled(
    sending: Sending,
) -> None:
    endpoint = await sending.endpoint()
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    sending.receiver.statuses = [500]
    began = sending.stage.clock()
    await sending.owe(booking)
    for _ in range(200):
        await sending.send()
        (delivery,) = await sending.deliveries(endpoint)
        if delivery["next_attempt_at"] is None:
            break
        sending.stage.clock.ahead += at(delivery["next_attempt_at"]) - sending.stage.clock()
    assert delivery["status"] == "failed"
    assert 20 < delivery["attempts"] < 100
    assert timedelta() <= sending.stage.clock() - began - TERMS.retried_for < timedelta(minutes=1)
    assert (await sending.state(endpoint))["disabled_reason"] == "failing"
    assert "1 webhook endpoint" in (await sending.sender.problem() or "")
    (owed,) = await sending.stage.rows("SELECT endpoint_id::text, kind, status, send_after FROM mails")
    assert tuple(owed)[:3] == (endpoint["id"], "attention", "owed")
    await sending.sender.sample()
    assert sending.metrics.get_sample_value("holdfast_webhook_endpoints", {"state": "failing"}) == 1
    # Nothing is made for it and nothing sent to it, until it is enabled: then it can be sent what has failed.
    received = len(sending.receiver.received)
    await sending.owe(booking)
    repeat = RepeatWebhookDeliveries(endpoint_id=UUID(endpoint["id"]), since=began, request=by(None))
    assert await refused(sending.stage, repeat) == "conflict"
    await sending.send(DAY)
    assert len(sending.receiver.received) == received
    sending.receiver.statuses = [200]
    assert (await changed(sending.stage, endpoint["id"], enabled=True))["failing_since"] is None
    assert await sending.sender.problem() is None
    assert await done(sending.stage, repeat) == {"deliveries": 1, "more": False}
    await sending.send()
    assert ids(sending.receiver)[-1] == delivery["message_id"]
    assert [each["status"] for each in await sending.deliveries(endpoint)] == ["delivered"]


async def test_an_endpoint_that_is_gone_is_disabled_at_once_and_what_waits_for_it_goes_on_when_it_is_back(
    sending: Sending,
) -> None:
    endpoint = await sending.endpoint()
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    sending.receiver.statuses = [500]
    await sending.owe(booking)
    await sending.send()
    sending.receiver.statuses = [410]
    await sending.owe(booking, "booking.cancelled")
    await sending.send()
    state = await sending.state(endpoint)
    assert (state["disabled_reason"], state["version"]) == ("gone", 2)
    gone, waits = await sending.deliveries(endpoint)
    assert (gone["status"], waits["status"]) == ("failed", "pending")
    await sending.send(10 * DAY)
    assert len(sending.receiver.received) == 2
    sending.receiver.statuses = [503, 204]
    await changed(sending.stage, endpoint["id"], enabled=True)
    await sending.send()
    # Its time to be retried begins anew.
    assert [each["status"] for each in await sending.deliveries(endpoint)] == ["failed", "pending"]
    await sending.send(timedelta(seconds=10))
    assert [each["status"] for each in await sending.deliveries(endpoint)] == ["failed", "delivered"]


async def test_a_slow_endpoint_holds_up_no_other_and_has_few_requests_at_once(sending: Sending) -> None:
    slow, fast = await sending.endpoint("/slow"), await sending.endpoint("/fast")
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    for _ in range(5):
        await sending.owe(booking)
    for _ in range(20):
        await sending.sender.run_once()
        if not await sending.deliveries(fast, status=DeliveryStatus.PENDING):
            break
    assert len([each for each in sending.receiver.received if each.path == "/fast"]) == 5
    assert len([each for each in sending.receiver.received if each.path == "/slow"]) == TERMS.concurrency
    sending.receiver.go_on.set()
    await sending.send()
    assert {each["status"] for each in await sending.deliveries(slow)} == {"delivered"}


async def test_both_secrets_verify_during_a_rotation_and_the_new_one_alone_after_it(sending: Sending) -> None:
    endpoint = await sending.endpoint()
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    new = (await rotated(sending.stage, endpoint["id"], overlap_seconds=60))["secret"]
    for ahead in (timedelta(), timedelta(seconds=61)):
        sending.stage.clock.ahead += ahead
        await sending.owe(booking)
        await sending.send()
    both, one = sending.receiver.received
    assert [both.signed_by(endpoint["secret"]), both.signed_by(new)] == [True, True]
    assert [one.signed_by(endpoint["secret"]), one.signed_by(new)] == [False, True]


async def test_what_a_process_has_claimed_when_it_ends_is_sent_again_by_another_with_the_same_id(
    sending: Sending,
) -> None:
    endpoint = await sending.endpoint("/slow")
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    await sending.owe(booking)
    dying = asyncio.create_task(sending.sender.run(Gate("dying")))
    await sending.receiver.waiting.wait()
    dying.cancel()
    await asyncio.wait([dying])
    assert not sending.sender._sends
    sending.receiver.go_on.set()
    await sending.send(TERMS.timeout)
    assert len(sending.receiver.received) == 1  # it may still be answered
    await sending.send(CLAIM_MARGIN)
    first, second = ids(sending.receiver)
    assert first == second
    (delivery,) = await sending.deliveries(endpoint)
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 2)


async def test_a_process_that_stops_writes_what_its_last_requests_have_become(sending: Sending) -> None:
    endpoint = await sending.endpoint("/slow")
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    await sending.owe(booking)
    running = asyncio.create_task(sending.sender.run(Gate("stopping")))
    await sending.receiver.waiting.wait()
    sending.sender.stop()
    sending.receiver.go_on.set()
    await running
    assert [each["status"] for each in await sending.deliveries(endpoint)] == ["delivered"]


async def test_an_operator_repeats_a_delivery_with_its_id_also_while_it_is_under_way(sending: Sending) -> None:
    endpoint = await sending.endpoint("/slow")
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    await sending.owe(booking)
    await sending.sender.run_once()
    await sending.receiver.waiting.wait()
    (delivery,) = await sending.deliveries(endpoint)
    again = RepeatWebhookDelivery(delivery_id=UUID(delivery["id"]), request=by("again"))
    assert (await done(sending.stage, again))["status"] == "pending"
    sending.receiver.go_on.set()
    await sending.send()
    assert len(sending.receiver.received) == 2
    assert (await done(sending.stage, again))["attempts"] == 0  # the same answer; nothing is sent
    await sending.send()
    another = RepeatWebhookDelivery(delivery_id=UUID(delivery["id"]), request=by("another"))
    await done(sending.stage, another)
    await sending.send()
    assert len(sending.receiver.received) == 3
    assert len(set(ids(sending.receiver))) == 1
    read = await done(sending.stage, GetWebhookDelivery(delivery_id=UUID(delivery["id"])))
    assert (read["status"], read["attempts"]) == ("delivered", 1)


async def test_changes_of_events_are_sent_once_each(sending: Sending) -> None:
    announcer = EventAnnouncer(sending.stage.database, sending.stage.clock, TERMS.retried_for)
    old = await sending.stage.show()
    endpoint = await sending.endpoint()
    show = await sending.stage.show(5, name="Before")
    await sending.stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(name="After")))
    await sending.stage.call(CancelEvent(event_id=show.id))
    for _ in range(2):
        await announcer.run_once()
        await sending.send()
    messages = [each.message for each in sending.receiver.received]
    assert sorted((each["type"], each["version"]) for each in messages) == [
        ("event.cancelled", 3),
        ("event.changed", 2),
        ("event.created", 1),
    ]
    # Each has the event as it is now, as operators see it.
    assert {(each["data"]["name"], each["data"]["terms_version"]) for each in messages} == {("After", 3)}
    assert {each["data"]["ticket_types"][0]["held"] for each in messages} == {0}
    assert await sending.stage.rows("SELECT 1 FROM event_changes WHERE to_announce") == []
    assert all(each["resource_id"] != str(old.id) for each in await sending.deliveries(endpoint))


async def test_drafts_are_sent_and_say_so_with_what_they_show(sending: Sending) -> None:
    """Operators set up endpoints. A receiver that shows events to others looks at the status."""
    announcer = EventAnnouncer(sending.stage.database, sending.stage.clock, TERMS.retried_for)
    await sending.endpoint()
    show = await sending.stage.show(5, status=EventStatus.DRAFT, category="jazz", description="Long")
    for status in (None, EventStatus.PUBLISHED, EventStatus.DRAFT):
        if status is not None:
            await sending.stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(status=status)))
        await announcer.run_once()
        await sending.send()
    messages = [each.message for each in sending.receiver.received]
    assert [(each["type"], each["data"]["status"]) for each in messages] == [
        ("event.created", "draft"),
        ("event.changed", "published"),
        ("event.changed", "draft"),
    ]
    assert {each["data"]["category"] for each in messages} == {"jazz"}
    assert "description" not in messages[0]["data"]


async def test_the_life_of_a_booking_is_sent_once_for_each_change_that_is_announced(
    sending: Sending, database: Database, redis: Redis
) -> None:
    stage = Stage.build(
        database, redis, clock=sending.stage.clock, announce=(announced_by_webhook(TERMS.retried_for),)
    )
    await sending.endpoint()
    booking = await stage.confirmed(await stage.show(cancel_until=datetime(2031, 1, 1, tzinfo=UTC)))
    await stage.announcer.run_once()
    await sending.send()
    await stage.cancel(booking)
    refund = {"refund_ids": (str(uuid4()),), "amount_refunded": booking.amount}
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, **refund))
    for _ in range(2):
        await stage.announcer.run_once()
        await sending.send()
    messages = [each.message for each in sending.receiver.received]
    assert messages[0]["type"] == "booking.confirmed"
    assert sorted(each["type"] for each in messages) == [
        "booking.cancelled",
        "booking.confirmed",
        "booking.refunded",
    ]
    assert messages[0]["data"]["status"] == "confirmed"
    # Of two changes before they are sent each has the booking as it is then, and its own version.
    later = [(each["version"], each["data"]["version"], each["data"]["status"]) for each in messages[1:]]
    newest = max(version for version, _, _ in later)
    assert [(known, status) for _, known, status in later] == [(newest, "cancelled")] * 2
    assert len({version for version, _, _ in later}) == 2
    assert len(set(ids(sending.receiver))) == 3


async def test_what_does_not_exist_any_more_is_not_sent(sending: Sending) -> None:
    endpoint = await sending.endpoint()
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    await sending.owe(booking.model_copy(update={"id": uuid4()}))
    await sending.send()
    (delivery,) = await sending.deliveries(endpoint)
    assert (delivery["status"], delivery["error"]) == ("failed", "it does not exist any more")
    assert (await sending.state(endpoint))["failing_since"] is None


async def test_finished_deliveries_and_deleted_endpoints_are_deleted_some_time_later(sending: Sending) -> None:
    endpoint, other = await sending.endpoint(), await sending.endpoint("/other")
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    await sending.owe(booking)
    await sending.send()
    await changed(sending.stage, other["id"], enabled=False)
    await sending.owe(booking)
    sending.receiver.statuses = [500]
    await sending.send()
    assert await counted(sending.stage) == (2, 3)
    await sending.send(TERMS.kept + FORGET_AGAIN)
    assert await counted(sending.stage) == (2, 1)  # what is pending is kept
    await done(sending.stage, DeleteWebhookEndpoint(endpoint_id=UUID(endpoint["id"]), request=by(None)))
    await sending.send(FORGET_AGAIN)
    assert await counted(sending.stage) == (1, 0)


async def counted(stage: Stage) -> tuple[int, int]:
    (row,) = await stage.rows(
        "SELECT (SELECT count(*) FROM webhook_endpoints) AS endpoints, count(*) AS made FROM webhook_deliveries"
    )
    return row["endpoints"], row["made"]


async def test_deliveries_are_listed_newest_first_in_pages(sending: Sending) -> None:
    endpoint = await sending.endpoint()
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    for _ in range(3):
        await sending.owe(booking)
    every = await sending.deliveries(endpoint)
    found: list[Json] = []
    before: Any = None
    for _ in range(3):
        message = ListWebhookDeliveries(endpoint_id=UUID(endpoint["id"]), limit=1, before=before)
        page = await done(sending.stage, message)
        found += page["items"]
        before = page["next"]
    assert before is None
    assert found == every == sorted(every, key=lambda each: each["made_at"], reverse=True)
    assert await sending.deliveries(endpoint, status=DeliveryStatus.FAILED) == []


MANY_DELIVERED = """
INSERT INTO webhook_deliveries
    (endpoint_id, message_id, type, resource_id, version, happened_at, made_at, give_up_at, finished_at, status)
SELECT $1, gen_random_uuid(), 'booking.confirmed', gen_random_uuid(), 1, now(), now(), now(), now(), 'delivered'
FROM generate_series(1, 20000)
"""


@pytest.mark.parametrize(
    ("query", "values", "indexes"),
    [
        (NEXT_DUE, "'[]', 2", {"webhook_deliveries_due"}),
        (CLAIM, "'[]', 2, now() + interval '1 hour', now()", {"webhook_deliveries_due", "webhook_deliveries_pkey"}),
        (FORGET, "now() - interval '1 day', 1000", {"webhook_deliveries_finished"}),
        (FORGET_DELIVERIES, "1000", set()),
    ],
)
async def test_what_is_due_is_found_by_its_index_among_very_many(
    sending: Sending, query: str, values: str, indexes: set[str]
) -> None:
    """Also by a statement that was planned while the table was empty."""
    endpoint = await sending.endpoint()
    (booking,) = await sending.stage.book((await sending.stage.show()).order())
    async with sending.stage.database.connection() as connection, connection.transaction():
        await connection.execute(f"PREPARE query AS {query}")
        await connection.execute(f"EXPLAIN EXECUTE query ({values})")
        await connection.execute(MANY_DELIVERED, UUID(endpoint["id"]))
        now = sending.stage.clock()
        owed = [Owed(uuid4(), "booking.confirmed", booking.id, 1, now) for _ in range(5)]
        await WebhookRows(connection).owe(owed, now, now)
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE query ({values})")
        await connection.execute("DEALLOCATE query")
    done = [each for each in parts(orjson.loads(plan)[0]["Plan"]) if each.get("Actual Loops")]
    visited = [each for each in done if each.get("Relation Name") == "webhook_deliveries" and "Index Name" in each]
    assert {each["Index Name"] for each in visited} == indexes
    assert not [each for each in done if each["Node Type"] == "Seq Scan" and "deliveries" in each["Relation Name"]]
    assert sum(each["Actual Rows"] * each["Actual Loops"] for each in visited) <= 10
