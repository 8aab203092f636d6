"""The types of the clients are those of the OpenAPI document, in TypeScript and in Python."""

from __future__ import annotations

from typing import Any

import pytest

from documents import client_types

REF = "#/components/schemas/"
TIME = {"type": "string", "format": "date-time"}
# A schema, and its type in each language.
KINDS: list[tuple[Any, str, str]] = [
    ({"type": "string", "format": "uuid"}, "string", "str"),
    (TIME, "Time", "str"),
    ({"type": "integer"}, "number", "int"),
    ({"type": "number"}, "number", "float"),
    ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "boolean | null", "bool | None"),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}, TIME]}, "string | number | Time", "str | int"),
    ({"const": "booking"}, '"booking"', 'Literal["booking"]'),
    ({"enum": ["a", "b"], "type": "string"}, '"a" | "b"', 'Literal["a", "b"]'),
    ({"enum": [f"{number}" for number in range(99)], "type": "string"}, "string", "str"),
    ({"$ref": f"{REF}Item"}, "Item", "Item"),
    ({"anyOf": [{"$ref": f"{REF}Known"}, {"type": "string"}]}, "Known | (string & {})", "Known | str"),
    ({"type": "array", "items": {"$ref": f"{REF}Item"}}, "Item[]", "list[Item]"),
    (
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "(string | number)[]",
        "list[str | int]",
    ),
    ({"type": "object", "additionalProperties": True}, "Record<string, unknown>", "dict[str, object]"),
]


@pytest.mark.parametrize(("schema", "typescript", "python"), KINDS)
def test_each_kind_of_value_has_its_type(
    monkeypatch: pytest.MonkeyPatch, schema: Any, typescript: str, python: str
) -> None:
    answer = {
        "properties": {"here": schema, "there": schema},
        "required": ["here"],
        "description": "What\n there is.",
    }
    sent = answer | {"additionalProperties": False}
    content = {"application/json": {"schema": {"$ref": f"{REF}Answer"}}}
    document = {
        "paths": {
            "/things/{id}": {
                "post": {
                    "operationId": "do_it",
                    "tags": ["things"],
                    "parameters": [{"name": "from", "in": "query", "schema": schema}],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": f"{REF}Sent"}}}},
                    "responses": {"202": {}, "201": {"content": content}, "404": {}},
                }
            },
            "/ws": {"get": {"operationId": "ws", "tags": ["live"], "responses": {"101": {"$ref": f"{REF}Unused"}}}},
        },
        "components": {
            "schemas": {
                "Answer": answer,
                "Sent": sent,
                "Item": {"properties": {}},
                "Known": {"enum": ["a"]},
                "Unused": {"properties": {}},
            }
        },
    }
    monkeypatch.setattr(client_types, "_document", lambda: document)
    made = client_types.typescript()
    assert (
        f"/** What there is. */\nexport interface Answer {{\n  here: {typescript};\n  there?: {typescript};\n}}\n"
        in made
    )
    to_send = typescript.replace("Time", "TimeLike")
    assert f"export interface Sent {{\n  here: {to_send};\n" in made
    assert f"export interface DoItQuery {{\n  from?: {to_send};\n}}\n" in made
    assert '  "POST /things/{id}": Answer;\n}\n' in made

    made = client_types.python()
    assert f"class Answer(TypedDict):\n    here: {python}\n    there: NotRequired[{python}]\n" in made
    assert '    "DoItQuery",\n    {\n        "from": ' in made
    assert "Unused" not in made
