"""The pages for those who buy (`/`, `/e/{slug}`, `/b/{reference}`, `/my`), for operators (`/desk`) and for the door
(`/door`). Each is the same shell with another script from `pages/`, which does the rest in the browser, through the
public API alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from string import Template
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from aiohttp import hdrs, web

from common.contracts.codes import ALPHABET
from common.contracts.currencies import CURRENCIES
from common.contracts.errors import NotFound
from common.contracts.resources import Event
from common.contracts.scopes import OPERATOR, Scope, allowed_by
from common.runtime.web import Handler
from gateway.catalogue_reader import CATALOGUE
from gateway.page_files import PageFiles
from gateway.settings import SETTINGS, STRIPE_JS_HOST, GatewaySettings
from gateway.shared import FOR_EVER, NOT_MODIFIED, knows, tagged

# The pages ask each time whether there is a newer one, as they lead to the files of one release.
ASK = "no-cache"
DEFAULT_LANGUAGE = "en"
SLUG_ID = re.compile(f"(?:.*-)?([{ALPHABET}]{{26}})")
# Sources that Stripe.js needs: https://docs.stripe.com/security/guide#content-security-policy
STRIPE = {
    "script-src": "https://js.stripe.com https://*.js.stripe.com",
    "connect-src": "https://api.stripe.com",
    "frame-src": "https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com",
}
# An SVG has its styles within it.
IMAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

PAGE_FILES = web.AppKey("page_files", PageFiles)


class Page(NamedTuple):
    """A page: the script in `pages/` that draws it. `desk`: it is for operators."""

    path: str
    script: str
    desk: bool = False


PAGES = (
    Page("/", "home"),
    Page("/e/{slug}", "event"),
    Page("/b/{reference}", "booking"),
    Page("/my", "my"),
    Page("/door", "door", desk=True),
    Page("/desk", "desk-home", desk=True),
    Page("/desk/events", "desk-events", desk=True),
    Page("/desk/events/new", "desk-edit", desk=True),
    Page("/desk/events/{id}", "desk-event", desk=True),
    Page("/desk/events/{id}/edit", "desk-edit", desk=True),
    Page("/desk/events/{id}/preview", "desk-preview", desk=True),
    Page("/desk/events/{id}/codes", "desk-codes", desk=True),
    Page("/desk/events/{id}/waiting", "desk-waiting", desk=True),
    Page("/desk/bookings", "desk-bookings", desk=True),
    Page("/desk/bookings/{id}", "desk-booking", desk=True),
    Page("/desk/sell", "desk-sell", desk=True),
    Page("/desk/webhooks", "desk-webhooks", desk=True),
)
# Service workers, with the address for which they may answer; without a header only for what is beside the script:
# https://www.w3.org/TR/service-workers/#service-worker-allowed
WORKERS = {"door-worker.js": "/door"}
# A worker's requests follow the policy of its own file.
WORKER_POLICY = "default-src 'none'; connect-src 'self'"
FILES = "/pages/{release}/{name:.+}"


def add_pages(app: web.Application, settings: GatewaySettings) -> None:
    """Serve the pages. They are no part of the interface that the OpenAPI document describes."""
    served = [page for page in PAGES if (settings.desk if page.desk else settings.shop_pages)]
    if not served:
        return
    files = app[PAGE_FILES] = PageFiles(settings)
    for page in served:
        app.router.add_get(page.path, _view(page, files))
    app.router.add_get(FILES, get_file)


def policy(settings: GatewaySettings, page: Page = PAGES[0]) -> str:
    """The Content-Security-Policy of a page: what it may load, from where. No script of others runs beside an
    operator's token."""
    if page.desk:
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
    script = settings.stripe_js_url
    stripe = STRIPE
    if script.host != STRIPE_JS_HOST:
        stripe = dict.fromkeys(STRIPE, f"{script.scheme}://{script.host}:{script.port}")
    return (
        f"default-src 'none'; script-src 'self' {stripe['script-src']}; style-src 'self'; "
        f"img-src 'self' blob: data:; connect-src 'self' {stripe['connect-src']}; frame-src {stripe['frame-src']}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


# --- the shell --------------------------------------------------------------------------------------------


def _view(page: Page, files: PageFiles) -> Handler:
    script = f"{page.script}.js"
    # The browser asks for all of it at once.
    links = [f'<link rel="stylesheet" href="/pages/{files.release}/{name}">' for name in files.stylesheets(script)]
    links += [f'<link rel="modulepreload" href="/pages/{files.release}/{name}">' for name in files.modules(script)]
    needed = "\n".join(links)

    async def show(request: web.Request) -> web.Response:
        slug = request.match_info.get("slug")
        event_id = None if slug is None else id_of(slug)
        body = _drawn(request, page, needed, event_id).encode()
        tag = tagged(body)
        headers = {
            hdrs.ETAG: tag,
            hdrs.CACHE_CONTROL: ASK,
            hdrs.VARY: hdrs.ACCEPT_LANGUAGE,
            "Content-Security-Policy": policy(request.app[SETTINGS], page),
        }
        status = 404 if slug is not None and event_id is None else 200
        if status == 200 and knows(request, tag):
            return web.Response(status=NOT_MODIFIED, headers=headers)
        return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=headers)

    return show


def _drawn(request: web.Request, page: Page, needed: str, event_id: UUID | None) -> str:
    files, settings = request.app[PAGE_FILES], request.app[SETTINGS]
    language = chosen_language(
        request.query.get("lang"), request.headers.get(hdrs.ACCEPT_LANGUAGE, ""), files.languages
    )
    folder = f"/pages/{files.release}"
    title, description = settings.shop_name, ""
    reader = request.app[CATALOGUE]
    event = reader.catalogue.find(str(event_id)) if reader.current else None
    if event is not None:
        shown = Event.model_validate_json(event.body)
        title = f"{shown.name} · {settings.shop_name}"
        where = () if shown.venue is None else (shown.venue.name, shown.venue.city)
        description = ", ".join(filter(None, (shown.name, *where)))
    return Template(files.shell).substitute(
        language=language,
        title=escape(title),
        description=escape(description or settings.shop_name),
        folder=folder,
        script=page.script,
        needed=needed,
        reads=_read_at_once(request, page, event_id),
        shop=_for_script(shop_of(settings, files) | (OF_THE_DESK if page.desk else {})),
    )


def _read_at_once(request: web.Request, page: Page, event_id: UUID | None) -> str:
    """A link to what the page's script reads first, so that the browser has it by then; empty where that depends on
    more than the address."""
    if page.path == "/" and "q" not in request.query:
        address = "/events"
    elif event_id is not None:
        address = f"/events/{event_id}"
    else:
        return ""
    return f'<link rel="preload" as="fetch" crossorigin="anonymous" href="{address}">'


def shop_of(settings: GatewaySettings, files: PageFiles) -> dict[str, Any]:
    """What the scripts know of the installation."""
    links = {
        "imprint": settings.shop_imprint_url,
        "terms": settings.shop_terms_url,
        "privacy": settings.shop_privacy_url,
    }
    return {
        "name": settings.shop_name,
        "logo": files.logo and f"/pages/{files.release}/{files.logo}",
        "colour": settings.shop_colour,
        "tax_line": settings.shop_tax_line,
        "links": {name: str(url) for name, url in links.items() if url is not None},
        "stripe_js_url": str(settings.stripe_js_url),
        "languages": files.languages,
    }


# What the desk knows beside it: what a token's scopes allow, and how many decimals amounts have in which currency.
OF_THE_DESK = {
    "scopes": {f"{name}": sorted(allowed_by([name])) for name in (*Scope, OPERATOR)},
    "currencies": {code: rules.exponent for code, rules in CURRENCIES.items()},
}


def _for_script(value: dict[str, Any]) -> str:
    """JSON that can stand in a script element: it has no `<`, which could end the element."""
    return orjson.dumps(value).decode().replace("<", "\\u003c")


def id_of(slug: str) -> UUID | None:
    """The event's id in the end of a slug; None for what is no slug. The words before it are for people."""
    # Of the 130 bits of 26 characters an id has 128.
    found = SLUG_ID.fullmatch(slug.upper())
    if found is None:
        return None
    number = 0
    for character in found[1]:
        number = number << 5 | ALPHABET.index(character)
    return UUID(int=number) if number < 1 << 128 else None


def chosen_language(asked: str | None, accepted: str, languages: Sequence[str]) -> str:
    """What the page asks for by `lang`, else what the browser likes most (RFC 9110, section 12.5.4), of these."""
    if asked is not None and asked in languages:
        return asked
    liked: list[tuple[float, str]] = []
    for each in accepted.split(","):
        name, _, quality = each.partition(";")
        with suppress(ValueError):
            weight = float(quality.strip().removeprefix("q=") or 1)
            liked.append((weight, name.strip().lower().partition("-")[0]))
    for weight, name in sorted(liked, key=lambda each: -each[0]):
        if weight > 0 and name in languages:
            return name
    return DEFAULT_LANGUAGE


# --- the files --------------------------------------------------------------------------------------------


async def get_file(request: web.Request) -> web.Response:
    """A file of the pages. Under the address of another release, as while gateways are replaced, it may be another
    file than was meant: then nobody keeps it."""
    files = request.app[PAGE_FILES]
    if (file := files.find(request.match_info["name"])) is None:
        raise NotFound
    own = request.match_info["release"] == files.release
    headers = {
        str(hdrs.ETAG): file.tag,
        hdrs.CACHE_CONTROL: FOR_EVER if own else ASK,
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
    }
    if file.media_type.startswith("image/"):
        headers["Content-Security-Policy"] = IMAGE_POLICY
    if (scope := WORKERS.get(request.match_info["name"])) is not None:
        headers |= {"Service-Worker-Allowed": scope, "Content-Security-Policy": WORKER_POLICY}
    if knows(request, file.tag):
        return web.Response(status=NOT_MODIFIED, headers=headers)
    body = file.body
    if file.compressed is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        body = file.compressed
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    charset = None if file.media_type.startswith("image/") else "utf-8"
    return web.Response(body=body, content_type=file.media_type, charset=charset, headers=headers)
