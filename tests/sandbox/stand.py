"""A sandbox for a test: it runs in this process, and is called with the official SDK or without."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import stripe
from aiohttp import ClientSession, ClientTimeout, encode_basic_auth
from aiohttp.test_utils import TestServer
from stripe import PaymentIntent, StripeClient

from sandbox.app import build_app
from sandbox.settings import Settings
from tests.sandbox.receiver import Receiver

Json = dict[str, Any]

SECRET_KEY = "sk_test_of_the_tests"
PUBLISHABLE_KEY = "pk_test_of_the_tests"
CONTROL_KEY = "control-key-of-the-tests"
CONTROL = {"Authorization": f"Bearer {CONTROL_KEY}"}
RETURN_URL = "https://shop.example/paid"
NEXT_YEAR = str(datetime.now(UTC).year + 1)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; the body is text if it is not JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def error(self) -> Json:
        error: Json = self.body["error"]
        return error


@dataclass
class Stand:
    """A running sandbox, and the endpoint that gets its webhooks."""

    url: str
    stripe: StripeClient
    session: ClientSession
    receiver: Receiver

    async def call(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        key: str | None = SECRET_KEY,
        **headers: str,
    ) -> Answer:
        """Send one request with a key; a header's name is given with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        query = {"params": form} if method == "GET" else {"data": form}
        return await self.send(method, path, headers=sent, **query)

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """Send one request exactly as given."""
        options.setdefault("allow_redirects", False)
        async with self.session.request(method, f"{self.url}{path}", **options) as response:
            raw = await response.read()
            try:
                body = orjson.loads(raw)
            except orjson.JSONDecodeError:
                body = raw.decode()
            return Answer(response.status, body, response.headers)

    async def try_control(self, method: str, path: str, **options: Any) -> Answer:
        """Send a control request under `/_sandbox`, with its key."""
        return await self.send(method, f"/_sandbox{path}", headers=CONTROL, **options)

    async def control(self, method: str, path: str, body: Any = None) -> Json:
        """Send a control request under `/_sandbox` that must succeed."""
        answer = await self.try_control(method, path, json=body)
        assert answer.status == 200, answer.body
        shown: Json = answer.body
        return shown

    async def faults(self, **switches: Any) -> None:
        await self.control("POST", "/faults", switches)

    async def intent(self, amount: int = 2000, currency: str = "usd", **params: Any) -> PaymentIntent:
        """Make an intent; unless `params` say otherwise, with the parameters that Holdfast uses."""
        return await self.stripe.v1.payment_intents.create_async(
            {"amount": amount, "currency": currency, **params}  # type: ignore[typeddict-item]
        )

    async def confirm(self, intent_id: str, card: str = "pm_card_visa") -> PaymentIntent:
        return await self.stripe.v1.payment_intents.confirm_async(
            intent_id, {"payment_method": card, "return_url": RETURN_URL}
        )

    async def paid(self, amount: int = 2000, card: str = "pm_card_visa", **params: Any) -> PaymentIntent:
        """Make an intent and confirm it."""
        return await self.confirm((await self.intent(amount, **params)).id, card)

    async def refused(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Answer:
        """Send a request that must be refused."""
        answer = await self.call(method, path, form)
        assert answer.status >= 400, answer.body
        return answer


@asynccontextmanager
async def standing(session: ClientSession, receiver: Receiver, **settings: Any) -> AsyncIterator[Stand]:
    """Run a sandbox with its own ledger, in memory unless `settings` say otherwise."""
    chosen = {
        "sandbox_ledger": ":memory:",
        "sandbox_webhook_url": receiver.url,
        "sandbox_webhook_secret": receiver.secret,
        "sandbox_webhook_retry_seconds": 0.01,
        "sandbox_settle_seconds": 0.0,
        "sandbox_control_key": CONTROL_KEY,
        **settings,
    }
    async with TestServer(build_app(Settings(**chosen))) as server:
        url = str(server.make_url("/")).rstrip("/")
        yield Stand(url, client(url, session), session, receiver)


def without_webhooks() -> Settings:
    """Settings of a sandbox that sends no webhooks, and whose banks decide only by control requests."""
    return Settings(
        sandbox_ledger=":memory:",
        sandbox_webhook_url="",
        sandbox_settle_seconds=3600,
        sandbox_control_key=CONTROL_KEY,
    )


def client(url: str, session: ClientSession, key: str = SECRET_KEY, timeout_s: float = 10) -> StripeClient:
    """The official SDK, without its own retries."""
    timeout = ClientTimeout(total=timeout_s)
    http = stripe.AIOHTTPClient(session=session, timeout=timeout)
    return StripeClient(key, base_addresses={"api": url}, max_network_retries=0, http_client=http)


def basic(key: str) -> dict[str, str]:
    """The header by which curl sends a key: a user without a password."""
    return {"Authorization": encode_basic_auth(key, "")}
