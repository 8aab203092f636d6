"""Messages and what they are made of, read off their classes and their JSON schemas."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from common.contracts.messages import TYPES, Message, PaymentReport
from documents.of_messages import FIELDS
from documents.prose import about, different, ended, mentions, without_fields

Schema = dict[str, Any]
# Formats and types of JSON schemas, as the pages call them.
_NAMED = {"uuid": "UUID", "date-time": "time", "object": "object", "null": "null"}


@dataclass(frozen=True, slots=True)
class Field:
    """`type` and `rule` as the pages show them: a rule is whether it must be there, or its default."""

    name: str
    type: str
    rule: str
    meaning: str


def messages() -> list[type[Message]]:
    """All classes of messages, in the order in which they are declared."""
    return list(dict.fromkeys(TYPES.values()))


def purpose(kind: type[Message]) -> str:
    """The message's docstring without what it says of fields."""
    return without_fields(own_docstring(kind), kind.model_fields)


def own_docstring(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "") if "__doc__" in vars(kind) else ""


def fields(kind: type[Message]) -> list[Field]:
    classes = [each for each in kind.__mro__ if issubclass(each, Message)]
    names, texts = [each.__name__ for each in classes], [own_docstring(each) for each in classes]
    found = of_schema(names, schema(kind), texts)
    if kind is not PaymentReport:
        return found
    # It is sent flat.
    flat = "all fields of [`PaymentState`](#paymentstate), beside `booking_id`"
    return [found[0], Field("…", flat, "", "How the payment stands.")]


def schema(kind: type[Message]) -> Schema:
    return kind.model_json_schema()


def parts(kinds: Iterable[type[Message]]) -> dict[str, Schema]:
    """What messages are made of, by name: objects, and texts of a few values."""
    found: dict[str, Schema] = {}
    for kind in kinds:
        found |= {name: part for name, part in schema(kind).get("$defs", {}).items() if name not in TYPES_BY_NAME}
    return dict(sorted(found.items()))


TYPES_BY_NAME = {kind.__name__: kind for kind in TYPES.values()}


def of_schema(owners: Sequence[str], of: Schema, texts: Sequence[str]) -> list[Field]:
    """The fields of an object of the class `owners[0]`, which has the others' fields, too; `texts` are their
    docstrings, which may say what they mean."""
    required = of.get("required", ())
    return [
        Field(name, shown(each), _rule(name, each, required), _meaning(owners, name, each, texts))
        for name, each in of.get("properties", {}).items()
    ]


def _rule(name: str, of: Schema, required: Iterable[str]) -> str:
    if name in required:
        return "required"
    return f"default `{json.dumps(of['default'])}`" if "default" in of else "default empty"


def _meaning(owners: Sequence[str], name: str, of: Schema, texts: Sequence[str]) -> str:
    own = next((FIELDS[f"{owner}.{name}"] for owner in owners if f"{owner}.{name}" in FIELDS), "")
    said = next(filter(None, (about(name, text) for text in texts)), "")
    known = different([ended(own), ended(of.get("description", "")), said])
    passing = next(filter(None, (mentions(name, text) for text in texts)), "")
    return " ".join(known) or ended(FIELDS.get(name, "")) or passing


def shown(of: Schema) -> str:
    """A JSON schema in words."""
    if "$ref" in of:
        name = of["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "anyOf" in of:
        return " or ".join(shown(each) for each in of["anyOf"])
    if "prefixItems" in of:
        return f"[{', '.join(shown(each) for each in of['prefixItems'])}]"
    if of.get("type") == "array":
        return f"list of {shown(of['items'])}" + (f" (at most {of['maxItems']})" if "maxItems" in of else "")
    kind: str = of.get("format") or of.get("type") or "anything"
    return " ".join([_NAMED.get(kind, kind), *(f"({bound})" for bound in _bounds(of))])


def values(of: Schema) -> list[str]:
    """Of a text of a few values these, also where a later release may add to them; else none."""
    options = [of, *of.get("anyOf", ())]
    return next((each["enum"] for each in options if "enum" in each), [])


def _bounds(of: Schema) -> Iterator[str]:
    if "pattern" in of:
        yield f"`{of['pattern']}`"
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if least in of and most in of:
            yield f"{of[least]} to {of[most]}{unit}"
        elif least in of:
            yield f"at least {of[least]}{unit}"


def topics(kind: type[Message]) -> list[str]:
    """Of a notification: the topics under which gateways listen for it, with what they are made of in braces."""
    if "topics" not in vars(kind):
        return []
    tree = ast.parse(textwrap.dedent(inspect.getsource(vars(kind)["topics"])))
    answered = next(node.value for node in ast.walk(tree) if isinstance(node, ast.Return))
    assert isinstance(answered, ast.Tuple)
    constants = vars(sys.modules[kind.__module__])
    return [constants[each.id] if isinstance(each, ast.Name) else _topic(each) for each in answered.elts]


def _topic(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_topic, node.values))
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value).removeprefix('self.')}}}"
    assert isinstance(node, ast.Constant)
    return str(node.value)
