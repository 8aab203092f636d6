"""One stack and one browser for all tests of the pages; each test has visitors with profiles of their own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from playwright.async_api import Browser, Playwright, async_playwright

from ops.child import free_port
from tests.acceptance.holdfast import Holdfast, complaints, running
from tests.pages.camera import Camera
from tests.pages.chromium import CHROMIUM, MISSING, launched
from tests.pages.visitor import Visitor

REQUIRED = os.environ.get("HOLDFAST_BROWSER") == "required"


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Camera:
    """The camera of every page that asks for one."""
    return Camera(tmp_path_factory.mktemp("camera") / "seen.y4m")


@pytest.fixture(scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    """Where Debian's Chromium is missing, the tests are skipped, unless HOLDFAST_BROWSER=required."""
    if CHROMIUM is None:
        message = f"the pages are not tested: {MISSING}"
        if REQUIRED:
            pytest.fail(message)
        pytest.skip(message)
    async with async_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
async def browser(playwright: Playwright) -> AsyncIterator[Browser]:
    async with launched(playwright) as browser:
        yield browser


@pytest.fixture
async def browser_with_camera(playwright: Playwright, camera: Camera) -> AsyncIterator[Browser]:
    async with launched(playwright, camera) as browser:
        yield browser


@pytest.fixture(scope="session")
def front_end_port() -> int:
    """Where a front end of somebody else's may be served, as an origin that the gateway knows."""
    return free_port()


@pytest.fixture(scope="session")
async def shop(
    browser: Browser, front_end_port: int, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Holdfast]:
    settings = {
        "CORS_ORIGINS": f"http://127.0.0.1:{front_end_port}",
        "SHOP_NAME": "Pier 9",
        "SHOP_IMPRINT_URL": "https://pier9.example/imprint",
        "SHOP_TERMS_URL": "https://pier9.example/terms",
        "SHOP_PRIVACY_URL": "https://pier9.example/privacy",
        "SHOP_TAX_LINE": "incl. 7 % VAT",
        "WEBHOOKS": "true",
    }
    async with running(tmp_path_factory.mktemp("shop"), settings=settings) as shared:
        yield shared
    # A test of the desk lets refunds fail, which the payment actor logs as an error.
    assert [line for line in complaints(shared.stack) if '"event":"refund failed"' not in line] == []


NewVisitor = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def visit(shop: Holdfast, browser: Browser) -> AsyncIterator[NewVisitor]:
    """Makes visitors. At the end no page may have broken its policy, or asked another host for anything."""
    visitors: list[Visitor] = []

    async def make(browser: Browser = browser, **options: object) -> Visitor:
        visitors.append(await Visitor.new(shop, browser, **options))
        return visitors[-1]

    yield make
    for visitor in visitors:
        await visitor.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []


@pytest.fixture
async def visitor(visit: NewVisitor) -> Visitor:
    return await visit()
