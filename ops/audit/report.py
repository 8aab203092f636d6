"""Prints what an audit has found: tables on a terminal, plain lines elsewhere, or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.audit.facts import Finding
from ops.audit.look import Outcome
from ops.audit.mailboxes import Mailboxes

CLEAN, MISMATCH, CANNOT_LOOK = 0, 1, 2
# Lines of one list that are printed; the others are counted. JSON has all of them.
LINES_MAX = 200


def exit_code(outcome: Outcome) -> int:
    """Bookings that looked wrong and were not checked again are neither clean nor proven wrong: CANNOT_LOOK."""
    if outcome.mismatches:
        return MISMATCH
    return CANNOT_LOOK if outcome.unseen else CLEAN


def as_json(outcome: Outcome, mailboxes: Mailboxes | None) -> str:
    """One JSON object. Fields are only ever added to it."""

    def told(findings: list[Finding]) -> list[dict[str, str]]:
        return [{"rule": each.rule, "id": each.id, "text": each.text} for each in findings]

    body: dict[str, Any] = {
        "clean": outcome.clean,
        "started_at": outcome.started_at.isoformat(),
        "since": outcome.since.isoformat() if outcome.since else None,
        "seconds": round(outcome.seconds, 3),
        "looks": outcome.looks,
        "looked_at": outcome.looked_at,
        "mismatches": told(outcome.mismatches),
        "seen_once": told(outcome.once),
        "not_looked_at_again": outcome.unseen,
        "under_way": {
            kind: {"count": each.count, "examples": each.examples}
            for kind, each in sorted(outcome.under_way.items())
        },
        "mailboxes": mailboxes.lengths if mailboxes else None,
        "dead_letters": mailboxes.dead if mailboxes else None,
        "unknown_messages": mailboxes.unknown if mailboxes else None,
    }
    return json.dumps(body, indent=2)


def lines(outcome: Outcome, mailboxes: Mailboxes | None) -> Iterator[str]:
    """Plain lines that begin with their kind, with tabs between fields: for logs, `grep` and `cut`."""
    for name, findings in (("mismatch", outcome.mismatches), ("seen once", outcome.once)):
        yield from (f"{name}\t{each.rule}\t{each.id}\t{each.text}" for each in findings[:LINES_MAX])
        if len(findings) > LINES_MAX:
            yield f"{name}\t{len(findings) - LINES_MAX} more"
    for kind, each in sorted(outcome.under_way.items()):
        yield f"under way\t{kind}\t{each.count}\t{' '.join(each.examples)}"
    for name, text in _mailbox_lines(mailboxes):
        yield f"{name}\t{text}"
    yield f"looked at\t{_looked_at(outcome)}"
    yield summary(outcome)


def show(console: Console, outcome: Outcome, mailboxes: Mailboxes | None) -> None:
    """Tables, for a person."""
    _findings(console, "Does not match", outcome.mismatches, "red")
    _findings(console, "Seen once: may be work under way", outcome.once, "yellow")
    if outcome.under_way:
        table = Table("work", "bookings", "for example", title="Under way", title_justify="left")
        for kind, each in sorted(outcome.under_way.items()):
            table.add_row(kind, str(each.count), Text("\n".join(each.examples)))
        console.print(table)
    for name, text in _mailbox_lines(mailboxes):
        console.print(f"{name}: {text}", markup=False, highlight=False)
    console.print(f"looked at: {_looked_at(outcome)}", markup=False, highlight=False)
    console.print(summary(outcome), style="bold green" if outcome.clean else "bold red")


def summary(outcome: Outcome) -> str:
    """The last line."""
    took = f"{outcome.looks} look{'s' if outcome.looks > 1 else ''}, {outcome.seconds:.1f} s"
    if outcome.unseen:
        told = f"{outcome.unseen} more bookings look wrong and were not looked at again: narrow it with --since"
        return f"{told} ({took})" if not outcome.mismatches else f"{_counted(outcome)}; {told} ({took})"
    return f"{_counted(outcome)} ({took})" if outcome.mismatches else f"clean ({took})"


def _counted(outcome: Outcome) -> str:
    rules = Counter(finding.rule for finding in outcome.mismatches)
    by_rule = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
    return f"{len(outcome.mismatches)} do not match: {by_rule}"


def _findings(console: Console, title: str, findings: list[Finding], style: str) -> None:
    if not findings:
        return
    table = Table("rule", "booking", "what", title=title, title_style=style, title_justify="left")
    for each in findings[:LINES_MAX]:
        table.add_row(each.rule, Text(each.id), Text(each.text))
    console.print(table)
    if len(findings) > LINES_MAX:
        console.print(f"and {len(findings) - LINES_MAX} more (--json has all)", style=style)


def _mailbox_lines(mailboxes: Mailboxes | None) -> Iterator[tuple[str, str]]:
    if mailboxes is None:
        return
    if mailboxes.away is not None:
        yield "mailboxes", f"not known: {mailboxes.away}"
        return
    yield "mailboxes", ", ".join(f"{name} {length}" for name, length in mailboxes.lengths.items())
    dead = [f"{name} {length}" for name, length in mailboxes.dead.items() if length]
    yield "dead letters", ", ".join(dead) or "none"
    if unknown := [f"{name} {length}" for name, length in mailboxes.unknown.items() if length]:
        yield "messages of unknown types", ", ".join(unknown)


def _looked_at(outcome: Outcome) -> str:
    told = ", ".join(f"{count} {name}" for name, count in outcome.looked_at.items())
    return f"{told}, made since {outcome.since.isoformat()}" if outcome.since else told
