"""The tables as Tortoise's models declare them, and what migrations add to them that models cannot say."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tortoise.fields import SqlDefault
from tortoise.fields.base import Field
from tortoise.fields.relational import ForeignKeyFieldInstance, RelationalField
from tortoise.migrations.operations import RunSQL
from tortoise.models import Model

_INDEX = re.compile(r"CREATE (?P<unique>UNIQUE )?INDEX (?P<name>\w+) ON (?P<table>\w+) (?P<rest>.+)", re.DOTALL)
_TRIGGER = re.compile(r"CREATE (?:CONSTRAINT )?TRIGGER (?P<name>\w+) (?P<when>.+?) ON (?P<table>\w+)\s", re.DOTALL)
_DROP = re.compile(r"DROP (?:INDEX|TRIGGER) (?:IF EXISTS )?(\w+)")


@dataclass(frozen=True, slots=True)
class Column:
    """`default` is the database's, empty where there is none. `refers_to`: the table whose key it is."""

    name: str
    type: str
    null: bool
    default: str = ""
    primary: bool = False
    unique: bool = False
    refers_to: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `indexes` and `checks` are by name; those of migrations are among the indexes."""

    name: str
    model: str
    columns: tuple[Column, ...]
    checks: dict[str, str]
    indexes: dict[str, str] = field(default_factory=dict)
    triggers: dict[str, str] = field(default_factory=dict)


def tables(app: str) -> list[Table]:
    """The tables of the database `app`, in the order of its models."""
    found = [_table(model) for model in models(importlib.import_module(f"{app}.models"))]
    _add_sql({each.name: each for each in found}, forward_sql(app))
    return found


def models(module: ModuleType) -> Iterator[type[Model]]:
    """The models that `module` defines, in their order."""
    for each in vars(module).values():
        if inspect.isclass(each) and issubclass(each, Model) and each.__module__ == module.__name__:
            yield each


def _table(model: type[Model]) -> Table:
    meta: Any = model._meta
    columns = {each.name: each for each in _columns(model)}
    checks = {each.name: each.check for each in getattr(getattr(model, "Meta", None), "constraints", ())}
    indexes = {each.name: ", ".join(each.fields) for each in meta.indexes}
    indexes |= {f"unique {number}": f"{', '.join(each)}" for number, each in enumerate(meta.unique_together, 1)}
    return Table(meta.db_table, model.__name__, tuple(columns.values()), checks, indexes)


def _columns(model: type[Model]) -> Iterator[Column]:
    """A foreign key's column comes twice once Tortoise has set the models up."""
    fields_map: dict[str, Field[Any]] = model._meta.fields_map
    keys = {f"{name}_id" for name, of in fields_map.items() if isinstance(of, ForeignKeyFieldInstance)}
    for name, of in fields_map.items():
        if isinstance(of, ForeignKeyFieldInstance):
            target = getattr(importlib.import_module(model.__module__), str(of.model_name).rpartition(".")[2])
            key = target._meta.fields_map[target._meta.pk_attr]
            yield Column(f"{name}_id", _type(key), of.null, refers_to=target._meta.db_table)
        elif not isinstance(of, RelationalField) and name not in keys:
            yield Column(name, _type(of), of.null, _default(of), of.pk, of.unique and not of.pk)


def _type(of: Field[Any]) -> str:
    sql: str = of.get_for_dialect("postgres", "GENERATED_SQL" if of.generated else "SQL_TYPE")
    return sql.partition(" ")[0].lower()


def _default(of: Field[Any]) -> str:
    value = getattr(of, "db_default", None)
    if isinstance(value, SqlDefault):
        return str(value.sql)
    return json.dumps(value).strip('"') if isinstance(value, str | int) else ""


def forward_sql(app: str) -> Iterator[str]:
    """The statements of `app`'s migrations that are written out, in their order."""
    package = importlib.import_module(f"{app}.migrations")
    for name in sorted(each.name for each in pkgutil.iter_modules(package.__path__)):
        for operation in importlib.import_module(f"{package.__name__}.{name}").Migration.operations:
            if isinstance(operation, RunSQL):
                sql: Any = operation.sql
                yield from [sql] if isinstance(sql, str) else sql


def _add_sql(found: dict[str, Table], statements: Iterable[str]) -> None:
    for statement in statements:
        text = " ".join(statement.split())
        if index := _INDEX.match(text):
            found[index["table"]].indexes[index["name"]] = f"{index['unique'] or ''}{index['rest']}"
        elif trigger := _TRIGGER.match(text):
            found[trigger["table"]].triggers[trigger["name"]] = trigger["when"]
        elif dropped := _DROP.match(text):
            for each in found.values():
                each.indexes.pop(dropped[1], None)
                each.triggers.pop(dropped[1], None)
