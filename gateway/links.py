"""OpenAPI links: what a client can do next with the id of what it has just made, read off the table of routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.routes import Route

ID = "$response.body#/id"


def links(made: Route, routes: Iterable[Route]) -> dict[str, Any]:
    """By operation, the links from an answer of `made`, whose path ends in the plural of what it makes."""
    noun = made.path.rpartition("/")[2].removesuffix("s")
    found = {route.view.__name__: _takes(route, noun) for route in routes}
    return {name: {"operationId": name, **taken} for name, taken in found.items() if taken}


def _takes(route: Route, noun: str) -> dict[str, Any]:
    """Where `route` takes the id of a `noun`: in its path, its body or its query."""
    if f"/{noun}s/{{id}}" in route.path:
        return {"parameters": {"path.id": ID}}
    name = f"{noun}_id"
    if route.body is not None and name in route.body.model_fields:
        return {"requestBody": {name: ID}}
    if route.query is not None and name in route.query.model_fields:
        return {"parameters": {f"query.{name}": ID}}
    return {}
