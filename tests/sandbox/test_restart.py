"""After a restart with the same ledger file nothing is lost, also after a kill."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import stripe
from aiohttp import ClientConnectionError, ClientSession
from aiohttp.test_utils import unused_port

from sandbox.account import Account
from sandbox.faults import Faults
from sandbox.ledger import Ledger
from sandbox.webhooks import Webhooks
from tests.forked import running
from tests.sandbox.receiver import Receiver
from tests.sandbox.stand import CONTROL_KEY, RETURN_URL, Stand, client, standing

START_SECONDS = 20.0


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "deep" / "sandbox.sqlite3")


async def test_objects_events_and_keys_survive_a_restart(
    session: ClientSession, receiver: Receiver, ledger: str
) -> None:
    """A key is answered with its first answer, and a payment method still behaves as its number requires."""
    key = {"Idempotency_Key": "k"}
    form = {"amount": "2000", "currency": "usd"}
    async with standing(session, receiver, sandbox_ledger=ledger) as stand:
        first = await stand.call("POST", "/v1/payment_intents", form, **key)
        card = await stand.stripe.v1.payment_methods.retrieve_async("pm_card_visa_chargeDeclined")
        paid = await stand.paid()
        events = [event.id for event in (await stand.stripe.v1.events.list_async()).data]
    async with standing(session, receiver, sandbox_ledger=ledger) as stand:
        again = await stand.call("POST", "/v1/payment_intents", form, **key)
        with pytest.raises(stripe.CardError):
            await stand.confirm(first.body["id"], card.id)
        assert again.body == first.body
        assert (await stand.stripe.v1.payment_intents.retrieve_async(paid.id)).to_dict() == paid.to_dict()
        listed = [event.id for event in (await stand.stripe.v1.events.list_async()).data]
        assert listed[-len(events) :] == events


async def test_webhooks_continue_after_a_restart(session: ClientSession, receiver: Receiver, ledger: str) -> None:
    """Webhooks that were not accepted are sent; those that were are not sent again."""
    settings = {"sandbox_ledger": ledger}
    async with standing(session, receiver, **settings) as stand:
        taken = await stand.intent()
        await receiver.until(1, of=taken.id)
        await stand.control("POST", "/webhooks/pause")
        waiting = await stand.intent()
        listed = (await stand.stripe.v1.events.list_async()).data
        assert [event.pending_webhooks for event in listed] == [1, 0]
        assert [(await stand.stripe.v1.events.retrieve_async(event.id)).pending_webhooks for event in listed] == [
            1,
            0,
        ]
    async with standing(session, receiver, **settings):
        await receiver.until(1, of=waiting.id)
    assert len(receiver.arrivals) == 2


async def test_a_webhook_has_failed_after_its_last_attempt(
    session: ClientSession, receiver: Receiver, ledger: str
) -> None:
    """After three days; a control request can still send it."""
    async with standing(session, receiver, sandbox_ledger=ledger) as stand:
        await stand.control("POST", "/webhooks/pause")
        await stand.intent()
    with closing(sqlite3.connect(ledger)) as other, other:
        other.execute("UPDATE events SET created = created - 4 * 24 * 3600")
    receiver.answers = [500]
    async with standing(session, receiver, sandbox_ledger=ledger) as stand:
        await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
        later = await stand.intent()
        await receiver.until(1, of=later.id)
        assert (await stand.control("GET", "/webhooks"))["deliveries"]["failed"] == 1

        old = receiver.arrivals[0].event
        await stand.control("POST", f"/events/{old['id']}/redeliver")
        await receiver.until(1, of=old["data"]["object"]["id"])
        assert "failed" not in (await stand.control("GET", "/webhooks"))["deliveries"]


async def test_an_endpoint_is_remembered_where_none_is_set(
    session: ClientSession, receiver: Receiver, ledger: str
) -> None:
    """An endpoint in the settings replaces the remembered one."""
    async with standing(session, receiver, sandbox_ledger=ledger):
        pass
    async with standing(session, receiver, sandbox_ledger=ledger, sandbox_webhook_url="") as stand:
        intent = await stand.intent()
        await receiver.until(1, of=intent.id)
    async with Receiver().listening() as other, standing(session, other, sandbox_ledger=ledger) as stand:
        intent = await stand.intent()
        await other.until(1, of=intent.id)
        assert receiver.accepted(of=intent.id) == []


async def test_moves_continue_after_a_restart(session: ClientSession, receiver: Receiver, ledger: str) -> None:
    """A bank debit still ends, and its refund still fails, once each."""
    slow = {"sandbox_ledger": ledger, "sandbox_settle_seconds": 0.2, "sandbox_webhook_url": ""}
    async with standing(session, receiver, **slow) as stand:
        debit = await stand.confirm((await stand.intent()).id, "pm_usBankAccount_success")
        card = await stand.paid(card="pm_card_refundFail")
        refund = await stand.stripe.v1.refunds.create_async({"payment_intent": card.id})
        assert (debit.status, refund.status) == ("processing", "succeeded")
    async with standing(session, receiver, sandbox_ledger=ledger) as stand:
        await receiver.until(1, "payment_intent.succeeded", of=debit.id)
        await receiver.until(1, "refund.failed", of=refund.id)
    async with standing(session, receiver, sandbox_ledger=ledger) as stand:
        listed = await stand.stripe.v1.events.list_async({"types": ["payment_intent.succeeded", "refund.failed"]})
        assert sorted(event.type for event in listed.data) == [
            "payment_intent.succeeded",
            "payment_intent.succeeded",
            "refund.failed",
        ]
    assert column(ledger, "SELECT name FROM moves") == []


@asynccontextmanager
async def process(session: ClientSession, receiver: Receiver, port: int, ledger: str) -> AsyncIterator[Stand]:
    """The real process; it is killed at the end."""
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "LOG_LEVEL": "ERROR",
        "SANDBOX_LEDGER": ledger,
        "SANDBOX_WEBHOOK_URL": receiver.url,
        "SANDBOX_WEBHOOK_SECRET": receiver.secret,
        "SANDBOX_CONTROL_KEY": CONTROL_KEY,
        "SANDBOX_WEBHOOK_RETRY_SECONDS": "0.05",
    }
    url = f"http://127.0.0.1:{port}"
    stand = Stand(url, client(url, session), session, receiver)
    async with running("sandbox", environment) as child:
        async with asyncio.timeout(START_SECONDS):
            while not await _ready(stand):
                assert not child.ended.done()
                await asyncio.sleep(0.02)  # until it listens
        yield stand


async def _ready(stand: Stand) -> bool:
    try:
        return (await stand.send("GET", "/_sandbox/health")).status == 200
    except ClientConnectionError:
        return False


async def test_answered_requests_survive_a_kill(session: ClientSession, receiver: Receiver, ledger: str) -> None:
    """Every payment that the caller has an answer for is there, with its webhooks."""
    port = unused_port()
    paid: list[str] = []

    async def pay(stand: Stand) -> None:
        while True:
            intent = await stand.intent(confirm=True, payment_method="pm_card_visa", return_url=RETURN_URL)
            paid.append(intent.id)

    receiver.answers = [503] * 40
    async with process(session, receiver, port, ledger) as stand:
        payers = [asyncio.create_task(pay(stand)) for _ in range(4)]
        await receiver.wait_for(lambda: len(receiver.arrivals) >= 60)
    ends = await asyncio.gather(*payers, return_exceptions=True)
    assert all(isinstance(end, stripe.APIConnectionError) for end in ends)
    async with process(session, receiver, port, ledger) as stand:
        rows = (await stand.control("GET", "/ledger"))["payment_intents"]
        kept = {row["id"] for row in rows if row["status"] == "succeeded"}
        assert len(paid) > 4
        assert set(paid) <= kept
        for row in rows:
            assert (row["amount_received"], row["amount_captured"]) == (2000, 2000)
        for intent_id in kept:
            await receiver.until(1, "payment_intent.succeeded", of=intent_id)
        received = {arrival.event["id"] for arrival in receiver.arrivals}
        assert received <= set(column(ledger, "SELECT id FROM events"))


def column(path: str, query: str) -> list[str]:
    """The values of a column, read through another connection."""
    with closing(sqlite3.connect(path)) as other:
        return [row[0] for row in other.execute(query)]


def insert_twice(ledger: Ledger) -> None:
    with ledger.atomic():
        for object_id in ("pm_2", "pm_1"):
            ledger.insert({"id": object_id, "object": "payment_method", "created": 1})


async def test_work_that_fails_is_rolled_back(tmp_path: Path) -> None:
    """What was done before and after it, in the same commit, stays."""
    path = str(tmp_path / "ledger.sqlite3")
    ledger = Ledger(path)
    try:
        with ledger.atomic():
            ledger.insert({"id": "pm_1", "object": "payment_method", "created": 1})
        with pytest.raises(sqlite3.IntegrityError):
            insert_twice(ledger)
        with ledger.atomic():
            ledger.insert({"id": "pm_3", "object": "payment_method", "created": 1})
        await ledger.committed()
        assert column(path, "SELECT id FROM objects ORDER BY seq") == ["pm_1", "pm_3"]
    finally:
        ledger.close()


async def test_work_is_in_the_file_when_it_is_answered(session: ClientSession, tmp_path: Path) -> None:
    """A reader that opens the file at this moment finds it there."""
    path = str(tmp_path / "ledger.sqlite3")
    ledger = Ledger(path)
    try:
        webhooks = Webhooks(ledger, Faults(), session, retry_seconds=1)
        account = Account(ledger, webhooks, Faults(), home="http://sandbox", settle_seconds=0)
        await account.perform(lambda work: work.emit("payment_intent.created", {"id": "pi_1"}))
        assert len(column(path, "SELECT id FROM events")) == 1
    finally:
        ledger.close()


async def test_no_answer_names_the_server(session: ClientSession, receiver: Receiver, ledger: str) -> None:
    """Also not that to what is no HTTP."""
    port = unused_port()
    async with process(session, receiver, port, ledger) as stand:
        for path in ("/_sandbox/health", "/v1/payment_intents", "/nowhere"):
            assert "Server" not in (await stand.send("GET", path)).headers
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"no HTTP at all\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.split()[1] == b"400"
        assert b"\r\nserver:" not in answer.lower()
