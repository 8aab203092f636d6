"""`/openapi.json`, and `/docs`: the same document as one readable page, rendered here, without any script."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import orjson
from aiohttp import web

from common.contracts.errors import NotFound

ASSETS = Path(__file__).parent / "assets"
# Our own style sheet and nothing else: no script, no frame, nothing from elsewhere.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CACHE = "public, max-age=300"

# Makes the document as JSON and as a page: it takes a tenth of a second, in a thread, when somebody first asks.
PAGES: web.AppKey[Callable[[], tuple[bytes, bytes]]] = web.AppKey("pages")


def pages(document: dict[str, Any]) -> tuple[bytes, bytes]:
    return orjson.dumps(document), render(document).encode()


@cache
def style_sheets() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in ASSETS.glob("*.css")}


async def openapi_json(request: web.Request) -> web.Response:
    headers = {"Cache-Control": CACHE}
    json, _ = await asyncio.to_thread(request.app[PAGES])
    return web.Response(body=json, content_type="application/json", headers=headers)


async def docs_page(request: web.Request) -> web.Response:
    headers = {"Cache-Control": CACHE, "Content-Security-Policy": PAGE_POLICY}
    _, page = await asyncio.to_thread(request.app[PAGES])
    return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)


async def asset(request: web.Request) -> web.Response:
    body = style_sheets().get(request.match_info["name"])
    if body is None:
        raise NotFound
    return web.Response(body=body, content_type="text/css", charset="utf-8", headers={"Cache-Control": CACHE})


# --- rendering --------------------------------------------------------------------------------------------


def render(document: dict[str, Any]) -> str:
    """The page for `document`."""
    tags: dict[str, list[str]] = {}
    contents: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation["tags"][0]
            tags.setdefault(tag, []).append(_operation(method, path, operation))
            contents.setdefault(tag, []).append(
                f'<li><a href="#{operation["operationId"]}"><b>{method.upper()}</b> {_text(path)}</a></li>'
            )
    schemas = document["components"]["schemas"]
    contents["schemas"] = [f'<li><a href="#{name}">{name}</a></li>' for name in schemas]
    tags["schemas"] = [_schema(name, schema) for name, schema in schemas.items()]
    template = Template((ASSETS / "docs.html").read_text())
    return template.substitute(
        title=_text(document["info"]["title"]),
        version=_text(document["info"]["version"]),
        about=_prose(document["info"]["description"]),
        contents="".join(f"<h2>{tag}</h2><ul>{''.join(lines)}</ul>" for tag, lines in contents.items()),
        sections="".join(f"<section><h2>{tag}</h2>{''.join(parts)}</section>" for tag, parts in tags.items()),
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _prose(text: str) -> str:
    """Paragraphs, `code` and lists: as much of Markdown as our own descriptions use."""
    parts = []
    for paragraph in text.strip().split("\n\n"):
        lines = [re.sub(r"`([^`]+)`", r"<code>\1</code>", line) for line in _text(paragraph).split("\n")]
        if all(line.startswith("- ") for line in lines):
            parts.append("<ul>" + "".join(f"<li>{line[2:]}</li>" for line in lines) + "</ul>")
        else:
            parts.append(f"<p>{' '.join(lines)}</p>")
    return "".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    who = "anyone"
    if "security" in operation:
        who = "operators" if operation["x-scope"] else "bearer token"
    parameters = "".join(
        f"<tr><td><code>{_text(one['name'])}</code></td><td>{one['in']}</td><td>{_shape(one['schema'])}</td>"
        f"<td>{_prose(one.get('description') or one['schema'].get('description', ''))}</td></tr>"
        for one in operation.get("parameters", ())
    )
    body = operation.get("requestBody", {}).get("content", {})
    responses = "".join(
        f"<tr><td>{status}</td><td>{_contents(response.get('content', {}))}</td>"
        f"<td>{_prose(response['description'])}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f'<article id="{operation["operationId"]}"><h3><b class="{method}">{method.upper()}</b> '
        f"<code>{_text(path)}</code></h3><p>{_text(operation['summary'])} <small>({who})</small></p>"
        + _prose(operation.get("description", ""))
        + (f"<h4>Parameters</h4><table>{parameters}</table>" if parameters else "")
        + (f"<h4>Body</h4><p>{_contents(body)}</p>" if body else "")
        + f"<h4>Answers</h4><table>{responses}</table></article>"
    )


def _contents(content: dict[str, Any]) -> str:
    return ", ".join(_shape(one["schema"]) for one in content.values())


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{_text(field)}</code></td><td>{_shape(one)}</td>"
        f"<td>{'required' if field in required else ''}</td><td>{_prose(one.get('description', ''))}</td></tr>"
        for field, one in schema.get("properties", {}).items()
    )
    return (
        f'<article id="{name}"><h3>{name}</h3>{_prose(schema.get("description", ""))}'
        + (f"<table>{rows}</table>" if rows else f"<p>{_shape(schema)}</p>")
        + "</article>"
    )


def _shape(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_shape(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{_text(value)}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{_text(schema['const'])}</code>"
    if schema.get("type") == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    limits = [
        f"{word} {_text(schema[key])}"
        for key, word in (("minimum", "≥"), ("maximum", "≤"), ("minLength", "length ≥"), ("maxLength", "length ≤"))
        if key in schema
    ]
    kind = _text(schema.get("format") or schema.get("type") or "any")
    return f"{kind} <small>{', '.join(limits)}</small>" if limits else kind
