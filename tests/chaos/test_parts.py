"""The parts of the chaos run do what they say: the plan, the wires, the witness, the judge and the screen."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from itertools import islice
from typing import Any, cast
from uuid import UUID, uuid5

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from standardwebhooks import Webhook

from documents.sources import ROOT
from ops.layout import Scale
from tests.acceptance.client import Answer, Client, Json
from tests.announced import Key, judge_mails, judge_webhooks
from tests.chaos.check_ins import ENDED, MET, ONCE, STAYS, UNDONE, CheckIns, Kept, Shown
from tests.chaos.door import Scanner, Ticket
from tests.chaos.judge import Judge
from tests.chaos.notified import DOMAIN, SIGNED, Receiver
from tests.chaos.plan import CLAIM_IDLE_S, REPEATS, Kind, Tempo, rounds, short, wires
from tests.chaos.screen import Screen
from tests.chaos.verdict import expected
from tests.chaos.visitor import Visitor
from tests.chaos.wire import Wire
from tests.chaos.witness import FORWARD, SHOWN, Witness

SCALE = Scale(gateway=2, booking=2, payment=2)
ID = "11111111-1111-4111-8111-111111111111"


# --- the plan -----------------------------------------------------------------------------------------------


def test_plan_comes_from_the_seed_alone() -> None:
    plans = [list(islice(rounds(seed, SCALE, Tempo()), 30)) for seed in (5, 5, 6)]
    assert plans[0] == plans[1] != plans[2]
    assert short(5, SCALE) == short(5, SCALE) != short(6, SCALE)


def test_every_kind_comes_its_number_of_times_before_all_come_again() -> None:
    kinds = [fault.kind for each in islice(rounds(7, SCALE, Tempo()), 60) for fault in each]
    repeats = Counter({kind: REPEATS.get(kind, 1) for kind in Kind})
    assert Counter(kinds[: repeats.total()]) == Counter(kinds[repeats.total() : 2 * repeats.total()]) == repeats
    assert Counter(fault.kind for each in short(7, SCALE) for fault in each) == Counter(Kind)


def test_a_long_freeze_outlasts_a_claim_and_targets_exist() -> None:
    faults = [fault for each in islice(rounds(8, SCALE, Tempo()), 300) for fault in each]
    assert all(fault.seconds > CLAIM_IDLE_S for fault in faults if fault.kind is Kind.FREEZE_LONG)
    cut = {fault.target for fault in faults if fault.kind in (Kind.CUT, Kind.HOLD, Kind.DELAY)}
    assert cut == set(wires(SCALE))


# --- wires --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Wire, int]]:
    """A wire to a server that sends back what it receives, and the wire's port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    wire = Wire("to echo")
    await wire.open()
    url = wire.lead_to(f"http://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/path")
    start, _, rest = url.rpartition(":")
    assert (start, rest.partition("/")[2]) == ("http://user:secret@127.0.0.1", "path")
    try:
        yield wire, int(rest.partition("/")[0])
    finally:
        await wire.close()
        server.close()


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def test_wire_passes_on_data_and_the_end_of_the_stream() -> None:
    async with echoing() as (wire, port):
        reader, writer = await connect(port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write_eof()
        assert await reader.read() == b""
        assert not wire.struck


async def test_cut_wire_breaks_open_connections_and_accepts_no_new_one() -> None:
    async with echoing() as (wire, port):
        reader, writer = await connect(port)
        writer.write(b"hello")
        await reader.readexactly(5)
        wire.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        reader, refused = await connect(port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        refused.close()
        assert wire.struck == {"cut": 1, "refused": 1}
        wire.mend()
        reader, writer = await connect(port)
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"


@pytest.mark.parametrize("kind", ["held", "delayed"])
async def test_silent_and_slow_wires_lose_no_data(kind: str) -> None:
    async with echoing() as (wire, port):
        reader, writer = await connect(port)
        wire.hold() if kind == "held" else wire.delay(0.01)
        writer.write(b"hello")
        reading = asyncio.create_task(reader.readexactly(5))
        while not wire.struck[kind]:
            assert not reading.done()
            await asyncio.sleep(0)
        wire.mend()
        assert await reading == b"hello"


# --- witness, judge, screen ---------------------------------------------------------------------------------


def booking(version: int, status: str = "pending", reason: str | None = None, payment: str = "awaiting") -> Json:
    return {"id": ID, "version": version, "status": status, "reason": reason, "payment": {"status": payment}}


@pytest.mark.parametrize(
    ("shown", "broken"),
    [
        ([booking(1), booking(2), booking(3, "confirmed")], []),
        ([booking(3, "confirmed"), booking(1)], []),  # an older answer that comes late
        ([booking(2, "confirmed"), booking(5, "cancelled", "by_customer")], []),
        ([booking(2, "cancelled", "hold_expired"), booking(3, "confirmed")], []),
        ([booking(2, "confirmed"), booking(3)], [FORWARD]),
        ([booking(3), booking(2, "confirmed")], [FORWARD]),
        ([booking(2, "cancelled", "by_customer"), booking(3, "confirmed")], [FORWARD]),
        ([booking(2, "failed", "sold_out"), booking(3, "cancelled", "by_customer")], [FORWARD]),
        ([booking(2), booking(2, payment="action_required")], [SHOWN]),
    ],
)
def test_witness_reports_a_booking_that_goes_backwards(shown: list[Json], broken: list[str]) -> None:
    judge = Judge()
    witness = Witness(judge)
    for each in shown:
        witness.shown(each, "test")
    assert [each.promise for each in judge.broken] == broken


def test_what_was_shown_must_not_be_missing_or_older() -> None:
    judge = Judge()
    witness = Witness(judge)
    witness.missing(ID, "test")
    witness.shown(booking(4), "test")
    witness.shown(booking(3), "test", least=witness.version(ID))
    witness.missing(ID, "test")
    assert [each.promise for each in judge.broken] == [FORWARD, SHOWN]


def test_judge_allows_no_5xx_but_503_with_retry_after_and_none_in_calm() -> None:
    judge = Judge()
    again = {"Retry-After": "1"}
    for status, headers in ((500, again), (503, {}), (503, again), (200, {}), (409, {})):
        judge.answered("GET /", Answer(status, None, headers), judge.now)
    judge.unanswered("GET /", TimeoutError(), judge.now)
    before = judge.now
    judge.calm()
    judge.answered("GET /", Answer(503, None, again), before)  # sent before it was calm
    judge.answered("GET /", Answer(503, None, again), judge.now)
    judge.unanswered("GET /", TimeoutError(), judge.now)
    judge.trouble()
    judge.answered("GET /", Answer(503, None, again), judge.now)
    assert [each.promise for each in judge.broken] == [
        "no 5xx but 503",
        "503 says when to come back",
        "no 503 in calm",
        "an answer in calm",
    ]
    assert judge.answers["GET /", "503"] == 5


def test_judge_allows_no_socket_closed_in_calm_but_by_a_gateway_that_leaves() -> None:
    judge = Judge()
    judge.closed(1001, judge.now)
    before = judge.now
    judge.calm()
    judge.closed(1013, before)  # opened before it was calm
    judge.closed(1001, judge.now)
    judge.gateways_leave = True
    judge.closed(1001, judge.now)
    judge.closed(1013, judge.now)
    judge.closed(None, judge.now)
    assert [each.what for each in judge.broken] == ["closed with 1001", "closed with 1013", "closed with None"]


# --- the door -----------------------------------------------------------------------------------------------


TICKET, OTHER = "22222222-2222-5222-8222-222222222222", "33333333-3333-5333-8333-333333333333"


class AtTheDoor:
    """Scanners that are answered as a test wants; the n-th time that a ticket is shown is by device `n`."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.check_ins = CheckIns(self.judge)
        self._shown = 0

    def shows(self, outcome: str, check_in_id: str = "", device: str = "", *, ended: bool = False) -> None:
        self._shown += 1
        shown = Shown(str(self._shown), str(self._shown), TICKET, ID, "code")
        check_in = {"id": check_in_id, "device": device or shown.device} if check_in_id else None
        self.check_ins.sent(shown)
        self.check_ins.answered(shown, outcome, check_in, "at once", ended=ended)

    def undoes(self, check_in_id: str, at: str | None = "now") -> None:
        self.check_ins.undoing(check_in_id)
        self.check_ins.undone(check_in_id, at)

    def compares(self, kept: Mapping[str, Kept], confirmed: tuple[str, ...] = ()) -> list[str]:
        self.check_ins.compare(kept, confirmed)
        return [each.promise for each in self.judge.broken]


def test_nobody_is_let_in_twice_unless_a_check_in_was_undone() -> None:
    door = AtTheDoor()
    door.shows("ok", "a")
    door.shows("used", "a", device="1")
    door.undoes("a")
    door.undoes("a")
    door.shows("ok", "b")
    assert door.compares({"a": Kept(TICKET, "1", undone=True), "b": Kept(TICKET, "3", undone=False)}) == []
    door.shows("ok", "c")
    assert door.compares({}) == [ONCE, STAYS, STAYS, STAYS]


@pytest.mark.parametrize(
    ("answers", "broken"),
    [
        ([("ok", "a"), ("used", "b", "2")], MET),  # met itself
        ([("ok", "a"), ("used", "a", "3")], STAYS),  # by whom was another one
        ([("404 None",)], MET),
    ],
)
def test_what_a_ticket_has_met_must_be_true(answers: list[tuple[str, ...]], broken: str) -> None:
    door = AtTheDoor()
    for each in answers:
        door.shows(*each)
    assert [each.promise for each in door.judge.broken] == [broken]


def test_a_ticket_that_has_ended_lets_nobody_in_and_one_that_has_not_is_not_said_to_have() -> None:
    door = AtTheDoor()
    door.shows("cancelled", ended=True)
    assert door.compares({}) == []
    door.shows("ok", "a", ended=True)
    assert door.compares({"a": Kept(TICKET, "2", undone=False)}, confirmed=(ID,)) == [ENDED, MET]


@pytest.mark.parametrize(
    ("kept", "broken"),
    [
        ({"a": Kept(TICKET, "1", undone=True), "b": Kept(TICKET, "2", undone=False)}, []),
        ({"b": Kept(TICKET, "2", undone=False)}, [STAYS]),  # lost
        ({"a": Kept(OTHER, "1", undone=True), "b": Kept(TICKET, "2", undone=False)}, [STAYS]),
        ({"a": Kept(TICKET, "1", undone=False), "b": Kept(TICKET, "2", undone=False)}, [UNDONE, ONCE]),
        ({"a": Kept(TICKET, "1", undone=True), "b": Kept(TICKET, "2", undone=True)}, [UNDONE]),  # nobody has
        (
            {
                "a": Kept(TICKET, "1", undone=True),
                "b": Kept(TICKET, "2", undone=False),
                "c": Kept(OTHER, "9", undone=False),
            },
            [STAYS],
        ),
    ],
)
def test_the_database_must_have_the_check_ins_that_scanners_were_answered(
    kept: dict[str, Kept], broken: list[str]
) -> None:
    door = AtTheDoor()
    door.shows("ok", "a")
    door.undoes("a")
    door.shows("ok", "b")
    assert door.compares(kept) == broken


def test_an_undo_that_is_repeated_changes_nothing() -> None:
    door = AtTheDoor()
    door.undoes("a", "at noon")
    door.undoes("a", "later")
    door.undoes("a", None)
    assert [each.promise for each in door.judge.broken] == [UNDONE, UNDONE]


class Gateway:
    """Answers a scanner: the door as it was at first, and to check-ins what a test wants."""

    def __init__(self, *outcomes: str) -> None:
        self._outcomes = outcomes
        self.received: list[Json] = []

    async def insist(self, _: str, path: str, **options: Any) -> Answer:
        if "/door" in path:
            items = [{"ticket_id": OTHER, "state": "used"}]
            return Answer(200, {"keys": [], "mark": "m", "reset": False, "more": False, "items": items}, {})
        self.received += (items := options["json"]["items"])
        results = [
            {"id": each["id"], "ticket_id": TICKET, "outcome": outcome, "check_in": {"id": each["id"], **each}}
            for each, outcome in zip(items, self._outcomes, strict=True)
        ]
        return Answer(200, {"items": results}, {})


async def test_scanner_without_a_network_lets_each_valid_ticket_in_once_and_sends_it_later() -> None:
    judge, gateway = Judge(), Gateway("ok")
    customer = Visitor(cast(Client, None), judge)
    customer.witness.newest[ID] = booking(3, "confirmed")
    check_ins = CheckIns(judge)
    scanner = Scanner("one", cast(Visitor, gateway), {"id": "event"}, check_ins)
    await scanner.follow()
    scanner.offline = True
    for event, ticket in (("event", TICKET), ("event", TICKET), ("event", OTHER), ("another", ID)):
        assert await scanner.show(Ticket(event, ID, ticket, "code", customer), ticket) is None
    assert not gateway.received
    scanner.offline = False
    await scanner.send_kept()
    assert [each["id"] for each in gateway.received] == [TICKET]
    assert check_ins.outcomes == {("later", "ok"): 1}
    assert not judge.broken


# --- mails and webhooks -------------------------------------------------------------------------------------


SECRET, FORGED = (f"whsec_{base64.b64encode(bytes([each]) * 32).decode()}" for each in (1, 2))
BOOKING = UUID(ID)
CONFIRMED, REFUNDED = ("booking.confirmed", BOOKING, 3), ("booking.refunded", BOOKING, 5)


@pytest.mark.parametrize(
    ("data", "secret", "broken"),
    [
        ({"version": 3}, SECRET, []),
        ({"version": 4, "payment": {"client_secret": None}}, SECRET, []),  # has changed since
        ({"version": 2}, SECRET, [SIGNED]),
        ({"version": 3, "payment": {"client_secret": "secret"}}, SECRET, [SIGNED]),
        ({"version": 3}, FORGED, [SIGNED]),
    ],
)
def test_receiver_reports_webhooks_that_are_not_true_or_not_ours(
    data: Json, secret: str, broken: list[str]
) -> None:
    judge = Judge()
    receiver = Receiver(judge)
    receiver.secret = SECRET
    body = json.dumps({"type": "booking.confirmed", "version": 3, "data": {"id": ID, **data}})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "one",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("one", now, body),
    }
    receiver.take(headers, body.encode())
    assert [each.promise for each in judge.broken] == broken
    assert receiver.received == ({} if secret == FORGED else {CONFIRMED: {"one"}})


@pytest.mark.parametrize(
    ("received", "found"),
    [
        ({CONFIRMED: {"one"}}, ""),
        ({}, "was not received"),
        ({CONFIRMED: {"one", "two"}}, "under 2 ids"),
        ({CONFIRMED: {"one"}, REFUNDED: {"two"}}, "never happened"),
    ],
)
def test_webhooks_must_be_the_changes_each_under_one_id(received: dict[Key, set[str]], found: str) -> None:
    findings = list(judge_webhooks({CONFIRMED}, received))
    assert (len(findings), found in "".join(findings)) == (int(bool(found)), True)


def mail(of: int, *, status: str = "sent", attempts: int = 1, amount: int | None = None, **more: Any) -> Json:
    """The row of the mail that is owed for the booking's version `of`."""
    id = uuid5(BOOKING, f"{of}/booking.confirmed")
    base = {"id": id, "booking_id": BOOKING, "kind": "confirmation", "version": of}
    return {**base, "status": status, "attempts": attempts, "amount": amount, **more}


def became(to: str, version: int, refunded: int = 0) -> Json:
    return {
        "id": BOOKING,
        "version": version,
        "from_status": "pending",
        "to_status": to,
        "amount_refunded": refunded,
    }


@pytest.mark.parametrize(
    ("mails", "changes", "copies", "found"),
    [
        ([mail(3)], [became("confirmed", 3)], 1, ""),
        ([mail(3, attempts=2)], [became("confirmed", 3)], 2, ""),  # again, under the same id
        ([mail(3, status="dropped", attempts=0)], [became("confirmed", 3)], 0, ""),
        ([mail(3)], [became("confirmed", 3)], 2, "sent 2 times by 1 attempts"),
        ([mail(3)], [became("confirmed", 3)], 0, "sent 0 times"),
        ([mail(3, status="owed")], [became("confirmed", 3)], 1, "owed, sent 1 times"),
        ([], [became("confirmed", 3)], 0, "no mail is owed"),
        ([], [], 1, "nobody knows of it"),
        ([mail(3, amount=500)], [became("confirmed", 3, refunded=700)], 1, "700 went back, and mails say 500"),
    ],
)
def test_mails_must_be_what_customers_are_owed(
    mails: list[Json], changes: list[Json], copies: int, found: str
) -> None:
    taken = {f"<{mail(3)['id']}@{DOMAIN}>": [EmailMessage()] * copies} if copies else {}
    findings = list(judge_mails(mails, changes, taken, DOMAIN))
    assert (len(findings), found in "".join(findings)) == (int(bool(found)), True)


# --- the logs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "is_expected"),
    [
        ('{"event": "message", "outcome": "undecodable"}', True),
        ('{"event": "message", "outcome": "failed", "exception": "Traceback …\\nTimeoutError"}', True),
        ('{"event": "message", "outcome": "failed", "exception": "Traceback …\\nKeyError"}', False),
        ('{"event": "message", "outcome": "dead", "exception": "Traceback …\\nTimeoutError"}', False),
        ('{"event": "refund failed", "booking": "by hand"}', True),
        ('{"event": "refund failed", "booking": "another"}', False),
        ('{"event": "task died"}', False),
        ("Traceback (most recent call last):", False),
        ('{"event": "mess{"event": "listening"}', True),  # torn by a kill
    ],
)
def test_logged_errors_are_expected_only_of_faults_that_were_made(line: str, is_expected: bool) -> None:
    assert expected(line, {"by hand"}) is is_expected


@asynccontextmanager
async def sending(*sockets: list[Json]) -> AsyncIterator[tuple[Screen, Judge]]:
    """A client's screen, after a gateway has sent the messages of `sockets`, one socket after the other. The last
    one stays open."""
    left = list(sockets)
    over = asyncio.Event()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.receive()  # the subscription
        for message in left.pop(0):
            await socket.send_json(message)
        # A client that answers a ping has read all messages before it.
        await socket.ping()
        while (await socket.receive()).type is not WSMsgType.PONG:
            pass
        if not left:
            over.set()
            await socket.receive()
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        judge = Judge()
        visitor = Visitor(Client(session, f"http://127.0.0.1:{port}", "token"), judge)
        screen = Screen(visitor, session, Counter())
        await screen.open(ID)
        running = asyncio.create_task(screen.run())
        async with asyncio.timeout(30):
            await over.wait()
        yield screen, judge
        running.cancel()
        await asyncio.wait({running})
    await runner.cleanup()


def snapshot(version: int) -> Json:
    return {"type": "snapshot", "booking": booking(version)}


def change(version: int) -> Json:
    return {"type": "booking", "booking": booking(version)}


def deferred(version: int) -> Json:
    message = snapshot(version)
    message["booking"]["payment"] |= {"deferred": True}
    return message


def queue(number: int) -> Json:
    return {"type": "queue", "booking_id": ID, "queue_position": number}


@pytest.mark.parametrize(
    ("sockets", "broken"),
    [
        ([[snapshot(3), change(4)], [snapshot(4), change(5)]], []),
        ([[snapshot(3), change(4)], [change(2), snapshot(4)]], []),  # an old change, before a new socket's snapshot
        ([[snapshot(3), change(2)]], ["versions on a socket grow"]),
        ([[snapshot(3), change(3)]], ["versions on a socket grow"]),
        ([[snapshot(3), change(4)], [snapshot(3)]], [FORWARD]),
        ([[queue(5), queue(4), queue(4)]], []),
        ([[queue(4), queue(5)]], ["queue positions on a socket fall"]),
        ([[deferred(1), queue(4), queue(5)]], []),  # others, who are not deferred, came before it
        ([[snapshot(1), {"type": "error", "code": "not_found", "booking_id": ID}]], []),  # no snapshot was due
        ([[snapshot(1)], [{"type": "error", "code": "not_found", "booking_id": ID}]], [SHOWN]),
    ],
)
async def test_screen_reports_messages_that_break_a_promise(sockets: list[list[Json]], broken: list[str]) -> None:
    async with sending(*sockets) as (_, judge):
        assert [each.promise for each in judge.broken] == broken


async def test_screen_knows_which_versions_its_open_socket_lacks() -> None:
    async with sending([snapshot(5)], [snapshot(5), change(6)]) as (screen, _):
        assert screen.behind({ID: 6}) == []
        assert len(screen.behind({ID: 7})) == 1
    async with sending([snapshot(5)], []) as (screen, _):
        assert screen.behind({ID: 9}) == []  # its snapshot is still to come


def test_the_long_proofs_start_outside_of_the_tests() -> None:
    """Their commands import parts of the tests, where nothing has changed the path of imports as pytest does."""
    modules = ("chaos.__main__", "fuzz.__main__", "races.__main__", "simulation.__main__", "simulation.choose")
    code = "\n".join(f"import tests.{module}" for module in modules)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
