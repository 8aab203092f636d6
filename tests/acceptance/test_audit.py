"""`holdfast audit` as an operator runs it, beside a running stack: its exit code and what it prints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.acceptance.client import Client, Json
from tests.acceptance.command import audit
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast

BUYERS = 20
NOWHERE = "postgresql://nobody:no@127.0.0.1:1/nothing"

pytestmark = pytest.mark.timeout(120)


async def buy(holdfast: Holdfast, client: Client, event: Json) -> Json:
    booking = (await client.book(event, 1)).ok(201)
    await holdfast.stripe.pay(booking)
    return booking


@asynccontextmanager
async def changed(holdfast: Holdfast, id: str) -> AsyncIterator[None]:
    """A booking whose row has another intent's id; repaired at the end."""
    connection = await asyncpg.connect(holdfast.stack.booking_database_url)
    put = "UPDATE bookings SET intent_id = $2 WHERE id = $1"
    try:
        right = await connection.fetchval("SELECT intent_id FROM bookings WHERE id = $1", UUID(id))
        await connection.execute(put, UUID(id), "pi_other")
        yield
        await connection.execute(put, UUID(id), right)
    finally:
        await connection.close()


async def test_audit_of_a_busy_stack_is_clean_and_reports_what_is_under_way(holdfast: Holdfast) -> None:
    """A hold is work under way; bookings that are bought during the audit are no mismatch."""
    event = await holdfast.event((1000, 100))
    holder = await holdfast.guest()
    (await holder.book(event, 1)).ok(201)
    buyers = [await holdfast.guest() for _ in range(BUYERS)]
    buying = asyncio.gather(*(buy(holdfast, buyer, event) for buyer in buyers))
    done = await audit(holdfast.stack.data_dir, "--json")
    await buying
    assert (done.code, done.error) == (0, "")
    body = done.body
    assert (body["clean"], body["mismatches"]) == (True, [])
    assert body["under_way"]["hold"]["count"] >= 1
    assert set(body["dead_letters"].values()) == {0}
    assert body["mailboxes"].keys() == body["dead_letters"].keys()


async def test_a_mismatch_is_printed_and_the_exit_code_is_1(holdfast: Holdfast) -> None:
    """It is a mismatch when two checks find it; with `--since` after the booking, nothing is found."""
    event = await holdfast.event((1000, 10))
    guest = await holdfast.guest()
    async with guest.live() as live:
        booking = await buy(holdfast, guest, event)
        await live.until(booking["id"], "confirmed")
    # At rest, because a later report of the payment would repair the row.
    await assert_clean(holdfast)
    async with changed(holdfast, booking["id"]):
        done = await audit(holdfast.stack.data_dir, "--wait-seconds", "4")
        later = await audit(holdfast.stack.data_dir, "--wait-seconds", "4", "--since", "2090-01-01")
    assert (done.code, done.error) == (1, "")
    lines = [line for line in done.out.splitlines() if line.startswith("mismatch")]
    assert [line.split("\t")[1:3] for line in lines] == [["summary", booking["id"]]]
    assert done.out.splitlines()[-1].startswith("1 do not match: summary 1")
    assert (later.code, later.out.splitlines()[-1].split(" (")[0]) == (0, "clean")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"BOOKING_DATABASE_URL": NOWHERE}, "database booking does not answer"),
        ({"PAYMENT_DATABASE_URL": NOWHERE}, "database payment does not answer"),
        ({"STRIPE_API_BASE": "http://127.0.0.1:1"}, "Stripe does not answer"),
        ({"STRIPE_SECRET_KEY": "sk_test_wrong"}, "Stripe refuses the key"),
    ],
)
async def test_an_audit_that_cannot_read_a_source_exits_with_2(
    holdfast: Holdfast, environment: Mapping[str, str], message: str
) -> None:
    base = {"STRIPE_API_BASE": holdfast.stack.sandbox_url or ""}
    done = await audit(holdfast.stack.data_dir, environment={**base, **environment})
    assert (done.code, done.out, len(done.error.splitlines())) == (2, "", 1), done
    assert message in done.error


async def test_an_audit_without_a_stack_or_settings_names_what_is_missing(tmp_path: Path) -> None:
    done = await audit(tmp_path)
    assert (done.code, len(done.error.splitlines())) == (2, 1)
    assert "BOOKING_DATABASE_URL, PAYMENT_DATABASE_URL, STRIPE_SECRET_KEY not set" in done.error
