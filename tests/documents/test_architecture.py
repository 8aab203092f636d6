"""The page that walks through the house names what there is: files, functions, streams, keys, columns, imports."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from booking.schedule import WAITS
from booking.state import FollowUp
from common.contracts.messages import MAILBOXES
from documents import contracts
from documents.__main__ import PAGES
from documents.messages import processes
from documents.sources import ROOT, parsed
from documents.tables import tables
from documents.uses import uses
from payment.domain import CHECK_PAUSES, REPORT_PAUSES
from payment.refunds import RETRY_FIRST
from tests.documents.test_guides import GUIDES

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PACKAGES = ("common", "gateway", "booking", "payment", "sandbox", "ops")
# Names in backticks, as a reader sees them.
NAMED = re.findall(r"`([^`\n]+)`", PAGE)
STOPS = re.findall(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \|", PAGE, re.MULTILINE)
# From above to below, as the page has them; others of an actor's files stand with the handlers or the rules.
FLOORS = ("app", "reconciler", "handlers", "unit_of_work", "repository", "domain")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of tables, without heads."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


@cache
def functions(path: Path) -> frozenset[str]:
    """By name, and methods with their class."""
    found = set()
    for node in parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{each.name}" for each in methods}
    return frozenset(found)


@pytest.mark.parametrize(("path", "function"), STOPS, ids=[f"{path} {name}" for path, name in STOPS])
def test_a_stop_of_the_walk_is_a_function_of_its_file(path: str, function: str) -> None:
    assert function in functions(ROOT / path)


def test_the_walk_has_its_stops() -> None:
    assert len(STOPS) > 30
    assert STOPS[0][0].startswith("gateway/")
    assert {path.partition("/")[0] for path, _ in STOPS} == {"common", "gateway", "booking", "payment"}


def test_files_that_are_named_are_there() -> None:
    paths = {name for name in NAMED if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", name) and "*" not in name}
    paths |= {name for name in NAMED if name.endswith((".py", ".toml")) and "/" in name}
    assert len(paths) > 20
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_methods_that_are_named_in_passing_are_there() -> None:
    methods = {name for name in NAMED if re.fullmatch(r"[A-Z]\w+\.\w+", name)}
    there = {name for package in PACKAGES for path in (ROOT / package).rglob("*.py") for name in functions(path)}
    assert len(methods) > 20
    assert methods - there == set()


def test_rules_that_are_named_are_there() -> None:
    rules = {name for name in NAMED if name.startswith("rules.") and not name.endswith(".py")}
    assert {name.partition(".")[2] for name in rules} <= functions(ROOT / "booking/rules.py")


# --- who may import whom


def test_the_contracts_of_the_import_linter_are_described() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    described = {"independence": "do not import one another", "layers": "is built in these layers"}
    assert [each["type"] for each in found] == ["independence", "forbidden", "layers", "forbidden"]
    assert "by four contracts" in PAGE
    assert all(words in PAGE.replace("\n", " ") for words in described.values())


def test_only_payment_imports_stripes_sdk() -> None:
    using = {
        path.relative_to(ROOT).parts[0]
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if any(name.split(".")[0] == "stripe" for name in _imports(path))
    }
    assert using == {"payment"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("actor", ["booking", "payment"])
def test_imports_go_down_the_list_of_files(actor: str) -> None:
    listed = [cells[0] for cells in rows(section("The packages, and what may import what")) if ".py" in cells[0]]
    assert [re.findall(r"(\w+)\.py", each)[0] for each in listed[-7:-1]] == list(FLOORS)
    for number, floor in enumerate(FLOORS):
        below = {
            name.split(".")[1] for name in _imports(ROOT / actor / f"{floor}.py") if name.startswith(f"{actor}.")
        }
        assert below.isdisjoint(FLOORS[:number]), f"{floor}.py imports upwards"


# --- streams, keys, columns, times


def test_the_mailboxes_are_written_and_read_by_those_that_the_page_names() -> None:
    named = {cells[0].strip("`"): cells[1:3] for cells in rows(section("The mailboxes"))}
    kinds = contracts.messages()
    used = uses({kind.__name__ for kind in kinds})
    for stream in MAILBOXES:
        of = [(kind, used[kind.__name__]) for kind in kinds if stream in kind.streams]
        makers = sorted({process for kind, each in of for process in processes(kind, each.makers)})
        readers = sorted({process for kind, each in of for process in processes(kind, each.handlers)})
        assert sorted(named[stream][0].replace("`", "").split(", ")) == makers
        assert named[stream][1].split(", ") == readers


def test_keys_of_redis_that_the_page_names_are_in_the_source() -> None:
    source = "".join(path.read_text() for package in PACKAGES[:4] for path in (ROOT / package).rglob("*.py"))
    keys = {name.rstrip("*") for name in NAMED if name.endswith(":*")} | {"booking.queue:turn"}
    assert len(keys) > 8
    assert {key for key in keys if f'"{key}' not in source} == set()


def test_columns_that_the_page_names_are_in_the_tables() -> None:
    known = {
        f"{table.name}.{column.name}"
        for app in ("booking", "payment")
        for table in tables(app)
        for column in table.columns
    }
    named = set(re.findall(r"`(\w+\.\w+_after)`", PAGE))
    assert len(named) > 3
    assert named <= known


def test_pauses_are_those_of_the_code() -> None:
    firsts = {cells[1].strip("`"): cells[3] for cells in rows(section("How a message is retried"))}
    assert firsts["payments.report_after"] == f"{REPORT_PAUSES.first.seconds} s"
    assert firsts["payments.look_after"] == f"{CHECK_PAUSES.first.seconds} s"
    assert firsts["drive_after` of `payments`, `refunds"] == f"{RETRY_FIRST.seconds} s"
    assert f"| {WAITS[FollowUp.CREATE_INTENT].first.seconds} s |" in PAGE
    assert f"| {WAITS[FollowUp.SYNC].first.seconds // 60} min |" in PAGE


# --- links


@pytest.mark.parametrize(
    "path", ["docs/architecture.md", *GUIDES, *(path for path in PAGES if path.endswith(".md"))]
)
def test_links_lead_somewhere(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        target, _, anchor = link.partition("#")
        file = (ROOT / path).parent / target if target else ROOT / path
        assert file.exists(), link
        assert not anchor or anchor in _anchors(file), link


@cache
def _anchors(path: Path) -> frozenset[str]:
    """Of headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)
