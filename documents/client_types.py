"""The types of both clients, from the OpenAPI document: `clients/js/types.d.ts` and
`clients/python/holdfast_client/types.py`. They have what requests send and what answers contain."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from gateway.openapi import document
from gateway.routes import GUESTS, ROUTES

Schema = Mapping[str, Any]

# Operations of these tags are no clients' business: what operates a gateway, and the socket.
LEFT_OUT = {"live", "operations"}
PAGE_PARAMETERS = {"limit", "cursor"}
LINE = 116
# A longer list of values is a text there: a program has currencies in variables, and not as words of its source.
INLINE_VALUES_MAX = 20
TYPESCRIPT = """\
// Written by `make docs`, from the OpenAPI document.

/** RFC 3339, in UTC. */
export type Time = string;
/** Where a time is sent: a text or a Date. */
export type TimeLike = string | Date;

/** One page of any list. */
export interface Page<T> {
  items: T[];
  next_cursor?: string | null;
}

/** Of lists without further parameters. */
export interface PageQuery {
  limit?: number;
  cursor?: string;
}

/** What an operation answers; anything where it is of a later release. */
export type Answer<Operation extends string> = Operation extends keyof Answers ? Answers[Operation] : any;
/** What a page of an operation's list contains. */
export type Listed<Operation extends string> = Answer<Operation> extends Page<infer T> ? T : any;
"""
PYTHON = '''\
"""What the interface sends and takes, by the names of its OpenAPI document, which says what each member means.

Times are RFC 3339, in UTC. Written by `make docs`.
"""
# fmt: off

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

# Where a time is sent.
TimeLike = str | datetime
'''
PYTHON_PAGES = '''\
class Page(TypedDict, Generic[T]):
    """One page of any list."""

    items: list[T]
    next_cursor: NotRequired[str | None]


class PageQuery(TypedDict, total=False):
    """Of lists without further parameters."""

    limit: int
    cursor: str
'''


@cache
def _document() -> Schema:
    return document((*GUESTS, *ROUTES))


def operations() -> dict[str, Schema]:
    """Those of customers and operators, by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in _document()["paths"].items()
        for method, operation in methods.items()
        if not LEFT_OUT & set(operation["tags"])
    }


def schemas() -> dict[str, Schema]:
    """What operations send and answer, and all that is part of it."""
    found: dict[str, Schema] = {}

    def add(node: Any) -> None:
        for name in _names(node):
            if name not in found:
                found[name] = _document()["components"]["schemas"][name]
                add(found[name])

    add(operations())
    return dict(sorted(found.items()))


def queries() -> dict[str, list[Schema]]:
    """The parameters of each list that has more than a page, by the name of their type."""
    found = {}
    for operation in operations().values():
        parameters = [each for each in operation.get("parameters", []) if each["in"] == "query"]
        if {each["name"] for each in parameters} - PAGE_PARAMETERS:
            name = operation["operationId"].title().replace("_", "")
            found[f"{name}Query"] = parameters
    return found


def _names(node: Any) -> Iterator[str]:
    """The schemas that are referred to anywhere in it."""
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str) and "/schemas/" in reference:
            yield _name(node)
        for value in node.values():
            yield from _names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _names(value)


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _is_sent(schema: Schema) -> bool:
    return schema.get("additionalProperties") is False


# --- TypeScript -------------------------------------------------------------------------------------------


def typescript() -> str:
    answers = [f"  {json.dumps(name)}: {_answer(operation)};" for name, operation in operations().items()]
    parts = [
        TYPESCRIPT,
        *(_interface(name, schema) for name, schema in schemas().items()),
        *(_query_interface(name, parameters) for name, parameters in queries().items()),
        "\n".join(["/** What each operation answers. */", "export interface Answers {", *answers, "}\n"]),
    ]
    return "\n".join(parts)


def _interface(name: str, schema: Schema) -> str:
    if "properties" not in schema:
        values = " | ".join(map(json.dumps, schema.get("enum", ()))) or _in_typescript(schema)
        return f"{_comment(schema)}export type {name} = {values};\n"
    lines = []
    for field, value in schema["properties"].items():
        optional = "" if field in schema.get("required", ()) else "?"
        described = _comment(value, "  ")
        lines.append(f"{described}  {field}{optional}: {_in_typescript(value, sent=_is_sent(schema))};\n")
    return f"{_comment(schema)}export interface {name} {{\n{''.join(lines)}}}\n"


def _query_interface(name: str, parameters: list[Schema]) -> str:
    lines = [
        f"{_comment(each, '  ')}  {each['name']}?: {_in_typescript(each['schema'], sent=True)};\n"
        for each in parameters
    ]
    return f"export interface {name} {{\n{''.join(lines)}}}\n"


def _comment(schema: Schema, indent: str = "") -> str:
    text = " ".join(schema.get("description", "").split()).replace("*/", "* /")
    return f"{indent}/** {text} */\n" if text else ""


def _answer(operation: Schema) -> str:
    """Of the first status that says that it was done: later ones say the same, or that it is not done yet."""
    status = min(code for code in operation["responses"] if code.startswith("2"))
    content = operation["responses"][status].get("content")
    if content is None:
        return "null"
    return _in_typescript(content["application/json"]["schema"]) if "application/json" in content else "Blob"


def _in_typescript(schema: Schema, *, sent: bool = False) -> str:
    if "$ref" in schema:
        return _name(schema)
    if choices := _choices(schema):
        names = [_in_typescript(each, sent=sent) for each in choices]
        if "string" in names and any("$ref" in each for each in choices):
            # A text beside named values: completion goes on offering these.
            names[names.index("string")] = "(string & {})"
        return " | ".join(dict.fromkeys(names))
    if values := _values(schema):
        return " | ".join(json.dumps(value) for value in values)
    match schema.get("type"):
        case "string":
            is_time = schema.get("format") == "date-time"
            return ("TimeLike" if sent else "Time") if is_time else "string"
        case "array":
            item = _in_typescript(schema["items"], sent=sent)
            return f"({item})[]" if "|" in item else f"{item}[]"
        case "object":
            return "Record<string, unknown>"
        case kind:
            return {"integer": "number", "number": "number", "boolean": "boolean", "null": "null"}.get(
                str(kind), "unknown"
            )


# --- Python -----------------------------------------------------------------------------------------------


def python() -> str:
    named = schemas()
    plain = {name: schema for name, schema in named.items() if "properties" not in schema}
    ordered = sorted(plain, key=lambda name: "$ref" in json.dumps(plain[name]))  # what is referred to comes first
    aliases = "".join(_alias(name, plain[name]) for name in ordered)
    classes = [_typed_dict(name, schema) for name, schema in named.items() if "properties" in schema]
    given = [_query_dict(name, parameters) for name, parameters in queries().items()]
    return "\n\n".join([PYTHON + aliases, PYTHON_PAGES, *classes, *given])


def _alias(name: str, schema: Schema) -> str:
    if "enum" not in schema:
        return f"{name} = {_in_python(schema)}\n"
    line = f"{name} = {_literal(schema['enum'])}\n"
    if len(line) <= LINE:
        return line
    lines = [f"    {json.dumps(value)},\n" for value in schema["enum"]]
    return f"{name} = Literal[\n{''.join(lines)}]\n"


def _typed_dict(name: str, schema: Schema) -> str:
    lines = []
    for field, value in schema["properties"].items():
        kind = _in_python(value, sent=_is_sent(schema))
        lines.append(f"    {field}: {kind if field in schema.get('required', ()) else f'NotRequired[{kind}]'}\n")
    return f"class {name}(TypedDict):\n{''.join(lines)}"


def _query_dict(name: str, parameters: list[Schema]) -> str:
    """A name that is a word of Python's needs the form of a call."""
    kinds = {each["name"]: _in_python(each["schema"], sent=True) for each in parameters}
    if not any(map(keyword.iskeyword, kinds)):
        lines = [f"    {field}: {kind}\n" for field, kind in kinds.items()]
        return f"class {name}(TypedDict, total=False):\n{''.join(lines)}"
    lines = [f"        {json.dumps(field)}: {kind},\n" for field, kind in kinds.items()]
    return f'{name} = TypedDict(\n    "{name}",\n    {{\n{"".join(lines)}    }},\n    total=False,\n)\n'


def _in_python(schema: Schema, *, sent: bool = False) -> str:
    if "$ref" in schema:
        return _name(schema)
    if choices := _choices(schema):
        return " | ".join(dict.fromkeys(_in_python(each, sent=sent) for each in choices))
    if values := _values(schema):
        return _literal(values)
    match schema.get("type"):
        case "string":
            return "TimeLike" if sent and schema.get("format") == "date-time" else "str"
        case "array":
            return f"list[{_in_python(schema['items'], sent=sent)}]"
        case "object":
            return "dict[str, object]"
        case kind:
            return {"integer": "int", "number": "float", "boolean": "bool", "null": "None"}.get(str(kind), "object")


def _literal(values: list[Any]) -> str:
    return f"Literal[{', '.join(json.dumps(value) for value in values)}]"


# --- both -------------------------------------------------------------------------------------------------


def _choices(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return found


def _values(schema: Schema) -> list[Any]:
    """The only values that there are, where they are few."""
    values: list[Any] = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return values if len(values) <= INLINE_VALUES_MAX else []
