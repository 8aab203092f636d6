"""Catch-up finds Stripe events whose webhooks never came: by Stripe's time, however late listed, with few calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis
from structlog.testing import capture_logs

from common.postgres.database import Database
from payment.catch_up import PAGES_MAX, TRIES_MAX, CatchUp
from payment.repository import Cursor
from payment.sdk import open_client
from payment.stripe_objects import Json
from sandbox.app import FAULTS, build_app
from sandbox.faults import Faults, Switches
from tests.payment.conftest import build_stage
from tests.payment.rows import bank
from tests.payment.stage import KEY, TABLES, Booking, Stage, booking, received
from tests.payment.test_lost import lose
from tests.payment.wire import Fault, Wire
from tests.sandbox.stand import without_webhooks
from tests.servers import empty

EVENTS = "/v1/events"
# How many seconds our clock is ahead of Stripe's.
APART_S = [-300, -14, 0, 14, 300]


class Account:
    """A Stripe account of its own, whose clock a test advances, and a payment actor for it."""

    def __init__(self, stage: Stage, faults: Faults) -> None:
        self.stage = stage
        self.catch_up = CatchUp(stage.store, stage.stripe, self._apply, stage.clock, 10.0)
        self._faults = faults
        self._ahead_s = 0.0
        self.lag_s = 0.0
        # How often catch-up has applied each event.
        self.put: Counter[str] = Counter()
        # Whether an applied event is stored, or lost.
        self.stored = True

    async def _apply(self, event: Json) -> None:
        self.put[event["id"]] += 1
        if self.stored:
            await self.stage.do(received(event))

    def pass_(self, seconds: float) -> None:
        """Let time pass, by both clocks."""
        self._ahead_s += seconds
        self.stage.clock.ahead += timedelta(seconds=seconds)
        self.list_late(self.lag_s)

    def list_late(self, lag_s: float) -> None:
        self.lag_s = lag_s
        self._faults.set(Switches(clock_ahead_seconds=self._ahead_s, event_lag_seconds=lag_s))

    async def scan(self) -> set[str]:
        """One pass of the catch-up; returns the events that it has applied."""
        before = self.put.copy()
        await self.catch_up.scan()
        return set(self.put - before)

    async def scans(self, seconds: float, until: str = "") -> float:
        """A pass every ten seconds, for `seconds`; returns the seconds after which `until` was found."""
        passed = 0.0
        while passed < seconds:
            self.pass_(10)
            passed += 10
            if until in await self.scan():
                return passed
        return passed

    def calls(self) -> int:
        """The calls to the event list since the last time."""
        made = len(self.stage.wire.made(EVENTS, "GET"))
        self.stage.wire.calls.clear()
        return made

    async def disputed(self) -> tuple[Booking, str]:
        """A payment that is paid and then disputed, without a webhook of the dispute; with the id of that event."""
        lag_s, of = self.lag_s, booking()
        self.list_late(0)
        paid = await self.stage.paid(of)
        await bank(self.stage, f"payment_intents/{paid.payment.intent_id}/dispute")
        (event,) = await self.stage.events("charge.dispute.created", of=paid.payment.intent_id)
        self.list_late(lag_s)
        return of, event["id"]


@pytest.fixture
async def account(database: Database, redis: Redis) -> AsyncIterator[Account]:
    app = build_app(without_webhooks())
    async with TestServer(app) as sandbox, ClientSession() as session:
        wire = Wire(str(sandbox.make_url("/")).rstrip("/"))
        async with (
            wire.listening() as url,
            open_client(KEY, url, concurrency=100) as client,
            database.connection() as connection,
        ):
            await empty(connection, TABLES)
            stage = build_stage(client, session, database, redis, wire)
            yield Account(stage, app[FAULTS])


@pytest.mark.parametrize("apart_s", APART_S)
async def test_an_event_is_found_with_clocks_far_apart(account: Account, apart_s: int) -> None:
    """One `charge.dispute.created` is dropped: it is found within two passes, and applied once."""
    account.stage.clock.ahead = timedelta(seconds=apart_s)
    await account.scans(30)
    of, event = await account.disputed()
    assert await account.scans(60, event) <= 20
    await account.scans(120)
    assert account.put[event] == 1
    assert (await account.stage.row(of))["dispute_status"] == "needs_response"


@pytest.mark.parametrize("lag_s", [20, 60, 240])
@pytest.mark.parametrize("apart_s", [-300, 300])
async def test_an_event_that_is_listed_late_is_found_soon_after_that(
    account: Account, apart_s: int, lag_s: int
) -> None:
    """The cursor has already passed its time, more than once."""
    account.stage.clock.ahead = timedelta(seconds=apart_s)
    await account.scans(30)
    account.list_late(lag_s)
    await account.scans(30)
    of, event = await account.disputed()
    # It is found within two passes after it is listed.
    assert lag_s <= await account.scans(lag_s + 60, event) <= lag_s + 20
    assert (await account.stage.row(of))["dispute_status"] == "needs_response"
    await account.scans(60)
    assert account.put[event] == 1


async def test_a_late_event_is_found_among_many(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page of others have come since: a deep pass finds it."""
    monkeypatch.setattr("payment.stripe_api.PAGE", 4)
    await account.scans(30)
    of, event = await account.disputed()
    account.list_late(3600)
    await account.scans(60)
    account.list_late(0)
    for _ in range(8):
        await account.stage.paid(booking())
    assert await account.scans(120, event) <= 60
    assert (await account.stage.row(of))["dispute_status"] == "needs_response"


async def test_a_scan_reads_few_pages_however_many_events_came(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next passes continue where it ended, until all are read; and each event is applied once."""
    monkeypatch.setattr("payment.stripe_api.PAGE", 2)
    await account.scans(30)
    ids = set()
    for _ in range(60):
        _, event = await account.disputed()
        ids.add(event)
    account.calls()
    found: set[str] = set()
    for _ in range(12):
        account.pass_(10)
        found |= await account.scan()
        assert account.calls() <= 2 * PAGES_MAX
    assert found >= ids
    assert {account.put[event] for event in ids} == {1}
    assert len(await account.stage.rows("SELECT id FROM disputes")) == 60


async def test_a_scan_without_new_events_is_one_call(account: Account) -> None:
    await account.scans(60)
    calls = []
    for _ in range(6):
        account.calls()
        await account.scans(10)
        calls.append(account.calls())
    assert sorted(calls) == [1, 1, 1, 1, 2, 2]  # every third pass is followed by a deep one


async def test_while_webhooks_arrive_a_scan_is_made_each_half_minute(account: Account) -> None:
    """A lost one among them is found by the next pass. After a pass that found one, passes are ten
    seconds apart again."""
    await account.scans(30)
    account.calls()
    calls = []
    for _ in range(6):
        paid = await account.stage.paid(booking())
        event = (await account.stage.events("payment_intent.succeeded", of=paid.payment.intent_id))[0]["id"]
        await account.scans(10)
        calls.append(account.calls())
    assert account.put[event] == 0
    assert sorted(calls) == [0, 0, 0, 0, 2, 2]
    _, lost = await account.disputed()
    assert await account.scans(60, lost) <= 40
    _, lost = await account.disputed()
    assert await account.scans(60, lost) <= 20


async def test_an_event_that_a_mailbox_loses_is_applied_again(account: Account) -> None:
    """It is applied again until it is stored."""
    await account.scans(30)
    of, event = await account.disputed()
    account.stored = False
    await account.scans(30, event)
    await account.scans(10)
    assert 1 < account.put[event] < TRIES_MAX
    account.stored, before = True, account.put[event]
    await account.scans(60)
    assert account.put[event] == before + 1
    assert (await account.stage.row(of))["dispute_status"] == "needs_response"


async def test_an_event_that_cannot_be_applied_is_given_up(account: Account) -> None:
    """It is tried a few times, logged once, and delays no other event."""
    await account.scans(30)
    _, event = await account.disputed()
    account.stored = False
    with capture_logs() as logs:
        await account.scans(600)
    account.stored = True
    assert account.put[event] == TRIES_MAX
    logged = [line["id"] for line in logs if line["event"] == "event cannot be applied"]
    assert logged.count(event) == 1
    _, other = await account.disputed()
    assert await account.scans(60, other) <= 20
    (row,) = await account.stage.rows("SELECT looked_until FROM event_cursor WHERE name = 'stripe'")
    assert account.stage.clock() - row["looked_until"] < timedelta(seconds=30)


async def test_a_cursor_of_the_release_before_in_our_own_time_is_corrected(account: Account) -> None:
    """It may be ahead of Stripe's time: what came meanwhile is found all the same."""
    await account.scans(30)
    ahead = account.stage.clock() + timedelta(minutes=5)
    await account.stage.rows("UPDATE event_cursor SET looked_until = $1, next_look_at = $1", ahead)
    _, event = await account.disputed()
    assert await account.scans(60, event) <= 20
    (row,) = await account.stage.rows("SELECT * FROM event_cursor WHERE name = 'stripe'")
    assert row["looked_until"] < account.stage.clock()


async def test_events_from_while_all_processes_were_down_are_found(account: Account) -> None:
    """Also what the list did not show yet at the last pass before."""
    await account.scans(30)
    account.list_late(120)
    of, late = await account.disputed()
    await account.scans(30)
    assert account.put[late] == 0
    account.pass_(4 * 3600)
    other, _ = await account.disputed()
    account.pass_(4 * 3600)
    account.list_late(0)
    await account.scans(40)
    assert [(await account.stage.row(each))["dispute_status"] for each in (of, other)] == ["needs_response"] * 2


async def test_a_walk_begins_again_when_stripe_has_deleted_its_last_event(account: Account) -> None:
    await account.scans(30)
    _, event = await account.disputed()
    await account.stage.rows("UPDATE event_cursor SET walked_to = 'evt_gone', walk_until = looked_until")
    assert await account.scans(120, event) <= 40


async def test_the_slower_process_moves_no_cursor(account: Account) -> None:
    repository = account.stage.store
    now = datetime(2030, 1, 1, tzinfo=UTC)
    start = await repository.take_cursor("stripe", now, timedelta(seconds=10))
    assert start == Cursor(None)
    assert await repository.take_cursor("stripe", now, timedelta(seconds=10)) is None
    again = now + timedelta(seconds=10)
    await repository.move_cursor("stripe", start, Cursor(None, "evt_1", now), again)
    await repository.move_cursor("stripe", start, Cursor(now), again)
    seen = await repository.take_cursor("stripe", now + timedelta(seconds=10), timedelta(seconds=10))
    assert seen == Cursor(None, "evt_1", now)
    # A time further in the future than a period comes from a clock that was wrong.
    assert await repository.take_cursor("stripe", now - timedelta(hours=1), timedelta(seconds=10)) == seen


async def test_an_answer_without_a_date_is_dated_by_the_measured_clock(account: Account) -> None:
    account.stage.clock.ahead = timedelta(minutes=5)
    await account.scans(20)
    of, event = await account.disputed()
    account.stage.wire.date = "lately"
    assert await account.scans(60, event) <= 20
    (report,) = await account.stage.do(of.sync)
    assert report.type == "payment.dispute_updated"


async def test_the_fleet_scans_once_in_each_period(account: Account) -> None:
    """The first process makes the pass; the others leave it out. Every third period has a deep pass, too."""
    made = []
    for seconds in (0, 11, 11, 11):
        account.pass_(seconds)
        account.calls()
        await asyncio.gather(*(account.catch_up.scan() for _ in range(5)))
        made.append(account.calls())
    assert made == [2, 1, 1, 2]


async def test_an_intent_found_again_under_its_key_is_fetched_with_all_parts(account: Account) -> None:
    """Its row was lost, and Stripe events about it came before the row was made again: they do not come again."""
    stage = account.stage
    of, _ = await account.disputed()
    paid = await stage.row(of)
    await lose(stage, of)
    await stage.webhooks(*await stage.events("charge.dispute.created", of=paid["intent_id"]))
    account.pass_(60)
    await stage.do(of.create)
    assert (await stage.row(of))["look_after"] is not None
    await stage.do(of.sync)
    (dispute,) = await stage.rows("SELECT status FROM disputes WHERE booking_id = $1", of.id)
    assert dispute["status"] == "needs_response"


async def test_an_intent_made_for_its_row_is_not_fetched(account: Account) -> None:
    """However late Stripe answers, and whatever the clocks show."""
    stage, of = account.stage, booking()
    stage.clock.ahead = timedelta(minutes=5)
    stage.wire.faults.append(Fault("/v1/payment_intents", times=9))
    await stage.do(of.create)
    stage.wire.faults.clear()
    account.pass_(60)
    await stage.do(of.create)
    row = await stage.row(of)
    assert row["intent_id"] is not None
    assert row["look_after"] is None
