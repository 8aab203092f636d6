"""The JSON schemas of the models that clients send and get, in the form that generators of clients understand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

REF = "#/components/schemas/{model}"

Schema = dict[str, Any]


def component_schemas(kinds: Iterable[tuple[Any, JsonSchemaMode]]) -> tuple[Any, dict[str, Schema]]:
    """Of each kind and mode the reference to its schema; and all schemas, by their names."""
    wanted = [(kind, mode, TypeAdapter(kind)) for kind, mode in dict.fromkeys(kinds)]
    refs, definitions = TypeAdapter.json_schemas(wanted, ref_template=REF)
    schemas: dict[str, Schema] = definitions["$defs"]
    for schema in schemas.values():
        for name, of in schema.get("properties", {}).items():
            _put(schema, name, of)
    return refs, schemas | _known(schemas)


def _known(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The known values of open enumerations as schemas of their own: generators name their types after them."""
    found: dict[str, Schema] = {}
    for name, schema in schemas.items():
        options = schema.get("anyOf", [{}])
        if "enum" in options[0]:
            known = f"Known{name}"
            found[known] = options[0] | {"description": f"The values of `{name}` that this release knows."}
            options[0] = {"$ref": REF.format(model=known)}
    return found


def _put(schema: Schema, name: str, of: Schema) -> None:
    """A default is told in words: generators make a member with a `default` one that must be there, and send the
    value of the day on which they were run. A member of one value, which tells shapes apart, is always there."""
    default = of.pop("default", None)
    if schema.get("additionalProperties") is False:  # the body of a request: fields that are unknown are refused
        if default not in (None, [], {}):
            about = of.get("description")
            of["description"] = f"{f'{about}. ' if about else ''}Default: `{json.dumps(default)}`"
    elif "const" in of and name not in schema.setdefault("required", []):
        schema["required"].append(name)


def without_null(schema: Schema) -> Schema:
    """A query parameter may be left out, and is never null."""
    schema = {key: value for key, value in schema.items() if key not in ("default", "title", "description")}
    options = [option for option in schema.pop("anyOf", []) if option != {"type": "null"}]
    return {**options[0], **schema} if options else schema
