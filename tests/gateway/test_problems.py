"""The further members of problem documents are those that the document describes, wherever an error is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.contracts.errors import ERRORS
from gateway.problems import MEMBERS, Members

ROOT = Path(__file__).parents[2]
CLASSES = {kind.__name__: kind for kind in ERRORS.values()}


def raised(text: str) -> Iterator[tuple[str, str]]:
    """Class and member of each error that is made with a member in this source."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in CLASSES:
                yield from ((name, keyword.arg) for keyword in node.keywords if keyword.arg is not None)


def test_errors_are_raised_with_the_members_that_are_described() -> None:
    sources = (path for package in ("gateway", "booking", "common") for path in (ROOT / package).rglob("*.py"))
    found = {each for path in sources for each in raised(path.read_text())}
    assert len(found) > 8
    assert [each for each in sorted(found) if each[1] not in MEMBERS.get(CLASSES[each[0]], ())] == []


def test_a_member_that_is_not_described_is_found() -> None:
    assert list(raised("raise errors.SoldOut(left=3)")) == [("SoldOut", "left")]


@pytest.mark.parametrize("kind", MEMBERS)
def test_described_members_are_those_of_the_model(kind: type) -> None:
    assert set(MEMBERS[kind]) <= Members.model_fields.keys()
