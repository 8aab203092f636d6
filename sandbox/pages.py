"""The pages that customers see: the bank's 3D Secure challenge, and the receipt."""

import hmac
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import web

from sandbox import payments
from sandbox.account import Account
from sandbox.currencies import formatted
from sandbox.door import refuse_other_sites
from sandbox.errors import ApiError, RefusedError
from sandbox.objects import Object
from sandbox.work import Work

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:2.5rem auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1rem;margin:0 .5rem .5rem 0;
  border:1px solid #777;border-radius:.5rem;background:#f4f4f6}}
button:first-of-type{{background:#1b1b1f;color:#fff}}</style></head>
<body><h1>{title}</h1>{content}</body></html>"""

CHALLENGE = """<p>A bank asks here whether the payment of <strong>{amount}</strong> is yours.</p>
<form method="post"><button name="outcome" value="passed">Complete authentication</button>
<button name="outcome" value="failed">Fail authentication</button></form>"""

DONE = "<p>You can go back to the shop.</p>"
# In a frame of the shop's page, which the sandbox's stripe.js has opened: it closes it.
OVER = '<script>parent.postMessage("challenge over", "*")</script>'
SCRIPT = Path(__file__).parent / "browser" / "stripe.js"

OUTCOMES = ("passed", "failed")


def add_routes(router: web.UrlDispatcher, find: Callable[[web.Request], Account]) -> None:
    """Put the pages under `/_sandbox`."""

    def route(method: str, path: str, act: Callable[[Account, web.Request], Any]) -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                refuse_other_sites(request)
                response: web.StreamResponse = await act(find(request), request)
            except ApiError as error:
                if _wants_html(request):
                    return _page("That did not work", f"<p>{escape(str(error))}</p>", error.status)
                return web.Response(
                    body=orjson.dumps({"error": error.error}), status=error.status, content_type="application/json"
                )
            return response

        router.add_route(method, f"/_sandbox{path}", handle)

    router.add_route("GET", "/stripe.js", show_script)
    route("GET", "/challenges/{intent}", show_challenge)
    route("POST", "/challenges/{intent}", answer_challenge)
    route("GET", "/receipts/{charge}", show_receipt)


async def show_script(request: web.Request) -> web.StreamResponse:
    """The stand-in for Stripe.js, of which Stripe's own is at `https://js.stripe.com/{release}/stripe.js`."""
    headers = {"Cache-Control": "no-cache", "Content-Type": "text/javascript; charset=utf-8"}
    return web.FileResponse(SCRIPT, headers=headers)


async def show_challenge(account: Account, request: web.Request) -> web.StreamResponse:
    """The page of the 3D Secure challenge.

    Raises:
        ApiError: 404, the intent is unknown, or the client secret is not its own.
    """
    intent = _load(account.work(), request)
    if intent["status"] != "requires_action":
        return _page("Authentication", DONE)
    return _page("Authentication", CHALLENGE.format(amount=escape(_money(intent["amount"], intent["currency"]))))


async def answer_challenge(account: Account, request: web.Request) -> web.StreamResponse:
    """The form field `outcome` is `passed` or `failed`. A browser is redirected to the shop, or is in a frame that
    stripe.js then closes (`embedded`); others get the intent.

    Raises:
        ApiError: 402, passed, but then declined, and the caller is no browser; 400, there is no challenge.
    """
    outcome = (await request.post()).get("outcome")
    if outcome not in OUTCOMES:
        raise RefusedError(400, f"outcome must be one of {', '.join(OUTCOMES)}.", param="outcome")
    embedded = "embedded" in request.query
    return_url: str | None = None

    def step(work: Work) -> Object:
        nonlocal return_url
        intent = _load(work, request)
        return_url = ((intent["next_action"] or {}).get("redirect_to_url") or {}).get("return_url")
        return payments.authenticate(work, intent, passed=outcome == "passed")

    try:
        intent = await account.perform(step, origin=f"{request.scheme}://{request.host}")
    except ApiError:
        if not _wants_html(request) or (return_url is None and not embedded):
            raise
        intent = _load(account.work(), request)
    if not _wants_html(request):
        return web.Response(body=orjson.dumps(intent), content_type="application/json")
    if embedded:
        return _page("Authentication", DONE + OVER)
    if return_url is None:
        return _page("Authentication", DONE)
    failed = intent["last_payment_error"] is not None
    answer = {
        "payment_intent": intent["id"],
        "payment_intent_client_secret": intent["client_secret"],
        "redirect_status": "failed" if failed else "succeeded",
    }
    joint = "&" if "?" in return_url else "?"
    raise web.HTTPSeeOther(f"{return_url}{joint}{urlencode(answer)}")


async def show_receipt(account: Account, request: web.Request) -> web.StreamResponse:
    """The receipt of a charge.

    Raises:
        ApiError: 404, there is no such charge.
    """
    charge = account.work().get("charge", request.match_info["charge"])
    paid = _money(charge["amount_captured"], charge["currency"])
    back = _money(charge["amount_refunded"], charge["currency"])
    given_back = f"<p>Given back: {escape(back)}</p>" if charge["amount_refunded"] else ""
    content = f"<p>Paid: <strong>{escape(paid)}</strong></p>{given_back}<p>{escape(charge['id'])}</p>"
    return _page("Receipt", content)


def _load(work: Work, request: web.Request) -> Object:
    intent = work.get("payment_intent", request.match_info["intent"], "intent")
    secret = request.query.get("client_secret", "")
    if not hmac.compare_digest(secret.encode(), intent["client_secret"].encode()):
        raise RefusedError(
            404, f"No such payment_intent: '{intent['id']}'", code="resource_missing", param="intent"
        )
    return intent


def _money(amount: int, currency: str) -> str:
    return f"{formatted(amount, currency)} {currency.upper()}"


def _wants_html(request: web.Request) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _page(title: str, content: str, status: int = 200) -> web.Response:
    html = PAGE.format(title=escape(title), content=content)
    return web.Response(text=html, content_type="text/html", status=status)
