"""`docs/schema.md`: the two databases, drawn and described from Tortoise's models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from documents.of_tables import COLUMNS, PURPOSES, REFERENCES, TRIGGERS
from documents.prose import code, different, ended, table, without_fields
from documents.sources import described
from documents.tables import Column, Table, tables

HEAD = """\
# The tables

Made from the code by `make docs`; do not edit it. The models are in `booking/models.py` and `payment/models.py`;
how a booking, a payment and a refund move is in [states.md](states.md).

Each actor owns one database, and no statement reads both. All times are `timestamptz`; all amounts are in the
currency's minor unit. `settle_after`, `drive_after`, `look_after` and `report_after` are retry times: while one is
not null, the reconciler handles the row again at that time. In the diagrams a solid line is a foreign key, a dotted
one is a reference that the database does not check. `payments.booking_id` of the one database is `bookings.id` of
the other, and `bookings.refund_id` is the `refunds.id` of the refund that the booking has requested last.
"""
# Of each table, what its rows are read into, which says what its columns mean; and what is shown of it.
READ_INTO = {
    "booking": {
        "events": "booking/state.py:Event",
        "ticket_types": "booking/state.py:TicketType",
        "bookings": "booking/state.py:Booking",
    },
    "payment": {
        "payments": "payment/state.py:Payment",
        "payment_attempts": "payment/state.py:Attempt",
        "refunds": "payment/refunds.py:Refund",
        "disputes": "payment/disputes.py:Dispute",
        "stray_intents": "payment/orphans.py:Stray",
    },
}
SHOWN_AS = {"booking.events": "common/contracts/resources.py:Event"}


def page() -> str:
    lines = [HEAD]
    for app in READ_INTO:
        found = tables(app)
        lines += [f"## Database `{app}`", "", *diagram(app, found), ""]
        for each in found:
            lines += _section(app, each)
    return "\n".join(lines)


def diagram(app: str, found: Sequence[Table]) -> list[str]:
    """The tables of a database and what refers to what."""
    lines = ["```mermaid", "erDiagram"]
    for each in found:
        for column in each.columns:
            if column.refers_to:
                lines.append(f"    {column.refers_to} ||--o{{ {each.name} : {column.name}")
    lines += [f"    {target} ||..o{{ {name} : {column}" for (name, column), target in REFERENCES[app].items()]
    for each in found:
        lines.append(f"    {each.name} {{")
        lines += [f"        {_drawn(column)}" for column in each.columns]
        lines.append("    }")
    return [*lines, "```"]


def _drawn(column: Column) -> str:
    keys = ("PK", column.primary), ("FK", column.refers_to), ("UK", column.unique)
    kind = column.type.partition("(")[0]
    return f"{kind} {column.name} {', '.join(key for key, is_key in keys if is_key)}".rstrip()


def _section(app: str, each: Table) -> list[str]:
    rows = [
        (code(column.name), code(column.type), _rules(column), meaning(app, each, column.name))
        for column in each.columns
    ]
    lines = [f"### `{each.name}`", "", purpose(app, each), "", *table(("column", "type", "", "meaning"), rows), ""]
    held = [f"`{name}`: `{check}`" for name, check in each.checks.items()]
    held += [f"`{name}`, a trigger `{when}`: {TRIGGERS[name]}" for name, when in each.triggers.items()]
    return [*lines, *_list("The database holds:", held), *_list("Indexes:", _indexes(each))]


def _list(title: str, items: Iterable[str]) -> list[str]:
    items = [f"- {each}" for each in items]
    return [title, "", *items, ""] if items else []


def _indexes(each: Table) -> Iterable[str]:
    for name, on in each.indexes.items():
        yield f"unique `{on}`" if name.startswith("unique ") else f"`{name}`: `{on}`"


def _rules(column: Column) -> str:
    rules = [
        "key" if column.primary else "",
        f"of `{column.refers_to}`" if column.refers_to else "",
        "unique" if column.unique else "",
        "or null" if column.null else "",
        f"default `{column.default}`" if column.default else "",
    ]
    return ", ".join(filter(None, rules))


def purpose(app: str, each: Table) -> str:
    """What the table is for: its model's docstring without what that says of columns, and what it does not say."""
    own = without_fields(described(f"{app}/models.py:{each.model}").docstring, (c.name for c in each.columns))
    return " ".join(filter(None, (PURPOSES.get(f"{app}.{each.name}", ""), ended(own))))


def said(app: str, each: Table, column: str) -> list[str]:
    """What the code says of the column: the value that its row is read into, and its model."""
    field = column.removesuffix("_id") if column.removesuffix("_id") in _relations(each) else column
    return [described(source).of_field(field) for source in _sources(app, each)]


def _sources(app: str, each: Table) -> list[str]:
    model = f"{app}/models.py:{each.model}"
    read_into = READ_INTO[app].get(each.name)
    return [model] if read_into is None else [read_into, model]


def _relations(each: Table) -> set[str]:
    return {column.name.removesuffix("_id") for column in each.columns if column.refers_to}


def meaning(app: str, each: Table, column: str) -> str:
    """Of the column: what is written for this page and what the code says, else what is shown of it."""
    own = COLUMNS.get(f"{app}.{each.name}.{column}", COLUMNS.get(column, ""))
    known = [ended(own), *said(app, each, column)]
    if not any(known):
        known = [described(source).in_passing(column) for source in _sources(app, each)]
    if not any(known) and (shown := SHOWN_AS.get(f"{app}.{each.name}")):
        known = [described(shown).of_field(column)]
    return " ".join(different(known))
