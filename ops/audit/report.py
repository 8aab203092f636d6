"""Prints what an audit has found: tables on a terminal, plain lines elsewhere, or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.audit.mailboxes import Mailboxes
from ops.audit.records import Finding
from ops.audit.runner import AuditResult

CLEAN, MISMATCH, INCOMPLETE = 0, 1, 2
# Lines of one list that are printed; the others are counted. JSON has all of them.
LINES_MAX = 200


def exit_code(result: AuditResult) -> int:
    """Bookings that did not match and were not checked again are neither clean nor proven wrong: INCOMPLETE."""
    if result.mismatches:
        return MISMATCH
    return INCOMPLETE if result.not_checked_again else CLEAN


def as_json(result: AuditResult, mailboxes: Mailboxes | None) -> str:
    """One JSON object. Fields are only ever added to it."""

    def as_dicts(findings: list[Finding]) -> list[dict[str, str]]:
        return [{"rule": each.rule, "id": each.id, "text": each.text} for each in findings]

    body: dict[str, Any] = {
        "clean": result.clean,
        "started_at": result.started_at.isoformat(),
        "since": result.since.isoformat() if result.since else None,
        "seconds": round(result.seconds, 3),
        "looks": result.checks,
        "looked_at": result.checked,
        "mismatches": as_dicts(result.mismatches),
        "seen_once": as_dicts(result.seen_once),
        "not_looked_at_again": result.not_checked_again,
        "under_way": {
            kind: {"count": each.count, "examples": each.examples}
            for kind, each in sorted(result.under_way.items())
        },
        "mailboxes": mailboxes.lengths if mailboxes else None,
        "dead_letters": mailboxes.dead if mailboxes else None,
        "unknown_messages": mailboxes.unknown if mailboxes else None,
    }
    return json.dumps(body, indent=2)


def lines(result: AuditResult, mailboxes: Mailboxes | None) -> Iterator[str]:
    """Plain lines that begin with their kind, with tabs between fields: for logs, `grep` and `cut`."""
    for name, findings in (("mismatch", result.mismatches), ("seen once", result.seen_once)):
        yield from (f"{name}\t{each.rule}\t{each.id}\t{each.text}" for each in findings[:LINES_MAX])
        if len(findings) > LINES_MAX:
            yield f"{name}\t{len(findings) - LINES_MAX} more"
    for kind, each in sorted(result.under_way.items()):
        yield f"under way\t{kind}\t{each.count}\t{' '.join(each.examples)}"
    for name, text in _mailbox_lines(mailboxes):
        yield f"{name}\t{text}"
    yield f"checked\t{_checked(result)}"
    yield summary(result)


def show(console: Console, result: AuditResult, mailboxes: Mailboxes | None) -> None:
    """Tables, for a person."""
    _findings(console, "Does not match", result.mismatches, "red")
    _findings(console, "Seen once: may be work under way", result.seen_once, "yellow")
    if result.under_way:
        table = Table("work", "bookings", "for example", title="Under way", title_justify="left")
        for kind, each in sorted(result.under_way.items()):
            table.add_row(kind, str(each.count), Text("\n".join(each.examples)))
        console.print(table)
    for name, text in _mailbox_lines(mailboxes):
        console.print(f"{name}: {text}", markup=False, highlight=False)
    console.print(f"checked: {_checked(result)}", markup=False, highlight=False)
    console.print(summary(result), style="bold green" if result.clean else "bold red")


def summary(result: AuditResult) -> str:
    """The last line."""
    took = f"{result.checks} check{'s' if result.checks > 1 else ''}, {result.seconds:.1f} s"
    if result.not_checked_again:
        left = f"{result.not_checked_again} more bookings do not match, and were not checked again: use --since"
        return f"{left} ({took})" if not result.mismatches else f"{_counted(result)}; {left} ({took})"
    return f"{_counted(result)} ({took})" if result.mismatches else f"clean ({took})"


def _counted(result: AuditResult) -> str:
    rules = Counter(finding.rule for finding in result.mismatches)
    by_rule = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
    return f"{len(result.mismatches)} do not match: {by_rule}"


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
    if mailboxes.problem is not None:
        yield "mailboxes", f"not known: {mailboxes.problem}"
        return
    yield "mailboxes", ", ".join(f"{name} {length}" for name, length in mailboxes.lengths.items())
    dead = [f"{name} {length}" for name, length in mailboxes.dead.items() if length]
    yield "dead letters", ", ".join(dead) or "none"
    if unknown := [f"{name} {length}" for name, length in mailboxes.unknown.items() if length]:
        yield "messages of unknown types", ", ".join(unknown)


def _checked(result: AuditResult) -> str:
    text = ", ".join(f"{count} {name}" for name, count in result.checked.items())
    return f"{text}, made since {result.since.isoformat()}" if result.since else text
