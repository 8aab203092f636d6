"""The pages that are made from the code have every table and message, and a change of either makes them stale."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tortoise import fields

from booking import models as booking_models
from booking.box_office import BoxOffice
from booking.door_handlers import DoorHandlers
from booking.erasure_handlers import ErasureHandlers
from booking.event_handlers import EventHandlers
from booking.guest_handlers import GuestHandlers
from booking.handlers import BookingHandlers
from booking.mail_handlers import MailHandlers
from booking.query_handlers import QueryHandlers
from booking.revocation_handlers import RevocationHandlers
from booking.ticket_handlers import TicketHandlers
from booking.waiting_handlers import WaitingHandlers
from booking.webhook_handlers import WebhookHandlers
from common.attention import AttentionHandlers
from common.contracts.messages import (
    BOOKING_COMMANDS,
    MAILBOXES,
    NOTIFICATIONS,
    TYPES,
    GetAttention,
    GetPaymentAttention,
    Message,
)
from common.messaging.batch import Handlers
from common.messaging.envelope import envelope_for
from documents import contracts, messages, schema
from documents.__main__ import PAGES, main
from documents.of_messages import ENVELOPE, FIELDS, MESSAGES, STREAMS, VIA
from documents.of_tables import COLUMNS, PURPOSES, REFERENCES, TRIGGERS
from documents.prose import about, in_json, without_fields
from documents.sources import ROOT
from documents.tables import Table, tables
from documents.uses import Use, uses
from payment import models as payment_models
from payment.handlers import PaymentHandlers
from payment.lost import LostRows
from payment.strays import Strays
from tests.common.stage import fields_of

TABLES = [(app, table) for app in ("booking", "payment") for table in tables(app)]
KINDS = contracts.messages()
USED = uses({kind.__name__ for kind in KINDS})
SCHEMA, MESSAGES_PAGE, *_ = ((ROOT / path).read_text(encoding="utf-8") for path in PAGES)


def section(page: str, title: str) -> str:
    """What stands under a heading of the third level."""
    return page.partition(f"\n### `{title}`\n")[2].partition("\n## ")[0].partition("\n### ")[0]


# --- stale or not


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "docs").mkdir()
    assert main([], folder) == 0
    return folder


@pytest.fixture
def written(tmp_path: Path, pages: Path) -> Path:
    """A copy of the pages, which a test may change."""
    return shutil.copytree(pages, tmp_path, dirs_exist_ok=True)


def test_the_pages_are_as_the_code_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_changed_model_makes_its_page_stale(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (written / "docs/schema.md").read_text()
    monkeypatch.setitem(booking_models.Booking._meta.fields_map, "gift", fields.BooleanField(db_default=False))
    assert main(["--check"], written) == 1
    said = capsys.readouterr().err
    assert "docs/schema.md is stale" in said
    assert "messages" not in said
    assert (written / "docs/schema.md").read_text() == before  # a check writes nothing
    assert main([], written) == 0
    assert "| `gift` | `bool` | default `false` |" in (written / "docs/schema.md").read_text()


def test_a_changed_check_of_a_table_makes_its_page_stale(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payment_models.Refund.Meta, "constraints", ())
    assert main(["--check"], written) == 1


def test_a_new_message_makes_its_page_stale(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:

        class CloseSale(Message, type="event.close_sale", stream=BOOKING_COMMANDS):
            """Nothing is sold any more."""

        assert main(["--check"], written) == 1
        said = capsys.readouterr().err
        assert "docs/messages.md is stale" in said
        assert "schema" not in said
    finally:
        del TYPES["event.close_sale"]


def test_a_page_that_is_not_there_is_stale(written: Path) -> None:
    (written / "docs/messages.md").unlink()
    assert main(["--check"], written) == 1


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    assert main(["--chekc"], tmp_path) == 2


# --- tables


@pytest.mark.parametrize(("app", "table"), TABLES, ids=[f"{app}.{table.name}" for app, table in TABLES])
def test_a_table_is_drawn_and_described_with_all_of_its_columns(app: str, table: Table) -> None:
    database = SCHEMA.partition(f"## Database `{app}`")[2].partition("## Database")[0]
    drawn = database.partition(f"    {table.name} {{\n")[2].partition("    }\n")[0]
    text = section(database, table.name)
    assert schema.purpose(app, table)
    for column in table.columns:
        assert re.search(rf"^        \w+ {column.name}\b", drawn, re.MULTILINE), column
        assert f"| `{column.name}` |" in text
        assert schema.meaning(app, table, column.name), f"what does {table.name}.{column.name} mean?"
    for held in (*table.checks, *table.triggers):
        assert f"- `{held}`" in text


def test_every_model_has_a_table() -> None:
    models = {name for module in (booking_models, payment_models) for name in _models(module)}
    assert {table.model for _, table in TABLES} == models
    assert len(TABLES) == SCHEMA.count("\n### ")


def _models(module: Any) -> Iterator[str]:
    return (name for name in re.findall(r"^class (\w+)\(Model\):", Path(module.__file__).read_text(), re.MULTILINE))


def test_what_is_written_by_hand_is_of_what_there_is() -> None:
    columns = {f"{app}.{table.name}.{column.name}" for app, table in TABLES for column in table.columns}
    names = {name.rpartition(".")[2] for name in columns}
    assert {name for name in COLUMNS if name not in columns and name not in names} == set()
    assert PURPOSES.keys() <= {f"{app}.{table.name}" for app, table in TABLES}
    assert TRIGGERS.keys() == {trigger for _, table in TABLES for trigger in table.triggers}


def test_references_without_a_foreign_key_are_columns() -> None:
    for app, references in REFERENCES.items():
        by_name = {table.name: table for owner, table in TABLES if owner == app}
        for (name, column), target in references.items():
            (found,) = (each for each in by_name[name].columns if each.name == column)
            (key,) = (each for each in by_name[target].columns if each.primary)
            assert not found.refers_to
            assert found.type == key.type


# --- messages


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_is_described_with_all_of_its_fields(kind: type[Message]) -> None:
    text = section(MESSAGES_PAGE, kind.__name__)
    assert all(f"`{name}`" in text for name in kind.types)
    assert messages.meaning(kind)
    for field in contracts.fields(kind):
        assert f"| {'…' if field.name == '…' else f'`{field.name}`'} | {field.type} |" in text
        assert field.meaning, f"what does {kind.__name__}.{field.name} mean?"


def test_every_message_is_there_once() -> None:
    assert {name for kind in KINDS for name in kind.types} == set(TYPES)
    for kind in KINDS:
        assert MESSAGES_PAGE.count(f"\n### `{kind.__name__}`\n") == 1


def test_what_messages_are_made_of_is_described() -> None:
    for name, part in contracts.parts(KINDS).items():
        text = section(MESSAGES_PAGE, name)
        for value in contracts.values(part):
            assert f"`{value}`" in text
        for field in contracts.of_schema([name], part, [part.get("description", "")]):
            assert f"| `{field.name}` | {field.type} |" in text
            assert field.meaning, f"what does {name}.{field.name} mean?"


def test_what_is_written_of_messages_by_hand_is_of_what_there_is() -> None:
    assert STREAMS.keys() == {*MAILBOXES, NOTIFICATIONS, ""}
    assert MESSAGES.keys() <= {kind.__name__ for kind in KINDS}
    classes = {each.__name__: each for kind in KINDS for each in kind.__mro__ if issubclass(each, Message)}
    known = {f"{name}.{field}" for name, each in classes.items() for field in each.model_fields}
    known |= {
        f"{name}.{field}" for name, part in contracts.parts(KINDS).items() for field in part.get("properties", ())
    }
    assert {name for name in FIELDS if name not in known | {each.partition(".")[2] for each in known}} == set()


def test_the_attributes_are_those_of_an_entry() -> None:
    asked = envelope_for(KINDS[0].model_construct(), "x")._replace(replyto="inbox:one", correlationid="1")
    assert ENVELOPE.keys() == fields_of(asked).keys()


# --- who sends and handles them


def test_each_message_is_sent_and_handled_somewhere() -> None:
    assert {name for name, of in USED.items() if not of.makers or not of.handlers} == set()
    shared = {
        (name, use.path) for name, of in USED.items() for use in of.makers | of.handlers if use.package == "common"
    }
    assert shared == VIA.keys()


def test_handlers_are_those_of_the_actors_tables() -> None:
    """Compared with the tables that the processes read by."""
    mock: Any = Mock()
    bookings = BookingHandlers(mock, mock, mock, mock, mock)
    events, guests = EventHandlers(mock, mock, mock), GuestHandlers(mock, mock, mock, mock)
    tokens, tickets = RevocationHandlers(mock, mock), TicketHandlers(mock, mock)
    waiting = WaitingHandlers(mock, mock, mock, mock)
    door, erasures = DoorHandlers(mock, mock, mock), ErasureHandlers(mock, mock)
    webhooks = WebhookHandlers(mock, mock, mock)
    attention = AttentionHandlers(mock, mock, (), mock)
    mails = MailHandlers(mock, mock, on=True)
    lost = LostRows(Strays(mock, mock, mock, mock, mock, 1.0))
    payments = PaymentHandlers(
        mock, mock, mock, lost, intent_calls_seconds=1, command_calls_seconds=1, deferred_calls_seconds=1
    )
    read: dict[str, Handlers] = {
        "booking.commands": {
            **bookings.commands,
            **events.commands,
            **tokens.commands,
            **guests.commands,
            **erasures.commands,
            **BoxOffice(mock, mock, mock).commands,
            **waiting.commands,
            **mails.commands,
            **webhooks.commands,
        },
        "booking.queries": {
            **QueryHandlers(mock, mock).queries,
            **tokens.queries,
            **guests.queries,
            **tickets.queries,
            **waiting.queries,
            **mails.queries,
            **webhooks.queries,
            GetAttention: attention.get_attention,
        },
        "booking.door": door.door,
        "booking.payments": bookings.payments,
        "payment.intents": payments.intents,
        "payment.commands": payments.commands,
        "payment.deferred": payments.deferred,
        "payment.webhooks": payments.webhooks,
        "payment.queries": {GetPaymentAttention: attention.get_attention},
    }
    assert set(read) == set(MAILBOXES)
    for stream, handlers in read.items():
        assert set(handlers) == {kind for kind in KINDS if stream in kind.streams}
        for kind, handler in handlers.items():
            assert USED[kind.__name__].handlers == {_place(handler)}


def _place(handler: Any) -> Use:
    method = handler.args[-1] if isinstance(handler, partial) else handler
    return Use(f"{method.__module__.replace('.', '/')}.py", method.__func__.__qualname__)


def test_who_sends_a_message_is_found_where_its_class_is_called(tmp_path: Path) -> None:
    """Also by way of a table, and not where another class has the same name."""
    for package in ("gateway", "booking", "payment", "ops", "common"):
        (tmp_path / package).mkdir()
    (tmp_path / "gateway/one.py").write_text(
        "from common.contracts.messages import A, B\n"
        "TABLE = {1: B}\n"
        "class Asking:\n    def ask(self): return A(x=1)\n"
        "def table(): return TABLE[1](x=1)\n"
        "class Handlers:\n"
        "    def __init__(self): self.table = {A: self.take}\n"
        "    def take(self): ...\n"
    )
    (tmp_path / "booking/two.py").write_text("from booking.three import A\ndef other(): return A()\n")
    found = uses({"A", "B"}, tmp_path)
    assert found["A"].makers == {Use("gateway/one.py", "Asking.ask")}
    assert found["A"].handlers == {Use("gateway/one.py", "Handlers.take")}
    assert found["B"].makers == {Use("gateway/one.py", "table")}


# --- sentences


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a", "What it is. `a`: this; `b` is that (`c`; whatever).", "This."),
        ("b", "What it is. `a`: this; `b` is that (`a`; whatever).", "That (`a`; whatever)."),
        ("c", "`a` and `c` count seats. `b` does not.", "`a` and `c` count seats."),
        ("b", "`a` is how much, `b` whether it is all.", "Whether it is all."),
        ("d", "It mentions `d` in passing.", ""),
    ],
)
def test_a_docstring_says_what_a_field_means(name: str, text: str, said: str) -> None:
    assert about(name, text) == said


def test_a_purpose_is_what_says_nothing_of_fields() -> None:
    assert without_fields("One of\nthem. `a`: this. More of it.", ["a"]) == "One of them. More of it."


def test_none_of_python_is_null() -> None:
    assert (
        in_json("None leaves it. It is None: None that is left.")
        == "Null leaves it. It is null: None that is left."
    )
