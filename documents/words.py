"""`python -m documents.words` finds the words that the glossary retires; with `--write` it writes the list of them
into the glossary. The words, and the places where they may stay, are in `of_words.py`."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

from documents.of_words import KEPT, RETIRED, SKIPPED, Kept, Retired, Skipped, Where
from documents.sources import ROOT

GLOSSARY = "docs/glossary.md"
HEADING = "## Retired words"
INTRODUCTION = """\
Words that were names of ours, and are not any more: `make check` finds them. *Names* are those of variables,
functions, classes, files, settings and metrics; elsewhere such a word has its ordinary meaning."""
FORMS = {tuple(form.split()): retired for retired in RETIRED for form in retired.forms.split(", ")}
LONGEST = max(map(len, FORMS))
# Between the words of a form there may be a new line, in Python that of a comment.
PROSE = re.compile(
    r"\b(?:{})\b".format(
        "|".join(r"[\s#]+".join(words) for words, retired in FORMS.items() if retired.where is Where.EVERYWHERE)
    ),
    re.IGNORECASE,
)
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
# Names in any text: what stands in backticks, metrics, and settings.
QUOTED = re.compile(r"`([^`\n]+)`")
NAMED = re.compile(r"\bholdfast_\w+|\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
# Names in files that are neither Python nor Markdown: keys and targets, and what is made of several words.
KEY = re.compile(r"^[ \t#-]*[\"']?([A-Za-z_][\w.-]*)[\"']?[ \t]*[:=?]", re.MULTILINE)
COMPOUND = re.compile(r"\b[A-Za-z]\w*_\w+|\b[a-z]+[A-Z]\w*")


class Finding(NamedTuple):
    """A retired word in a file: in a name, as it is written there, or in prose."""

    path: str
    line: int
    name: str
    retired: Retired

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}: say {self.retired.say}"


@cache
def retired_in(name: str) -> tuple[Retired, ...]:
    """What is retired of a name: it is split at underscores, at capitals and at all that is no letter."""
    words = [word.lower() for word in PARTS.findall(name)]
    spans = ((start, length) for start in range(len(words)) for length in range(1, LONGEST + 1))
    found = (FORMS.get(tuple(words[start : start + length])) for start, length in spans)
    return tuple(dict.fromkeys(filter(None, found)))


def _names_in_text(text: str) -> Iterator[tuple[int, str]]:
    for quoted in QUOTED.finditer(text):
        for name in IDENTIFIER.finditer(quoted[1]):
            yield quoted.start(1) + name.start(), name[0]
    for named in NAMED.finditer(text):
        yield named.start(), named[0]


def _names_in_other(text: str) -> Iterator[tuple[int, str]]:
    yield from _names_in_text(text)
    for key in KEY.finditer(text):
        yield key.start(1), key[1]
    for compound in COMPOUND.finditer(text):
        yield compound.start(), compound[0]


def _lines(text: str, names: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Line numbers instead of offsets."""
    return ((text.count("\n", 0, offset) + 1, name) for offset, name in names if retired_in(name))


def _python_names(text: str) -> Iterator[tuple[int, str]]:
    if not any(map(retired_in, set(IDENTIFIER.findall(text)))):
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string
        elif token.string and not token.string.isspace():  # a string or a comment
            for line, name in _lines(token.string, _names_in_text(token.string)):
                yield token.start[0] + line - 1, name


def names(path: str, text: str) -> Iterator[tuple[int, str]]:
    """The names in a file that may be retired, each with its line."""
    if path.endswith(".py"):
        return _python_names(text)
    return _lines(text, _names_in_text(text) if path.endswith(".md") else _names_in_other(text))


def find(path: str, text: str) -> list[Finding]:
    """All names and phrases of a file in which a word is retired, each once in a line."""
    found = [Finding(path, 1, part, retired) for part in _parts(path) for retired in retired_in(part)]
    for line, name in names(path, text):
        found += [Finding(path, line, name, each) for each in retired_in(name) if each.where is not Where.FILES]
    for prose in PROSE.finditer(text):
        words = re.split(r"[\s#]+", prose[0])
        line, retired = text.count("\n", 0, prose.start()) + 1, FORMS[tuple(map(str.lower, words))]
        found.append(Finding(path, line, " ".join(words), retired))
    return [each for _, each in sorted({each[:3]: each for each in reversed(found)}.items())]


def _parts(path: str) -> list[str]:
    """The names of a file and of its folders, without what comes after a dot."""
    return [part.partition(".")[0] for part in path.split("/")]


def tracked(root: Path) -> list[str]:
    """The files of the repository, as far as they are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.split("\0") if path and (root / path).is_file()]


def check(
    root: Path, paths: Sequence[str], kept: Sequence[Kept] = KEPT, skipped: Sequence[Skipped] = SKIPPED
) -> list[str]:
    """What is wrong: retired words that nothing keeps, and exceptions that match nothing any more."""
    wrong: list[str] = []
    unused = {(exception, word) for exception in kept for word in exception.words.split(", ")}
    idle = [each for each in skipped if not any(fnmatchcase(path, each.path) for path in paths)]
    matched: set[tuple[Kept, str]] = set()
    for path in paths:
        if any(fnmatchcase(path, each.path) for each in skipped):
            continue
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        here = [(exception, word) for exception, word in unused if fnmatchcase(path, exception.path)]
        for finding in find(path, text):
            by = {one for one in here if fnmatchcase(finding.name, one[1])}
            matched |= by
            if not by:
                wrong.append(str(finding))
    wrong += [f"documents/of_words.py: nothing is skipped by {each.path}: remove it" for each in idle]
    stale = sorted(unused - matched)
    return wrong + [f"documents/of_words.py: {each.path} has no {word} to keep: remove it" for each, word in stale]


def section() -> str:
    """The glossary's list of retired words."""
    rows = "".join(f"| {retired.forms} | {retired.say} | {retired.where.value} |\n" for retired in RETIRED)
    return f"{HEADING}\n\n{INTRODUCTION}\n\n| retired | say | where |\n|---|---|---|\n{rows}"


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """The exit code: 0 when nothing is wrong, 1 when something is, 2 for wrong arguments."""
    if list(arguments) not in ([], ["--write"]):
        sys.stderr.write("usage: python -m documents.words [--write]\n")
        return 2
    page = (root / GLOSSARY).read_text(encoding="utf-8")
    written = page.partition(HEADING)[0] + section()
    if arguments:
        (root / GLOSSARY).write_text(written, encoding="utf-8")
        return 0
    wrong = check(root, tracked(root))
    if page != written:
        wrong.append(f"{GLOSSARY}: its retired words are stale: run make docs")
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
