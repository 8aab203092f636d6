"""What an audit prints, on a terminal, in lines and as JSON; and its exit code."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import typer
from rich.console import Console

from ops.audit import report, runner
from ops.audit.mailboxes import Mailboxes
from ops.audit.records import Finding, UnderWay
from ops.audit.runner import AuditResult
from ops.cli import parse_since
from tests.ops.audited_system import AuditedSystem

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
WRONG = Finding("captured", "b1", "cancelled, captured 1000, given back or owed 0: 1000 kept")
BOXES = Mailboxes(lengths={"payment.intents": 3}, dead={"payment.intents": 2}, unknown={"payment.intents": 1})


def result_of(*mismatches: Finding, not_checked_again: int = 0) -> AuditResult:
    found = AuditResult(
        None, 30.0, NOW, checked={"bookings": 7}, mismatches=list(mismatches), not_checked_again=not_checked_again
    )
    found.under_way = {"hold": UnderWay(count=2, examples=["b2", "b3"])}
    return found


@pytest.mark.parametrize(
    ("found", "code", "last"),
    [
        (result_of(), 0, "clean (1 check, 0.0 s)"),
        (result_of(WRONG, WRONG), 1, "2 do not match: captured 2 (1 check, 0.0 s)"),
        (result_of(not_checked_again=9), 2, "9 more bookings do not match, and were not checked again"),
        (result_of(WRONG, not_checked_again=9), 1, "1 do not match: captured 1; 9 more bookings do not match"),
    ],
)
def test_last_line_and_exit_code_agree(found: AuditResult, code: int, last: str) -> None:
    assert report.exit_code(found) == code
    assert list(report.lines(found, None))[-1].startswith(last)
    assert found.clean is (code == 0)


def test_each_line_begins_with_its_kind() -> None:
    assert list(report.lines(result_of(WRONG), BOXES))[:-1] == [
        f"mismatch\tcaptured\tb1\t{WRONG.text}",
        "under way\thold\t2\tb2 b3",
        "mailboxes\tpayment.intents 3",
        "dead letters\tpayment.intents 2",
        "messages of unknown types\tpayment.intents 1",
        "checked\t7 bookings",
    ]


def test_long_lists_are_cut_in_lines_and_complete_in_json() -> None:
    many = result_of(*[WRONG] * (report.LINES_MAX + 5))
    assert "mismatch\t5 more" in report.lines(many, None)
    assert len(json.loads(report.as_json(many, None))["mismatches"]) == report.LINES_MAX + 5


def test_json_has_everything() -> None:
    body = json.loads(report.as_json(result_of(WRONG), BOXES))
    assert body["clean"] is False
    assert body["mismatches"] == [{"rule": "captured", "id": "b1", "text": WRONG.text}]
    assert body["under_way"] == {"hold": {"count": 2, "examples": ["b2", "b3"]}}
    assert (body["mailboxes"], body["dead_letters"]) == ({"payment.intents": 3}, {"payment.intents": 2})


def test_terminal_shows_tables() -> None:
    screen = io.StringIO()
    report.show(Console(file=screen, width=120), result_of(WRONG), BOXES)
    shown = screen.getvalue()
    for part in ("Does not match", "captured", "1000 kept", "Under way", "b2", "dead letters: payment.intents 2"):
        assert part in shown


def test_mailboxes_of_a_redis_that_does_not_answer_are_not_known() -> None:
    assert "mailboxes\tnot known: no answer" in report.lines(result_of(), Mailboxes(problem="no answer"))


async def test_bookings_too_many_to_check_again_are_counted(
    system: AuditedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were checked again were right: nothing follows from that for the others."""
    monkeypatch.setattr(runner, "SUSPECTS_MAX", 1)
    await system.add_event()
    for id in [await system.add_paid_booking() for _ in range(3)]:
        await system.change("bookings", id, "intent_id = 'pi_other'")

    async def heal(_: float) -> None:
        for id in await system.booking.fetch("SELECT id FROM bookings"):
            await system.change("bookings", id["id"], f"intent_id = '{await system.intent_of(id['id'])}'")

    found = await system.audit(wait_seconds=30, wait=heal)
    assert (found.mismatches, found.not_checked_again, report.exit_code(found)) == ([], 2, 2)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-05-01T19:30", datetime(2026, 5, 1, 19, 30, tzinfo=UTC)),
        ("2026-05-01T19:30+02:00", datetime(2026, 5, 1, 17, 30, tzinfo=UTC)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_since_is_a_time(text: str, time: datetime) -> None:
    assert parse_since(text) == time


@pytest.mark.parametrize(
    ("text", "age"), [("90m", timedelta(minutes=90)), ("2h", timedelta(hours=2)), ("7d", timedelta(days=7))]
)
def test_since_is_an_age(text: str, age: timedelta) -> None:
    assert abs(datetime.now(UTC) - age - parse_since(text)) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["", "h", "-2h", "yesterday", "2w"])
def test_since_that_is_neither_time_nor_age_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_since(text)
