"""A small rush on the real processes, and that a rush that fails is reported as failed."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO

import orjson
import pytest
from rich.console import Console

from bench.attacking import Kind
from bench.rush.__main__ import arguments
from bench.rush.attackers import Attack
from bench.rush.findings import Compared, compared, findings
from bench.rush.sale import Plan, Rush, play
from bench.rush.screen import drawn, spark
from bench.rush.tally import Tally
from bench.rush.visitors import Targets, Visitor
from bench.wire import Reply, Wires, request

pytestmark = pytest.mark.timeout(120)

CLIENTS, SEATS = 300, 20

Answer = tuple[int, dict[str, str], bytes]

REFUSED: Answer = (409, {}, b'{"code":"sold_out"}')


async def test_small_rush_sells_every_seat_once_and_answers_everyone() -> None:
    """With the limits as they are by default, a third of the clients behind one address, and attackers beside."""
    seed = int(os.environ.get("HOLDFAST_SEED") or random.randrange(2**32))
    print(f"HOLDFAST_SEED={seed}")  # noqa: T201
    sampled: list[int] = []
    began: list[str] = []
    attacks = (
        Attack(Kind.TOKENS, 5),
        Attack(Kind.LOOPS, 2),
        Attack(Kind.SOCKETS, 10),
        Attack(Kind.GREEDY, 3),
    )
    plan = Plan(CLIENTS, SEATS, within=1.0, seed=seed, office=CLIENTS // 3, attacks=attacks)
    rush = await play(plan, lambda tally: sampled.append(tally.came), began.append)
    assert rush.problems == []
    assert (len(rush.tally.confirmed), rush.tally.refused, rush.unanswered) == (SEATS, CLIENTS - SEATS, 0)
    assert sampled == sorted(sampled)
    assert sampled[-1] == CLIENTS
    assert {name: bool(answers) for name, answers in rush.attackers.items()} == dict.fromkeys(
        ["5 tokens", "2 loops", "10 sockets", "3 greedy"], True
    )
    assert rush.attackers["10 sockets"] == {101: 10}
    last = rush.tally.samples[-1]
    assert (last.held, last.sold, last.asking) == (0, SEATS, 0)
    assert sum(each.answers for each in rush.tally.samples) == len(rush.tally.latencies)
    found = findings(rush)
    assert [goal.met for goal in found.goals[:3]] == [True] * 3
    assert found.goals[3].figure is not None
    assert {chart.title for chart in found.charts if all(series.points for series in chart.series)} >= {
        "Rush: seats"
    }
    assert began[0] == "starting Holdfast"
    console = Console(file=StringIO(), width=120)
    with console.capture() as captured:
        console.print(drawn(rush.tally))
    assert f"{SEATS} sold" in captured.get()


def test_rush_that_goes_wrong_misses_its_goals() -> None:
    tally = Tally(clients=10, seats=2)
    for status, come_again in ((503, True), (503, False), (500, False), (409, False)):
        tally.answered(status, 0.1, come_again=come_again)
    tally.came, tally.refused, tally.confirmed = 10, 6, ["a", "b", "c"]
    tally.sample(0.5, held=0, sold=3)
    rush = Rush(Plan(10, 2), tally, 1.0, 5, {}, None, ["3 seats of 2"])
    found = findings(rush)
    assert [(goal.figure, goal.met) for goal in found.goals] == [
        (1, False),
        (2, False),
        (1, False),
        (0.5, True),
        (None, None),
    ]
    assert found.problems == ["3 seats of 2"]


def test_attacks_are_chosen_by_name() -> None:
    few = arguments(["--clients", "30", "--attack", "loops", "--attack", "loops"])
    assert (few.office, few.attacks) == (30, (Attack(Kind.LOOPS, 3),))
    assert [attack.kind for attack in arguments(["--attack", "all"]).attacks] == list(Kind)
    assert arguments([]).attacks == ()


def test_attackers_that_cost_the_others_more_than_a_tenth_miss_the_goal() -> None:
    rushes = []
    for seconds, sold in ((0.1, 2.0), (0.105, 3.0)):
        tally = Tally(clients=1, seats=2, latencies=[seconds], verdicts=[seconds], sales=[sold])
        rushes.append(Rush(Plan(1, 2), tally, 1.0, 1, {}, None, [], {"3 loops": Counter({202: 5, 0: 1})}))
    (calm, attacked) = rushes
    found = compared([Compared(calm, calm, attacked)])
    assert [goal.met for goal in found.goals] == [True] * 6 + [False] * 3
    assert [goal.met for goal in compared([Compared(calm, attacked, attacked)]).goals] == [True] * 9
    disturbed = Compared(calm, attacked, calm)
    usual = Compared(calm, calm, attacked)
    assert compared([usual, disturbed, usual]).goals == found.goals
    assert found.tables[1].rows == [("3 loops, answers without a status", "1"), ("3 loops, answers 202", "5")]


def test_rounds_that_other_work_of_the_machine_disturbed_do_not_count_if_most_were_quiet() -> None:
    def sale(seconds: float, others: float) -> Rush:
        tally = Tally(clients=1, seats=2, latencies=[seconds], verdicts=[seconds], sales=[seconds])
        return Rush(Plan(1, 2), tally, 1.0, 1, {}, None, [], {}, others)

    quiet, busy = sale(0.1, 0.01), sale(0.3, 0.2)
    usual, disturbed = Compared(quiet, quiet, quiet), Compared(quiet, quiet, busy)
    found = compared([usual, disturbed, usual])
    assert (found.goals[0].figure, found.goals[0].met, found.figures["rounds"]) == (1.0, True, 2)
    assert found.notes[0].endswith("in 1 of 3 rounds, which do not count")
    found = compared([usual, disturbed, disturbed])
    assert (found.goals[0].met, found.figures["rounds"]) == (False, 3)
    assert found.notes[0].endswith("so that all count, and mean little")
    assert compared([usual]).notes == []


def test_rush_that_never_sells_out_has_no_time_for_it() -> None:
    tally = Tally(clients=1, seats=2)
    tally.sample(1.0, held=1, sold=0)
    (*_, sold_out) = findings(Rush(Plan(1, 2), tally, 1.0, 1, {}, None, [])).goals
    assert sold_out.met is None


def test_a_spark_shows_values_as_blocks() -> None:
    assert spark([]) == ""
    assert spark([0, None, 0]) == "   "
    assert spark([0, 4, 8]) == " ▄█"
    assert len(spark(range(1000), 40)) == 40
    assert spark([0] * 700 + [9] + [0] * 299, 40).count("█") == 1


# --- the wire ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(answer: Callable[[int], bytes | None]) -> AsyncIterator[Wires]:
    """A server that answers its n-th request with `answer(n)`, byte by byte, or hangs up."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                requests += 1
                if (bytes_ := answer(requests)) is None:
                    break
                for number in range(len(bytes_)):
                    writer.write(bytes_[number : number + 1])
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    wires = Wires(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 2)
    try:
        yield wires
    finally:
        wires.close()
        server.close()
        await server.wait_closed()


def http(answer: Answer) -> bytes:
    status, headers, body = answer
    lines = [f"HTTP/1.1 {status} Words", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


async def test_one_connection_serves_request_after_request() -> None:
    async with serving(lambda number: http((200, {}, b"x" * number))) as wires:
        head = request("GET", wires.host, "/", {})
        assert [await wires.send(head) for _ in range(3)] == [Reply(200, None, b"x" * n) for n in (1, 2, 3)]
        assert wires.opened == 1


async def test_retry_after_is_read() -> None:
    async with serving(lambda _: http((503, {"Retry-After": "4"}, b""))) as wires:
        assert await wires.send(request("GET", wires.host, "/", {})) == Reply(503, 4, b"")


async def test_no_more_connections_are_opened_than_allowed() -> None:
    async with serving(lambda _: http((200, {}, b""))) as wires:
        head = request("GET", wires.host, "/", {})
        await asyncio.gather(*(wires.send(head) for _ in range(20)))
        assert wires.opened == 2


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\nno-length: 1\r\n\r\n"])
async def test_server_that_hangs_up_or_gives_no_length_is_an_error(answer: bytes | None) -> None:
    async with serving(lambda _: answer) as wires:
        with pytest.raises(ConnectionError):
            await wires.send(request("GET", wires.host, "/", {}))


async def test_connections_are_of_the_address_that_asks() -> None:
    """With as many as there may be, a free one of another address is closed for a new one."""
    async with serving(lambda _: http((200, {}, b""))) as wires:
        data = request("GET", wires.host, "/", {})
        for address in ("127.0.1.1", "127.0.1.2", "127.0.1.1", "127.0.1.2"):
            await wires.send(data, address)
        assert wires.opened == 2
        await wires.send(data, "127.0.1.3")
        await wires.send(data, "127.0.1.2")
        assert wires.opened == 3
        await wires.send(data, "127.0.1.1")
        assert wires.opened == 4


async def test_connection_that_the_server_closes_is_not_used_again() -> None:
    async with serving(lambda _: http((200, {"Connection": "close"}, b""))) as wires:
        head = request("GET", wires.host, "/", {})
        await wires.send(head)
        await wires.send(head)
        assert wires.opened == 2


# --- a visitor --------------------------------------------------------------------------------------------


class Soon(random.Random):
    """No waiting besides what the server asks for."""

    def random(self) -> float:
        return 0.0


async def visited(answers: list[Answer | None]) -> Tally:
    tally = Tally(1, 1)

    def answer(number: int) -> bytes | None:
        given = answers[min(number, len(answers)) - 1]
        return None if given is None else http(given)

    async with serving(answer) as wires:
        await Visitor(Targets(wires, wires, "pk_test_1", b""), tally, "token", Soon()).visit()
    return tally


async def test_visitor_who_is_sent_back_comes_again() -> None:
    tally = await visited([(503, {"Retry-After": "0"}, b""), (429, {"Retry-After": "0"}, b""), REFUSED])
    assert (tally.refused, tally.sent_back, tally.problems) == (1, 2, [])
    assert (tally.asking, len(tally.verdicts), tally.bad) == (0, 1, 0)


async def test_server_error_is_no_answer() -> None:
    tally = await visited([(500, {}, orjson.dumps({"code": "internal_error"}))])
    assert (tally.unanswered, tally.bad, tally.asking) == (1, 1, 0)
    assert "500" in tally.problems[0]


async def test_503_without_retry_after_is_no_answer() -> None:
    tally = await visited([(503, {}, b"{}")])
    assert (tally.unanswered, tally.bad, tally.sent_back) == (1, 1, 0)


async def test_visitor_who_is_sent_back_again_and_again_gives_up() -> None:
    tally = await visited([(503, {"Retry-After": "0"}, b"")])
    assert (tally.unanswered, tally.bad) == (1, 0)
    assert "turned away" in tally.problems[0]


async def test_visitor_repeats_its_request_after_a_broken_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.rush.visitors.POLL_SECONDS", 0)
    tally = await visited([None, REFUSED])
    assert (tally.refused, len(tally.problems)) == (1, 1)
