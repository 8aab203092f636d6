"""What the source says of a class beside its code: its docstring, and the comments above its fields."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from documents.prose import about, ended, mentions

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Described:
    """A class in the source. `comments`: by field, the comment right above it, its description, or the text right
    below it."""

    docstring: str
    comments: dict[str, str]

    def of_field(self, name: str) -> str:
        """What is said of the field: in the docstring, and right at the field. Empty where nothing is."""
        return " ".join(filter(None, (about(name, self.docstring), ended(self.comments.get(name, "")))))

    def in_passing(self, name: str) -> str:
        """Where nothing is said of the field itself: what mentions it."""
        texts = (self.docstring, *self.comments.values())
        return next(filter(None, (mentions(name, text) for text in texts)), "")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def described(source: str, root: Path = ROOT) -> Described:
    """The class at `source`, as `booking/state.py:Booking`. Raises KeyError where there is none."""
    path, _, name = source.partition(":")
    for node in ast.walk(parsed(root / path)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            lines = (root / path).read_text(encoding="utf-8").splitlines()
            return Described(ast.get_docstring(node) or "", _comments(node, lines))
    raise KeyError(source)


def _comments(node: ast.ClassDef, lines: list[str]) -> dict[str, str]:
    comments: dict[str, str] = {}
    for field, below in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.Assign | ast.AnnAssign):
            continue
        target = field.targets[0] if isinstance(field, ast.Assign) else field.target
        assert isinstance(target, ast.Name)
        below_it = below.value if isinstance(below, ast.Expr) else None
        if text := _above(lines, field.lineno) or _description(field.value) or _constant(below_it):
            comments[target.id] = text
    return comments


def _description(value: ast.expr | None) -> str:
    """Of a pydantic field."""
    keywords = value.keywords if isinstance(value, ast.Call) else []
    return next((_constant(each.value) for each in keywords if each.arg == "description"), "")


def _constant(value: ast.expr | None) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _above(lines: list[str], line: int) -> str:
    """The comment that ends right above `line`, counted from one."""
    found: list[str] = []
    for above in reversed(lines[: line - 1]):
        if not above.strip().startswith("#"):
            break
        found.append(above.strip().lstrip("# "))
    return " ".join(reversed(found))
