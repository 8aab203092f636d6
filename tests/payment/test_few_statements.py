"""A new payment is made by two statements; where anybody else has written its row, the careful way decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from payment import domain
from payment.repository import FIXED, PAYMENT_COLUMNS
from tests.payment.stage import Booking, Stage, booking


@pytest.fixture
async def statements(stage: Stage) -> AsyncIterator[list[str]]:
    """What is sent to Postgres while the test runs."""
    sent: list[str] = []
    async with stage.database.connection() as connection:
        pool = await stage.database._pool()
        held = [connection, *[await pool.acquire() for _ in range(pool.get_size() - 1)]]
        for each in held:
            each.add_query_logger(lambda record: sent.append(record.query))
        for each in held[1:]:
            await pool.release(each)
    yield sent
    for each in [await pool.acquire() for _ in range(pool.get_size())]:
        each._query_loggers.clear()
        await pool.release(each)


async def test_a_new_payment_is_two_statements(stage: Stage, statements: list[str]) -> None:
    await stage.repository.installation()
    statements.clear()
    of = [booking() for _ in range(3)]
    reports = await stage.do(*(each.create for each in of))
    assert {report.booking_id for report in reports} == {each.id for each in of}
    # What the driver asks to learn the types of a new statement is asked once for each connection.
    ours = [each for each in statements if "jit" not in each and "pg_catalog" not in each]
    assert len(ours) == 2, ours


async def test_a_wanted_payment_is_what_its_row_is(stage: Stage) -> None:
    """All columns: the second statement writes them over."""
    of, now = booking(), stage.clock()
    new = await stage.repository.record([of.create], now)
    assert new.keys() == {of.id}
    async with stage.repository.work() as work:
        row = (await work.load([of.id]))[of.id]
    create = of.create
    assert row == domain.wanted(
        create.booking_id, create.event_id, create.amount, create.currency, create.payment_methods, now
    )
    assert await stage.repository.record([of.create], now) == {}


@pytest.mark.parametrize("column", [each for each in PAYMENT_COLUMNS if each not in FIXED])
async def test_what_anybody_has_written_is_not_written_over(stage: Stage, column: str) -> None:
    """Whichever column was written, by whichever release, also where the version stays as it was."""
    of, now = booking(), stage.clock()
    new = await stage.repository.record([of.create], now)
    async with stage.repository.work() as work:
        old = (await work.load([of.id]))[of.id]
    await stage.rows(f"UPDATE payments SET {column} = {column} WHERE booking_id = $1", of.id)
    before = dict(await stage.row(of))
    changed = replace(old, key_number=7, version=1)
    assert await stage.repository.save_unchanged([(changed, new[of.id])]) == set()
    assert dict(await stage.row(of)) == before


async def meanwhile(stage: Stage, do: Callable[[UUID], Awaitable[object]], of: Booking) -> None:
    """Does something when Stripe has made the intent and nobody has heard of it."""

    async def before(call: Any, _: Any = None) -> None:
        stage.wire.after = None
        await do(of.id)

    stage.wire.after = before


async def test_an_intent_that_is_no_longer_wanted_is_canceled(stage: Stage) -> None:
    """The cancel came while Stripe was asked."""
    of = booking()

    async def cancel(_: UUID) -> None:
        await stage.give(of.cancel)

    await meanwhile(stage, cancel, of)
    envelopes = await stage.give(of.create)
    told = [each.message.type for each in envelopes]
    assert told == ["payment.intent_created", "payment.cancel_intent"]
    await stage.follow(envelopes)
    assert (await stage.row(of))["status"] == "canceled"
    assert await stage.live_intents(of) == []


async def test_two_processes_that_ask_for_one_intent_make_one(stage: Stage) -> None:
    """The second one finds the row, asks under the same key, and reports the same."""
    of = booking()
    second: list[Any] = []

    async def ask(_: UUID) -> None:
        second.extend(await stage.do(of.create))

    await meanwhile(stage, ask, of)
    first = await stage.do(of.create)
    assert len(await stage.live_intents(of)) == 1
    assert len({each.payment.intent_id for each in [*first, *second]}) == 1
    assert (await stage.row(of))["version"] == 1
