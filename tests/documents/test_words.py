"""Words that the glossary retires are found where they are names; an exception that keeps nothing is an error."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from documents.of_words import KEPT, RETIRED, SKIPPED, Kept, Retired, Skipped, Where
from documents.sources import ROOT
from documents.words import FORMS, GLOSSARY, PARTS, check, find, main, section, tracked


def found(path: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.name) for finding in find(path, text)]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a/b.py", "x = 1\nturn = x\n", [(2, "turn")]),
        ("a/b.py", "def next_turn(of): ...\n", [(1, "next_turn")]),
        ("a/b.py", "class StripePacer: ...\nPACER_MAX = 1\n", [(1, "StripePacer"), (2, "PACER_MAX")]),
        ("a/b.py", "from a.lane import x as y\n", [(1, "lane")]),
        ("a/b.py", "self.settler.settle_after = 1\n", [(1, "settle_after"), (1, "settler")]),
        ("a/b.py", "callOff = HTTPNewsFeed\n", [(1, "HTTPNewsFeed"), (1, "callOff")]),
        ("a/b.py", '"""First.\n\nSee `Lane.take`."""\n', [(3, "Lane")]),
        ("a/b.py", "# what `bury_all()` does\n", [(1, "bury_all")]),
        ("a/b.py", "x = Gauge('holdfast_waiting_turns', env['PLACING_MAX'])\n",
         [(1, "PLACING_MAX"), (1, "holdfast_waiting_turns")]),
        ("a/b.py", "# Redis was\n# away; The Settler\n", [(1, "was away"), (2, "Settler")]),
        ("a/lane.py", "", [(1, "lane")]),
        ("lanes/b.py", "", [(1, "lanes")]),
        ("a/asking.py", "", [(1, "asking")]),
        ("a/b.md", "In `tests/news.py` nobody\nturns it, and `turns:*` is a key.\n",
         [(1, "news"), (2, "turns")]),
        ("a/b.md", "While Redis is\naway, nobody calls it off or calls off.\n", [(1, "is away"), (2, "calls off")]),
        ("a/b.yaml", "x:\n  turn: 1\n  PLACING_MAX:\n", [(2, "turn"), (3, "PLACING_MAX")]),
        (".env.example", "# Slots.\n# PLACING_MAX=500\n", [(2, "PLACING_MAX")]),
        ("Makefile", "news: x\n\techo $(TIMES)\n", [(1, "news")]),
        ("a/b.toml", "lane = 1\n", [(1, "lane")]),
        ("a/b.js", "const nextTurn = waits;\n", [(1, "nextTurn")]),
        ("a/b.sql", "SELECT settle_after FROM events;\n", [(1, "settle_after")]),
    ],
)  # fmt: skip
def test_a_retired_word_is_found(path: str, text: str, expected: list[tuple[int, str]]) -> None:
    assert sorted(found(path, text)) == sorted(expected)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "a/b.py",
            "def g():\n    return replaced, driver, returned, planes, doubtful, placeholder, asking, settlement\n",
        ),
        ("a/b.py", "# The client is told so in turn, with care; the pacing of its news.\nx = 'told'\n"),
        ("a/b.md", "A careful reader takes turns; the picture settles it. `booking` is called. Call it off.\n"),
        ("a/b.yaml", "# Each in turn: told\nx: settled\n"),
        ("a/b.py", '"""Holdfast is farther away, and awaits."""\n'),
    ],
)
def test_other_words_and_ordinary_prose_are_not_found(path: str, text: str) -> None:
    assert found(path, text) == []


@pytest.mark.parametrize("retired", RETIRED, ids=lambda retired: retired.forms)
def test_every_form_is_found_where_it_is_retired(retired: Retired) -> None:
    for form in retired.forms.split(", "):
        assert tuple(PARTS.findall(form)) in FORMS, "a form has small letters only"
        name = form.replace(" ", "_")
        if retired.where is Where.FILES:
            assert found(f"a/{name}.py", "") == [(1, name)]
            continue
        assert found("a/b.py", f"the_{name} = 1\n") == [(1, f"the_{name}")]
        prose = found("a/b.md", f"What {form.capitalize()} means.\n")
        assert prose == ([(1, form.capitalize())] if retired.where is Where.EVERYWHERE else [])


# --- Exceptions


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path, text in {
        "a/rows.py": "settle_after = turn = 1\n",
        "a/other.py": "settle_after = 1\n",
        "a/old.txt": "turn_on = 1\n",
        "a/binary": "",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "a/binary").write_bytes(b"\xff turn_on = 1")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    (tmp_path / "a/untracked.py").write_text("turn = 1\n")
    return tmp_path


def test_a_finding_has_its_place_and_what_to_say(tree: Path) -> None:
    settle = "retry, reconcile or finish; Stripe alone settles"
    turn = "lease, token, slot, deadline or due time, whichever it is"
    assert check(tree, tracked(tree), (), ()) == [
        f"a/old.txt:1: turn_on: say {turn}",
        f"a/other.py:1: settle_after: say {settle}",
        f"a/rows.py:1: settle_after: say {settle}",
        f"a/rows.py:1: turn: say {turn}",
    ]


def test_an_exception_keeps_a_word_in_its_place_only(tree: Path) -> None:
    kept = (Kept("a/r*.py", "settle_*, turn", "columns"),)
    wrong = check(tree, tracked(tree), kept, (Skipped("*.txt", "old"),))
    assert [line.partition(": say")[0] for line in wrong] == ["a/other.py:1: settle_after"]


@pytest.mark.parametrize(
    ("kept", "skipped", "error"),
    [
        ((Kept("a/r*.py", "settle_*, turns", "columns"),), (), "a/r*.py has no turns to keep: remove it"),
        ((Kept("b/*", "settle_after", "columns"),), (), "b/* has no settle_after to keep: remove it"),
        ((), (Skipped("b/*", "by others"),), "nothing is skipped by b/*: remove it"),
    ],
)
def test_an_exception_that_matches_nothing_is_an_error(
    tree: Path, kept: tuple[Kept, ...], skipped: tuple[Skipped, ...], error: str
) -> None:
    assert f"documents/of_words.py: {error}" in check(tree, tracked(tree), kept, skipped)


def test_every_exception_has_a_reason_and_stands_once() -> None:
    assert all(each.reason for each in (*KEPT, *SKIPPED))
    pairs = [(each.path, word) for each in KEPT for word in each.words.split(", ")]
    assert len(pairs) == len(set(pairs))


# --- The glossary


def test_the_glossary_lists_the_retired_words() -> None:
    assert (ROOT / GLOSSARY).read_text(encoding="utf-8").endswith(f"\n{section()}")


def test_a_stale_list_is_an_error_until_it_is_written(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "docs").mkdir()
    (tree / GLOSSARY).write_text("# Glossary\n\nNotions.\n\n## Retired words\n\n| turn | lease |\n")
    assert main([], tree) == 1
    assert "docs/glossary.md: its retired words are stale" in capsys.readouterr().err
    assert main(["--write"], tree) == 0
    assert (tree / GLOSSARY).read_text() == f"# Glossary\n\nNotions.\n\n{section()}"
    main([], tree)
    assert "stale" not in capsys.readouterr().err


def test_the_command_refuses_other_arguments() -> None:
    assert main(["--check"]) == 2
