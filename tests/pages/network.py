"""The socket of a page, which can be cut."""

from __future__ import annotations

from typing import Self

from playwright.async_api import Page, WebSocketRoute, expect


class Socket:
    """Of one page: the network between it and the gateway is cut, and mended again."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._cut = False
        self._routes: list[WebSocketRoute] = []

    @classmethod
    async def of(cls, page: Page) -> Self:
        """Before the page is opened."""
        socket = cls(page)
        await page.route_web_socket("**/ws", socket._connect)
        return socket

    async def _connect(self, route: WebSocketRoute) -> None:
        if self._cut:
            await route.close(code=1001)
            return
        route.connect_to_server()
        self._routes.append(route)

    async def opened(self) -> int:
        return len(self._routes)

    async def cut(self) -> None:
        """Returns when the page has said so."""
        self._cut = True
        for route in self._routes:
            await route.close(code=1001)
        await expect(self._page.get_by_text("No connection.")).to_be_visible()

    def mend(self) -> None:
        self._cut = False
