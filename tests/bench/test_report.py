"""The results of a run, as JSON, as text and as a chart."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import orjson

from bench.bounds import MEMORY, SHARED_CORES, UNFORESEEN, bound
from bench.findings import Chart, Findings, Goal, Series, Table
from bench.report import PROBLEMS_SHOWN, RESULTS, Report

MACHINE = {
    "cores": 2,
    "processor": "Abacus",
    "memory_gib": 1.0,
    "system": "Linux",
    "python": "3.11.7",
    "postgres": "18.4",
    "redis": "6.2.14",
}
ONE = Findings(
    figures={"rate": 1234.56789, "by": [{"of": 0.000123456}]},
    tables=[Table("How much", ("", "a second"), [("bookings [all]", "1,235")])],
    goals=[Goal("rate", 1234.56789, 1000, True, "a second"), Goal("half load: time", 9.5, 3.0, False, "s")],
    charts=[Chart("Curve", "x", "y", [Series("a", [(0, 1), (1, 2)])])],
)
TWO = Findings(
    figures={}, goals=[Goal("later", None, 1.0, False, "ms", 3.5, 0.5)], problems=["it broke"], notes=["half of it"]
)


def report(**phases: Findings) -> Report:
    return Report(MACHINE, 12.0, phases or {"one": ONE, "two": TWO}, measured_at="2030-01-02T030405Z")


def test_json_has_the_machine_every_goal_and_rounded_figures() -> None:
    body = orjson.loads(report().json())
    assert body["machine"]["processor"] == "Abacus"
    assert [(goal["name"], goal["met"]) for goal in body["goals"]] == [
        ("rate", True),
        ("half load: time", False),
        ("later", None),
    ]
    assert body["phases"] == {"one": {"rate": 1234.6, "by": [{"of": 0.00012346}]}, "two": {}}
    assert body["problems"] == ["two: it broke"]
    assert body["notes"] == ["two: half of it"]


def test_text_ends_with_every_goal_and_then_what_is_wrong() -> None:
    lines = report().text().splitlines()
    assert "Abacus" in lines[0]
    assert any("bookings [all]" in line for line in lines)
    ends = [line for line in lines[lines.index("Goals") :] if "│" in line]
    assert [line.split("│")[6].strip() for line in ends] == ["met", "missed", "not measured"]
    assert [cell.strip() for cell in ends[2].split("│")[2:6]] == ["3.5", "–", "≤ 1 ms", "0.5"]
    assert lines[-3:] == [
        f"missed: half load: time: {SHARED_CORES}",
        "note: two: half of it",
        "wrong: two: it broke",
    ]
    assert not any("\x1b" in line for line in lines)


def test_goals_missed_for_one_reason_are_shown_together_and_met_goals_are_not_shown() -> None:
    goals = [
        Goal("half load: a", 2.0, 1.0, False, "s"),
        Goal("half load: b", 1.0, 1.0, False, "s"),
        Goal("half load: c", 3.0, 1.0, False, "s"),
        Goal("rush: d", None, 1.0, False, "s"),
        Goal("soak: e", 2.0, 1.0, False, "s"),
    ]
    assert report(one=Findings({}, goals=goals)).missed == {
        SHARED_CORES: ["half load: a", "half load: c"],
        MEMORY: ["soak: e"],
    }


def test_every_goal_has_its_reason() -> None:
    kept = orjson.loads((RESULTS / "reference-machine.json").read_bytes())["goals"]
    assert len(kept) > 20
    assert all(bound(goal["name"]) != UNFORESEEN for goal in kept)


def test_three_files_are_kept_under_one_name(tmp_path: Path) -> None:
    kept = report().keep(folder=tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        f"2030-01-02T030405Z.{kind}" for kind in ("json", "txt", "svg")
    }
    assert orjson.loads(kept.with_suffix(".json").read_bytes())["seconds"] == 12
    ElementTree.parse(kept.with_suffix(".svg"))
    assert report().keep("reference-machine", tmp_path) == tmp_path / "reference-machine"
    assert (tmp_path / "reference-machine.txt").read_text().startswith("2030-01-02")


def test_of_many_problems_only_some_are_shown() -> None:
    problems = ["the same"] * 1000 + [f"another {number}" for number in range(PROBLEMS_SHOWN + 4)]
    shown = report(one=Findings({}, problems=problems)).problems
    assert shown[0] == "one: the same (1,000 times)"
    assert len(shown) == PROBLEMS_SHOWN + 1
    assert shown[-1] == "one: and 5 more problems"
