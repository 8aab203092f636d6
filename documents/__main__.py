"""`python -m documents` writes the pages; with `--check` it says which are stale, and writes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from documents import client_types, messages, schema, streams
from documents.sources import ROOT

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/schema.md": schema.page,
    "docs/messages.md": messages.page,
    "docs/asyncapi.json": streams.page,
    "clients/js/types.d.ts": client_types.typescript,
    "clients/python/holdfast_client/types.py": client_types.python,
}


def stale(root: Path, made: Mapping[str, str]) -> list[str]:
    """The pages that are not there, or not as they were made."""
    return [
        path
        for path, text in made.items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """The exit code: 0 when the pages are as the code is (now), 1 when they are not, 2 for wrong arguments."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: python -m documents [--check]\n")
        return 2
    made = {path: f"{page().rstrip()}\n" for path, page in PAGES.items()}
    changed = stale(root, made)
    if arguments:
        for path in changed:
            sys.stderr.write(f"{path} is stale: run make docs\n")
        return 1 if changed else 0
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(made[path], encoding="utf-8")
        sys.stdout.write(f"written: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
