"""Who makes a message, and who handles it, as the source has it.

A message is made where its class is called, or stands as a value in a table that is called; it is handled where its
class is a key of a table of handlers, or is compared with what came in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from documents.sources import ROOT, parsed

PACKAGES = ("gateway", "booking", "payment", "ops", "common")
CONTRACTS = "common.contracts.messages"


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """Where: the file, and the function in it, with its class; for a handler the function that handles."""

    path: str
    function: str

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]


@dataclass(slots=True)
class Uses:
    makers: set[Use] = field(default_factory=set)
    handlers: set[Use] = field(default_factory=set)


def uses(names: set[str], root: Path = ROOT) -> dict[str, Uses]:
    """Of each message by its class' name."""
    found = {name: Uses() for name in names}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            if CONTRACTS in path.read_text(encoding="utf-8"):
                _File(path.relative_to(root).as_posix(), root, found).read()
    return found


class _File:
    """One file of the source; `inside` is the function, with its class, or the table that is being read."""

    def __init__(self, path: str, root: Path, found: dict[str, Uses]) -> None:
        self._path = path
        self._root = root
        self._tree = parsed(root / path)
        self._found = found
        self._known = _known(self._tree) & found.keys()

    def read(self) -> None:
        if self._known:
            self._walk(self._tree, "")

    def _walk(self, node: ast.AST, inside: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                self._walk(child, f"{inside}.{child.name}" if inside else child.name)
            elif not inside and isinstance(child, ast.Assign | ast.AnnAssign):
                self._walk(child, ast.unparse(child.targets[0] if isinstance(child, ast.Assign) else child.target))
            else:
                self._note(child, inside)
                self._walk(child, inside)

    def _note(self, node: ast.AST, inside: str) -> None:
        if isinstance(node, ast.Call):
            for each in self._uses(node.func):
                each.makers.add(Use(self._path, inside))
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                for each in self._uses(value):
                    each.makers |= {Use(self._path, reader) for reader in _readers(self._tree, inside)}
                for each in self._uses(key):
                    each.handlers.add(self._use(_named(value)))
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is):
            for comparator in node.comparators:
                for each in self._uses(comparator):
                    each.handlers.add(Use(self._path, inside))

    def _uses(self, node: ast.expr | None) -> Iterator[Uses]:
        """What is found of the message that `node` names, if it names one."""
        if isinstance(node, ast.Name) and node.id in self._known:
            yield self._found[node.id]

    def _use(self, method: str) -> Use:
        """Of a handler: in this file, or in a class that this file imports from its package or from common."""
        if own := _method(self._tree, method):
            return Use(self._path, own)
        packages = (f"{Path(self._path).parts[0]}.", "common.")
        for node in self._tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(packages):
                path = f"{str(node.module).replace('.', '/')}.py"
                names = {alias.name for alias in node.names}
                is_module = (self._root / path).is_file()  # and no package
                if is_module and (found := _method(parsed(self._root / path), method, names)):
                    return Use(path, found)
        raise LookupError(f"{self._path} has a handler {method} that is nowhere")


def _method(tree: ast.Module, name: str, classes: set[str] | None = None) -> str:
    """The method `name` of a class, or of one of these; empty where there is none."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and (classes is None or node.name in classes):
            for each in node.body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name:
                    return f"{node.name}.{name}"
    return ""


def _readers(tree: ast.Module, table: str) -> Iterator[str]:
    """The functions that look something up in a table of the module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            if table in names:
                yield node.name


@cache
def _known(tree: ast.Module) -> frozenset[str]:
    """Names of contracts that are imported here, or made here."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(CONTRACTS):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ClassDef) and any(each.arg in ("type", "stream") for each in node.keywords):
            names.add(node.name)
    return frozenset(names)


def _named(handler: ast.expr) -> str:
    """The function that a table names: of `partial(self._each, self._cancel)` the last one."""
    names = [each.attr for each in ast.walk(handler) if isinstance(each, ast.Attribute)]
    if isinstance(handler, ast.Call) and handler.args:
        return _named(handler.args[-1])
    return names[0] if names else ast.unparse(handler)
