"""A first booking as the README has it, made with the same requests on a running stack, and shown in a terminal:
what is on sale, two seats, the payment, and what the WebSocket says meanwhile. Long answers are shortened; ids and
ports are replaced by fixed ones, so that the picture of another run differs only where Holdfast does."""

from __future__ import annotations

import asyncio
from io import StringIO
from typing import Any

import aiohttp
from rich.console import Console

from common.contracts.scopes import Scope
from ops.demo import ensure_event
from ops.layout import Ports
from ops.stack import Stack
from ops.tokens import make_token
from ops.up import describe
from pictures.terminal import Terminal, shortened

Json = dict[str, Any]
# Of what `make up` says, the lines that begin so; the others are paths and addresses of servers.
SHOWN = ("gateway", "documentation", "WebSocket", "Stripe", "On sale")
EVENT_ID, BOOKING_ID = "2d7c1f0e-…", "5b91e3a4-…"
WAIT_MAX_SECONDS = 30.0


class Changed(Exception):
    """An answer is not the one that the README promises: the text says which."""


class Visitor:
    """A guest at the gateway, who pays at the sandbox, and whose socket is open."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self._stack = stack
        self._session = session
        self._token = ""

    async def request(self, method: str, path: str, expected: int = 200, **options: Any) -> Json:
        """The answer, which must have the status that is expected. Raises Changed."""
        url = path if path.startswith("http") else f"{self._stack.gateway_url}{path}"
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers |= options.pop("headers", {})
        async with self._session.request(method, url, headers=headers, **options) as response:
            body: Json = await response.json()
        if response.status != expected:
            raise Changed(f"{method} {path} is answered with {response.status}: {body}")
        return body

    async def arrive(self) -> aiohttp.ClientWebSocketResponse[Any]:
        """Get a token as a guest, and open the socket."""
        self._token = (await self.request("POST", "/auth/guest", 201))["token"]
        socket = await self._session.ws_connect(f"{self._stack.gateway_url}/ws")
        await socket.send_json({"type": "auth", "token": self._token})
        return socket

    async def pay(self, payment: Json) -> Json:
        """Confirm the intent as Stripe.js does."""
        return await self.request(
            "POST",
            f"{self._stack.sandbox_url}/v1/payment_intents/{payment['intent_id']}/confirm",
            headers={"Authorization": f"Bearer {self._stack.secrets.stripe_publishable_key}"},
            data={
                "client_secret": payment["client_secret"],
                "payment_method": "pm_card_visa",
                "use_stripe_sdk": "true",
            },
        )


async def record(stack: Stack, terminal: Terminal) -> None:
    """Make the booking, and leave in the terminal what a person sees of it. Raises Changed, TimeoutError."""
    for name, port in vars(Ports()).items():
        terminal.fixed[f":{getattr(stack.ports, name)}"] = f":{port}"
    async with asyncio.timeout(WAIT_MAX_SECONDS), aiohttp.ClientSession() as session:
        await _up(stack, terminal)
        visitor = Visitor(stack, session)
        async with await visitor.arrive() as socket:
            booking = await _book(visitor, terminal)
            await _show_notification(socket, terminal, "pending", "awaiting")
            await _pay(visitor, terminal, booking)
            await _show_notification(socket, terminal, "confirmed", "paid")
        await _show_history(visitor, terminal, booking)


async def _up(stack: Stack, terminal: Terminal) -> None:
    """What `make up` prints, but for what belongs to this machine."""
    secret = stack.jwt_secret
    assert secret is not None
    event = await ensure_event(
        stack.gateway_url, make_token(secret, stack.settings, "picture", scopes=[Scope.ADMIN], seconds=60)
    )
    terminal.fixed[event["id"]] = EVENT_ID
    printed = StringIO()
    describe(Console(file=printed, width=200), stack, event)
    terminal.command("make up")
    for line in printed.getvalue().splitlines():
        if line.startswith(SHOWN):
            terminal.line(line)


async def _book(visitor: Visitor, terminal: Terminal) -> Json:
    event = (await visitor.request("GET", "/events"))["items"][0]
    terminal.command("curl $GATEWAY/events     # in a second terminal")
    _show_seats(terminal, event)
    items = [{"ticket_type_id": event["ticket_types"][0]["id"], "quantity": 2}]
    body = {"event_id": event["id"], "items": items}
    headers = {"Idempotency-Key": "my-first"}
    booking = await visitor.request("POST", "/bookings", 201, json=body, headers=headers)
    terminal.fixed[booking["id"]] = BOOKING_ID
    terminal.command(
        'curl -X POST $GATEWAY/bookings -H "$AUTH" -H "$JSON" -H "Idempotency-Key: my-first" \\',
        r'-d "{\"event_id\": \"$EVENT\", \"items\": [{\"ticket_type_id\": \"$TYPE\", \"quantity\": 2}]}"',
    )
    terminal.answer(201, shortened(booking, ("id", "status", "amount", "currency")))
    if await visitor.request("POST", "/bookings", 200, json=body, headers=headers) != booking:
        raise Changed("the same key again is answered with another booking")
    return booking


async def _pay(visitor: Visitor, terminal: Terminal, booking: Json) -> None:
    intent = await visitor.pay(booking["payment"])
    terminal.command(
        'curl -X POST $STRIPE/v1/payment_intents/$INTENT/confirm -H "$PUBLISHABLE_KEY" \\',
        "-d client_secret=$SECRET -d payment_method=pm_card_visa -d use_stripe_sdk=true",
    )
    terminal.answer(200, shortened(intent, ("object", "status")))


async def _show_history(visitor: Visitor, terminal: Terminal, booking: Json) -> None:
    history = (await visitor.request("GET", f"/bookings/{booking['id']}/history"))["items"]
    terminal.command('curl $GATEWAY/bookings/$BOOKING/history -H "$AUTH"')
    names = ("version", "to_status", "payment_status")
    terminal.answer(200, *(shortened(change, names) for change in history))
    terminal.command("curl $GATEWAY/events")
    _show_seats(terminal, (await visitor.request("GET", "/events"))["items"][0])


def _show_seats(terminal: Terminal, event: Json) -> None:
    """The answer of GET /events, as far as it matters, in two lines."""
    start = shortened(event, ("name", "currency")).removesuffix("}")
    stalls = shortened(event["ticket_types"][0], ("name", "unit_amount", "available"))
    terminal.answer(200, f'{{"items": [{start},', f'"ticket_types": [{stalls}, …]}}]}}')


async def _show_notification(
    socket: aiohttp.ClientWebSocketResponse[Any], terminal: Terminal, status: str, payment: str
) -> None:
    """Wait until the socket says so of a booking, and show it."""
    while True:
        message = await socket.receive_json()
        booking = message.get("booking", {})
        if (booking.get("status"), booking.get("payment", {}).get("status")) == (status, payment):
            terminal.line(f"socket: {booking['id']} {status}, payment {payment}", "magenta")
            return
