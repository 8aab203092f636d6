"""Sentences out of docstrings, and Markdown out of sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SENTENCE_ENDS = re.compile(r"(?<=[.?!])\s+(?=[A-Z`(])")
# Where the next part of a sentence is about another name: `a` is this; `b` is that, `c` whether it is.
_PART_ENDS = re.compile(r";\s+(?=`)|,\s+(?=`\w+` (?:how|whether|its)\b)")
# The names that a part begins with: `a`, `b` and `c`.
_SUBJECTS = re.compile(r"`\w+`(?:(?:, | and |, and )`\w+`)*")
_NAME = re.compile(r"`(\w+)`")


def sentences(text: str) -> list[str]:
    """The sentences of `text`, each in one line."""
    joined = in_json(" ".join(text.split()))
    return _SENTENCE_ENDS.split(joined) if joined else []


def subjects(sentence: str) -> list[str]:
    """The names in backticks that `sentence` begins with."""
    found = _SUBJECTS.match(sentence)
    return _NAME.findall(found[0]) if found else []


def about(name: str, text: str) -> str:
    """What `text` says of `name`: the part of a sentence that begins with it; nothing where there is none."""
    part = next((part for part in _parts(text) if name in subjects(part)), "")
    named = re.match(rf"`{name}`(?:: | is | (?=(?:when|says|how|whether|its) ))", part)
    return ended(capital(part[named.end() :]) if named else part)


def mentions(name: str, text: str) -> str:
    """The first part of a sentence in `text` that mentions `name` in passing."""
    return ended(next((part for part in _parts(text) if f"`{name}`" in part), ""))


def _parts(text: str) -> list[str]:
    """The sentences, divided where they go on about another name, but not in parentheses."""
    parts: list[str] = []
    for sentence in sentences(text):
        begin = 0
        for end in _PART_ENDS.finditer(sentence):
            part = sentence[begin : end.start()]
            if part.count("(") == part.count(")"):
                parts.append(part)
                begin = end.end()
        parts.append(sentence[begin:])
    return parts


def without_fields(text: str, fields: Iterable[str]) -> str:
    """`text` without the sentences that begin with one of `fields`: they stand where the field does."""
    known = set(fields)
    return " ".join(each for each in sentences(text) if not known.intersection(subjects(each)))


def ended(text: str) -> str:
    """`text` in one line, with a full stop."""
    text = in_json(" ".join(text.split()))
    return f"{text}." if text and text[-1] not in ".?!" else text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return [_row(each) for each in lines]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |")


def different(texts: Iterable[str]) -> list[str]:
    """Those of `texts` that say something; of some that begin with the same two words the longest."""
    longest: dict[tuple[str, ...], str] = {}
    for text in filter(None, texts):
        begin = tuple(text.lower().replace("`", "").split()[:2])
        longest[begin] = max(longest.get(begin, ""), text, key=len)
    return list(longest.values())


def in_json(text: str) -> str:
    """None of Python is null of JSON and of SQL; none of something stays English."""
    return re.sub(r"(^|[.?!] )null\b", r"\1Null", re.sub(r"\bNone\b(?! (?:is|of|that) )", "null", text))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def code(text: str) -> str:
    return f"`{text}`" if text else ""
