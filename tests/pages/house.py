"""A house with events, customers and sales, as pictures show it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from playwright.async_api import Browser, Route

from tests.acceptance.client import Answer, Client, Json
from tests.acceptance.customers import Customer
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.stripe_side import VISA
from tests.pages.camera import Camera
from tests.pages.gallery import Gallery
from tests.pages.visitor import DESKTOP, Visitor

POSTERS = Path(__file__).parent / "posters"
POSTER = {"width": 960, "height": 540}
ZONE = ZoneInfo("Europe/Berlin")
VENUE = {"name": "Pier 9", "address": "Hafenstraße 9", "postal_code": "20457", "city": "Hamburg", "country": "DE"}
SETTINGS = {
    "SHOP_NAME": "Pier 9",
    "SHOP_COLOUR": "#0e5a63",
    "SHOP_IMPRINT_URL": "https://pier9.example/imprint",
    "SHOP_TERMS_URL": "https://pier9.example/terms",
    "SHOP_PRIVACY_URL": "https://pier9.example/privacy",
    "SHOP_TAX_LINE": "incl. 7 % VAT",
    "WEBHOOKS": "true",
}
PEOPLE = (
    "Ada Lovelace", "Emmy Noether", "Lise Meitner", "Grace Hopper", "Alan Turing", "Hedy Lamarr", "Konrad Zuse",
    "Carl Friedrich Gauß", "Sofja Kowalewskaja", "Maria Sibylla Merian", "Alexander von Humboldt",
)  # fmt: skip
NIGHT_MUSIC = """Four players, one piano and the water of the harbour behind them: Schubert's **Trout Quintet**,
played where the fish came in.

- Doors open at 19:00, the bar as well
- About 90 minutes, no interval
- Warm clothes help: the great gate stays open"""


BECOME = """(guest) => localStorage.setItem(
  `holdfast ${location.origin} guest`, JSON.stringify({ ...guest, received_at: Date.now() }))"""


def at(days: float, hour: int = 20) -> str:
    """So many days from now, at this hour by the venue's clock."""
    day = datetime.now(ZONE) + timedelta(days=days)
    return day.replace(hour=hour, minute=0, second=0, microsecond=0).astimezone(UTC).isoformat()


async def broken(route: Route) -> None:
    """An answer that nobody foresaw; what a network swallows is asked for again and again."""
    problem = {"type": "urn:holdfast:problem:internal", "title": "Broken", "status": 500, "code": "internal"}
    await route.fulfill(status=500, json=problem, content_type="application/problem+json")


class House:
    """What scenes share: a stack, a browser, a camera, and the gallery in which the pictures are."""

    def __init__(self, shop: Holdfast, browser: Browser, camera: Camera, gallery: Gallery) -> None:
        self.shop = shop
        self.camera = camera
        self.gallery = gallery
        self.take = gallery.take
        self.operator = shop.client("ines", operator=True)
        self._browser = browser
        self._numbers = count(1)
        self._visitors: list[Visitor] = []
        self._guests: dict[str | None, Json] = {}

    async def visitor(self, **options: Any) -> Visitor:
        visitor = await Visitor.new(self.shop, self._browser, **{"device_scale_factor": 2, **options})
        self._visitors.append(visitor)
        return visitor

    async def clerk(self, path: str = "/desk", scope: str = "holdfast:admin", name: str = "ines") -> Visitor:
        """An operator at the desk."""
        visitor = await self.visitor(viewport=DESKTOP)
        token = self.shop.client(name, scopes=[scope]).token
        await visitor.page.goto(f"{path}#token={token}", wait_until="networkidle")
        return visitor

    async def close(self) -> None:
        """Who has come goes. What their browsers found wrong is among the gallery's complaints."""
        for visitor in self._visitors:
            await visitor.context.close()
            self.gallery.complaints += visitor.complaints
        self._visitors.clear()

    # --- events

    async def event(self, name: str, *types: tuple[str, int, int], poster: str | None = None, **more: Any) -> Json:
        """An event with ticket types of this name, price and capacity."""
        kinds = [{"name": kind, "unit_amount": price, "capacity": capacity} for kind, price, capacity in types]
        usual = {"currency": "eur", "time_zone": "Europe/Berlin", "venue": VENUE, "starts_at": at(30)}
        body = {**usual, "name": name, "ticket_types": kinds, **more}
        event = (await self.asks("/admin/events", body)).ok(201)
        if poster is not None:
            await self._give(event, poster)
        return event

    async def _give(self, event: Json, poster: str) -> None:
        page = await self._browser.new_page(viewport={"width": 960, "height": 540})
        await page.goto((POSTERS / f"{poster}.svg").as_uri())
        image = await page.screenshot()
        await page.close()
        path, headers = f"/admin/events/{event['id']}/image", {"Content-Type": "image/png"}
        (await self.operator.request("PUT", path, data=image, headers=headers)).ok()

    async def asks(self, path: str, body: Json) -> Answer:
        """What the operator asks for once."""
        key = {"Idempotency-Key": f"pictures-{next(self._numbers)}"}
        return await self.operator.request("POST", path, json=body, headers=key)

    async def changes(self, event: Json, **changes: Any) -> None:
        (await self.operator.request("PATCH", f"/admin/events/{event['id']}", json=changes)).ok()

    async def cancels(self, event: Json) -> None:
        (await self.operator.request("POST", f"/admin/events/{event['id']}/cancel")).ok(202)

    # --- bookings

    def person(self) -> Json:
        number = next(self._numbers)
        name = PEOPLE[number % len(PEOPLE)]
        return {"name": name, "email": f"{name[0].lower()}{number}@example.org", "locale": "en"}

    async def guest(self) -> Client:
        guest = (await self.shop.anybody.request("POST", "/auth/guest")).ok(201)
        self._guests[guest["token"]] = guest
        return Client(self.shop.session, self.shop.url, guest["token"])

    async def becomes(self, visitor: Visitor, client: Client) -> None:
        """From now on the browser is this guest, who has booked by other means."""
        await visitor.page.goto("/my", wait_until="networkidle")
        await visitor.page.evaluate(BECOME, self._guests[client.token])

    async def books(self, event: Json, *quantities: int, **more: Any) -> tuple[Client, Json]:
        """A guest's booking, which is held."""
        client = await self.guest()
        answer = await client.book(event, *quantities, prefer="wait=30", **{"customer": self.person(), **more})
        return client, answer.ok(201)

    async def buys(self, event: Json, *quantities: int, card: str = VISA, **more: Any) -> Customer:
        client, booking = await self.books(event, *quantities, **more)
        customer = Customer(self.shop, client, booking)
        if booking["status"] != "confirmed":
            await customer.pays(card)
            await customer.receives("confirmed")
        return customer

    async def sells(self, event: Json, times: int, *quantities: int, method: str = "card_terminal") -> None:
        """At the box office, which is quick."""
        for _ in range(times):
            wanted = [pair for pair in zip(event["ticket_types"], quantities, strict=False) if pair[1]]
            items = [{"ticket_type_id": kind["id"], "quantity": quantity} for kind, quantity in wanted]
            amount = sum(kind["unit_amount"] * quantity for kind, quantity in wanted)
            body = {"event_id": event["id"], "items": items, "method": method, "customer": self.person()}
            if method != "complimentary":
                body["expected_amount"] = amount
            (await self.asks("/admin/bookings", body)).ok(201)

    async def waits(self, event: Json, place: int = 0, quantity: int = 1) -> Client:
        client = await self.guest()
        wish = {"event_id": event["id"], "ticket_type_id": event["ticket_types"][place]["id"], "quantity": quantity}
        key = {"Idempotency-Key": f"wish-{next(self._numbers)}"}
        body = {**wish, "customer": self.person()}
        (await client.request("POST", "/waiting-list", json=body, headers=key)).ok(201)
        return client
