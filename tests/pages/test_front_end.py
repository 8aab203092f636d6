"""The example of a front end of one's own, from another origin than the gateway's, as `docs/front-end.md` has it:
its policy, its page, and the tokens of its own customers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import expect

from tests.acceptance.holdfast import Holdfast
from tests.pages.conftest import NewVisitor
from tests.pages.visitor import VISA

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "clients/js/examples"
GUIDE = (ROOT / "docs/front-end.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```(\w*)\n(.*?)```", GUIDE, re.DOTALL))
CUSTOMER = "4711"


class FrontEnd:
    """A site of another origin. `signed_in`: its visitors are its own customers, else guests."""

    def __init__(self, shop: Holdfast, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        assert shop.stack.sandbox_url is not None
        self.url = f"http://127.0.0.1:{port}"
        self.signed_in = False
        self._here = {
            "https://js.stripe.com/endive/stripe.js": f"{shop.stack.sandbox_url}/stripe.js",
            "http://127.0.0.1:8080": shop.url,
            "https://api.example.org": shop.url,
            "wss://api.example.org": shop.url.replace("http", "ws", 1),
            "https://js.stripe.com https://*.js.stripe.com": shop.stack.sandbox_url,
            "https://api.stripe.com": shop.stack.sandbox_url,
        }
        monkeypatch.setenv("AUTH_JWT_SECRETS", shop.stack.jwt_secret or "")
        self._python: dict[str, Any] = {}
        exec(BLOCKS["python"], self._python)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{name:page.html|page.js}", self._file)
        app.router.add_post("/holdfast-token", self._token)
        return app

    def local(self, text: str) -> str:
        """With this stack in the place of what the guide names."""
        for name, here in self._here.items():
            text = text.replace(name, here)
        return text

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        text = self.local((EXAMPLES / name).read_text(encoding="utf-8"))
        if self.signed_in:
            client = re.search(r"^const holdfast = [^;]*;", BLOCKS["js"], re.MULTILINE)
            assert client is not None
            text = re.sub(r"^const holdfast = .*?^}\);\n", client[0], text, flags=re.MULTILINE | re.DOTALL)
        policy = " ".join(self.local(BLOCKS[""]).split())
        kind = "text/javascript" if name.endswith(".js") else "text/html"
        return web.Response(text=text, content_type=kind, headers={"Content-Security-Policy": policy})

    async def _token(self, _: web.Request) -> web.Response:
        return web.json_response(self._python["token_for"](CUSTOMER))


@pytest.fixture
async def front_end(
    shop: Holdfast, front_end_port: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FrontEnd]:
    served = FrontEnd(shop, front_end_port, monkeypatch)
    runner = web.AppRunner(served.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", front_end_port).start()
    yield served
    await runner.cleanup()


@pytest.fixture(scope="module")
async def event(shop: Holdfast) -> dict[str, Any]:
    """The one that the page shows, as it is the next."""
    return await shop.event((1500, 10), starts_at=(datetime.now(UTC) + timedelta(minutes=30)).isoformat())


@pytest.mark.parametrize("signed_in", [False, True], ids=["guest", "customer"])
async def test_a_page_of_another_origin_sells_a_ticket(
    signed_in: bool, shop: Holdfast, front_end: FrontEnd, event: dict[str, Any], visit: NewVisitor
) -> None:
    front_end.signed_in = signed_in
    page = (await visit(base_url=front_end.url)).page
    await page.goto("/page.html")
    await expect(page.get_by_role("heading")).to_have_text(event["name"])
    await page.get_by_label("Name").fill("Ada Lovelace")
    await page.get_by_label("Email").fill("ada@example.org")
    await page.get_by_role("button", name="Book a seat").click()
    await page.get_by_label("Card number").fill(VISA)
    await page.get_by_label("Expiry").fill("1234")
    await page.get_by_label("Security code").fill("123")
    await page.get_by_role("button", name="Pay").click()
    await expect(page.get_by_role("status")).to_have_text("confirmed, paid")
    sold = await shop.client(operator=True).request("GET", f"/admin/bookings?event_id={event['id']}")
    owner = sold.ok()["items"][0]["owner"]  # the newest one's
    assert owner == f"customer_{CUSTOMER}" if signed_in else owner.startswith("guest_")
