"""The OpenAPI document is one that people can read and that generators understand: examples, meanings, shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from common.contracts.errors import ERRORS
from common.contracts.statuses import Reason
from gateway.openapi import document
from gateway.problems import Members, Problem
from gateway.routes import GUESTS, PROCESS, ROUTES

Json = dict[str, Any]
DOCUMENT = document((*GUESTS, *ROUTES, *PROCESS))
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
OPERATIONS = {one["operationId"]: one for path in DOCUMENT["paths"].values() for one in path.values()}


def walked(value: Any) -> Iterator[Json]:
    """Every object in the document."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walked(each)


def contents(operation: Json) -> Iterator[Json]:
    for each in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from each.get("content", {}).values()


def errors(schema: Json, value: Any) -> list[str]:
    validator = Draft202012Validator(schema | {"components": DOCUMENT["components"]})
    return [error.message for error in validator.iter_errors(value)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_body_has_an_example_that_fits_its_schema(name: str) -> None:
    for content in contents(OPERATIONS[name]):
        shown = content.get("examples", {"one": {"value": content["example"]}} if "example" in content else {})
        if "$ref" in content["schema"] or "oneOf" in content["schema"]:
            assert shown, content
        for example in shown.values():
            if "$ref" in example:
                example = DOCUMENT["components"]["examples"][example["$ref"].rpartition("/")[2]]
            assert errors(content["schema"], example["value"]) == []


def test_an_example_that_does_not_fit_is_found() -> None:
    assert errors({"$ref": "#/components/schemas/NewBooking"}, {"event_id": 1}) != []


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_and_member_says_what_it_means(name: str) -> None:
    assert SCHEMAS[name].get("description")
    for member, schema in SCHEMAS[name].get("properties", {}).items():
        described = "description" in schema or "$ref" in schema or "const" in schema or "enum" in schema
        assert described, f"{name}.{member}"


def test_each_parameter_and_operation_says_what_it_means() -> None:
    assert {tag for one in OPERATIONS.values() for tag in one["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}
    for name, operation in OPERATIONS.items():
        assert operation["summary"]
        assert isinstance(operation["security"], list), name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter["name"])


def test_shapes_that_differ_have_names_in_one_member() -> None:
    """And a schema is never an alternative in part, which generators do not understand."""
    found = [each for each in walked(DOCUMENT) if "oneOf" in each]
    assert found
    for each in found:
        name = each["discriminator"]["propertyName"]
        for value, reference in each["discriminator"]["mapping"].items():
            shape = SCHEMAS[reference.rpartition("/")[2]]
            assert name in shape["required"]
            assert shape["properties"][name]["const"] == value


def test_members_that_may_be_left_out_have_no_default() -> None:
    """Generators would make them members that must be there: their defaults are told in words."""
    assert [each for each in walked(SCHEMAS) if "default" in each] == []
    assert "Default: `true`" in SCHEMAS["NewEvent"]["properties"]["on_sale"]["description"]
    assert set(SCHEMAS["NewEvent"]["required"]) == {"name", "starts_at", "currency", "ticket_types"}
    assert SCHEMAS["NewBooking"]["required"] == ["event_id"]
    assert {"kind", "id", "version"} <= set(SCHEMAS["QueuedBooking"]["required"])


@pytest.mark.parametrize(("name", "values"), [("ProblemCode", ERRORS), ("BookingReason", Reason)])
def test_open_enumerations_list_what_there_is_and_take_what_a_later_release_adds(name: str, values: Any) -> None:
    known, any_text = SCHEMAS[name]["anyOf"]
    assert known == {"$ref": f"#/components/schemas/Known{name}"}
    assert set(SCHEMAS[f"Known{name}"]["enum"]) == set(values)
    assert any_text == {"type": "string"}
    assert "Open: values may be added" in SCHEMAS[name]["description"]


def test_problems_have_the_further_members_of_all_codes() -> None:
    assert set(Problem.model_fields) == {*Members.model_fields, "type", "title", "status", "code", "detail"}
    for name in Members.model_fields:
        assert ". With `" in SCHEMAS["Problem"]["properties"][name]["description"]
