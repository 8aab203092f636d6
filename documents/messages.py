"""`docs/messages.md`: every message, who sends and handles it, and what is in it, from the contracts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from common.contracts.messages import MAILBOXES, NOTIFICATIONS, Message
from documents import contracts
from documents.of_messages import ENVELOPE, MESSAGES, STREAMS, VIA
from documents.prose import code, ended, table, without_fields
from documents.uses import Use, Uses, uses

HEAD = """\
# The messages

Made from the code by `make docs`; do not edit it. The contracts are in `common/contracts/messages/`, divided by who
receives them; how they travel is in [architecture.md](architecture.md#the-mailboxes). They only ever grow: a field
is added with a default, and a receiver ignores fields that it does not know, so that processes of two releases run
side by side.

A message is one entry of a Redis stream. Its fields are [CloudEvents
1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) attributes:
"""
DATA = """\
In `data` a time is a string as RFC 3339 has it, an amount is in the currency's minor unit, and a field that was not
set is left out.
"""


def page() -> str:
    kinds = contracts.messages()
    used = uses({kind.__name__ for kind in kinds})
    streams = (*MAILBOXES, NOTIFICATIONS, "")
    by_stream = {stream: [kind for kind in kinds if stream in kind.streams] for stream in streams}
    attributes = ((code(name), meaning) for name, meaning in ENVELOPE.items())
    lines = [HEAD, *table(("attribute", "meaning"), attributes), "", DATA]
    lines += ["## All of them", "", *diagram(by_stream, used), "", *_overview(kinds, used), ""]
    for stream, messages in by_stream.items():
        title, text = STREAMS[stream]
        lines += [f"## {title}", "", text, ""]
        for kind in messages:
            if kind.stream == stream:
                lines += _section(kind, used[kind.__name__])
    return "\n".join([*lines, *_parts(kinds)])


def diagram(by_stream: Mapping[str, Iterable[type[Message]]], used: Mapping[str, Uses]) -> list[str]:
    """Which process writes to which stream, and which reads it."""
    lines = ["```mermaid", "flowchart LR"]
    for number, (stream, kinds) in enumerate(by_stream.items()):
        name = stream if stream in MAILBOXES else "inboxes: notifications" if stream else "inboxes: replies"
        lines.append(f'    s{number}[["{name}"]]')
        makers = {process for kind in kinds for process in processes(kind, used[kind.__name__].makers)}
        readers = {process for kind in kinds for process in processes(kind, used[kind.__name__].handlers)}
        lines += [f"    {_node('from', process)} --> s{number}" for process in sorted(makers)]
        lines += [f"    s{number} --> {_node('to', process)}" for process in sorted(readers)]
    return [*lines, "```"]


def _node(side: str, process: str) -> str:
    return f"{side}_{process.replace(' ', '_')}([{process}])"


def processes(kind: type[Message], functions: Iterable[Use]) -> list[str]:
    """Those that `functions` are part of; what all of them share is named by hand."""
    found = {
        process
        for each in functions
        for process in (VIA[kind.__name__, each.path] if each.package == "common" else (each.package,))
    }
    return sorted("holdfast repair" if each == "ops" else each for each in found)


def _overview(kinds: Iterable[type[Message]], used: Mapping[str, Uses]) -> list[str]:
    rows = []
    for kind in kinds:
        name, of = kind.__name__, used[kind.__name__]
        stream = ", ".join(map(code, kind.streams)) if kind.stream in MAILBOXES else "inboxes"
        types = ", ".join(code(each) for each in kind.types)
        senders, handlers = processes(kind, of.makers), processes(kind, of.handlers)
        rows.append((f"[`{name}`](#{name.lower()})", types, stream, ", ".join(senders), ", ".join(handlers)))
    return table(("message", "CloudEvents type", "stream", "sent by", "handled by"), rows)


def meaning(kind: type[Message]) -> str:
    """What it is for: what is written for this page, and its docstring."""
    own = contracts.purpose(kind)
    return " ".join(filter(None, (ended(MESSAGES.get(kind.__name__, "")), ended(own))))


def _section(kind: type[Message], of: Uses) -> Iterator[str]:
    yield from (f"### `{kind.__name__}`", "", meaning(kind), "")
    yield f"- Type: {', '.join(code(each) for each in kind.types)}"
    yield f"- Sent by {_listed(of.makers)}"
    yield f"- Handled by {_listed(of.handlers)}"
    if topics := contracts.topics(kind):
        yield f"- Listened for by {', '.join(code(each) for each in topics)}"
    if kind.deferrable:
        yield "- Deferrable: it leaves up to half a second later, together with others of its kind"
    yield from ("", *_fields(contracts.fields(kind)), "")


def _listed(found: Iterable[Use]) -> str:
    by_path: dict[str, list[str]] = {}
    for each in sorted(found):
        by_path.setdefault(each.path, []).append(code(each.function))
    return "; ".join(f"`{path}` ({', '.join(functions)})" for path, functions in by_path.items())


def _fields(found: Iterable[contracts.Field]) -> list[str]:
    rows = [(code(each.name) if each.name != "…" else "…", each.type, each.rule, each.meaning) for each in found]
    return table(("field", "type", "", "meaning"), rows)


def _parts(kinds: Iterable[type[Message]]) -> Iterator[str]:
    parts = contracts.parts(kinds)
    objects = {name: of for name, of in parts.items() if not contracts.values(of)}
    yield from ("## What messages are made of", "")
    for name, of in objects.items():
        text = of.get("description", "")
        purpose = without_fields(text, of["properties"])
        yield from (f"### `{name}`", "", *([purpose, ""] if purpose else []))
        yield from (*_fields(contracts.of_schema([name], of, [text])), "")
    yield from ("## Texts of a few values", "")
    for name, of in parts.items():
        if name not in objects:
            values = ", ".join(code(value) for value in contracts.values(of))
            yield from (f"### `{name}`", "", f"{ended(of.get('description', ''))} One of {values}.".strip(), "")
