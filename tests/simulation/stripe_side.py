"""Stripe in this process: the sandbox's model with its ledger in memory. The SDK is real, the line between is made
up, and fails.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import orjson
import stripe
from multidict import CIMultiDict

from payment.sdk import STRIPE_VERSION
from payment.stripe_objects import EVENT_TYPES
from sandbox import refunds
from sandbox.account import Account
from sandbox.api import Api
from sandbox.errors import ApiError
from sandbox.faults import ALL_OFF, Count, Faults, Switches
from sandbox.keys import Keys
from sandbox.ledger import Ledger
from sandbox.moves import make
from sandbox.objects import Object
from sandbox.operations import OPERATIONS, Operation
from sandbox.rate_limit import RateLimit
from sandbox.timetable import Timetable
from sandbox.webhooks import Webhooks
from sandbox.work import Delivery, Endpoint, Move, Work
from tests.simulation.clockwork import Clock
from tests.simulation.faults import Fault, Point
from tests.simulation.gates import Gates
from tests.simulation.story import Story

BASE = "https://stripe.simulated"
SECRET_KEY = "sk_test_simulation"
WEBHOOK_SECRET = "whsec_simulation"
PROCESSING_S = 20.0
# Faults of the sandbox: it answers so without having done anything, or although it has done the work.
SWITCHES: dict[Fault, dict[str, Any]] = {
    Fault.STRIPE_500: {"error_before": Count(count=1)},
    Fault.STRIPE_500_KEPT: {"error_after": Count(count=1)},
    Fault.STRIPE_429: {"limit": Count(count=1), "retry_after_seconds": 1},
}
# Faults of the sandbox for refunds alone.
REFUND_SWITCHES: dict[Fault, dict[str, Any]] = {
    Fault.REFUND_REFUSED: {"refund_refused": Count(count=1)},
    Fault.REFUND_WAITS: {"refund_pending": Count(count=1)},
}
# How much somebody refunds by hand at the moment of a refund of ours: less than the cheapest seat that costs money.
BY_HAND = 100
BUSY = b'{"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "made up: in use"}}'
PATHS = [
    (each.method, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", each.path) + r"\Z"), each) for each in OPERATIONS
]


class MemoryLedger(Ledger):
    """Each unit of work is committed at once."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.changed = True

    def _begin(self) -> None:
        self.changed = True

    async def committed(self) -> None:
        return


class Deliveries(Webhooks):
    """Webhooks wait here until the scheduler sends them."""

    def __init__(self) -> None:
        self.endpoints = (Endpoint(0, "payment", WEBHOOK_SECRET, EVENT_TYPES),)
        self.waiting: list[Delivery] = []

    def hand_over(self, deliveries: Sequence[Delivery]) -> None:
        self.waiting += deliveries


class Moves(Timetable[Move]):
    """What the account does later by itself; the scheduler makes it do so."""

    def due(self, now: float) -> list[Move]:
        found = []
        while self._heap and self._heap[0][0] <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def next(self) -> float | None:
        return self._heap[0][0] if self._heap else None


class Stripe:
    """The account at Stripe, and the client with which payment calls it."""

    def __init__(self, gates: Gates, clock: Clock, story: Story, lag: Switches = ALL_OFF) -> None:
        self._clock = clock
        self._story = story
        self.ledger = MemoryLedger()
        self.webhooks = Deliveries()
        # By idempotency key, what it was sent with first; and the keys that were sent with something else later.
        self._sent: dict[str, str] = {}
        self.differed: set[str] = set()
        self.faults = Faults()
        # How the list of Stripe events lags, whatever else fails.
        self.lag = lag
        self.faults.set(lag)
        self.account = Account(
            self.ledger, self.webhooks, self.faults, home=BASE, settle_seconds=PROCESSING_S, clock=clock.time
        )
        self.moves = self.account.moves = Moves()
        self.api = Api(self.account, Keys("", ""), RateLimit(0), self.faults)
        self.client = stripe.StripeClient(
            SECRET_KEY,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": BASE},
            max_network_retries=0,
            http_client=Line(self, gates),
        )

    def list_all_events(self) -> None:
        """From now on the list of Stripe events does not lag."""
        self.lag = ALL_OFF
        self.faults.set(ALL_OFF)

    def close(self) -> None:
        self.ledger.close()

    def note_key(self, headers: Mapping[str, str], body: str | None) -> None:
        """Whether a request says the same as all requests before it under its key."""
        key = CIMultiDict(headers).get("Idempotency-Key")
        if key is not None and self._sent.setdefault(key, body or "") != (body or ""):
            self.differed.add(key)

    async def answer(self, method: str, url: str, headers: Mapping[str, str], body: str | None) -> Any:
        """The API's answer to one request: body, status and headers."""
        parts = urlsplit(url)
        operation, names = _find(method.upper(), parts.path)
        content = (body or "").encode()

        async def read() -> bytes:
            return content

        request = SimpleNamespace(
            method=method.upper(),
            path=parts.path,
            headers=CIMultiDict(headers),
            rel_url=SimpleNamespace(raw_query_string=parts.query),
            can_read_body=bool(content),
            content_type="application/x-www-form-urlencoded",
            read=read,
            scheme=parts.scheme,
            host=parts.netloc,
            match_info=names,
            transport=None,
        )
        response = cast(Any, await self.api.answer(cast(Any, request), operation))
        return response.body, response.status, CIMultiDict(response.headers)

    async def do(self, who: str, what: str, step: Callable[[Work], object]) -> bool:
        """Do something at Stripe as `who`. Returns False when Stripe refuses."""
        self._story.note(what, who)
        try:
            await self.account.perform(step)
        except ApiError as error:
            self._story.note(f"Stripe: {error}", who)
            return False
        return True

    async def refund_by_hand(self, request: str) -> None:
        """Somebody refunds, by hand, a part of what `request` is about to refund."""
        (intent,) = parse_qs(request)["payment_intent"]
        params = {"payment_intent": intent, "amount": BY_HAND}
        await self.do("dashboard", f"refunds {BY_HAND} of {intent}", lambda work: refunds.create(work, params))

    async def make_due_moves(self) -> None:
        for move in self.moves.due(self._clock.time()):
            self._story.note(f"{move.name} {move.object_id}", "Stripe")
            await make(self.account, move)

    def payload(self, event_id: str) -> str:
        (body,) = self.ledger.read("SELECT body FROM events WHERE id = ?", (event_id,)).fetchone()
        return str(body)

    def objects(self, kind: str) -> list[Object]:
        rows = self.ledger.read("SELECT body FROM objects WHERE kind = ? ORDER BY seq", (kind,))
        return [orjson.loads(body) for (body,) in rows]


def _find(method: str, path: str) -> tuple[Operation | None, dict[str, str]]:
    for known, pattern, operation in PATHS:
        if known == method and (found := pattern.match(path)):
            return operation, found.groupdict()
    return None, {}


class Line(stripe.HTTPClient):
    """The HTTP client that the SDK uses to call Stripe, with a gate at each end and every way to fail."""

    name = "simulated"

    def __init__(self, standin: Stripe, gates: Gates) -> None:
        super().__init__()
        self._stripe = standin
        self._gates = gates

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        gates, path = self._gates, urlsplit(url).path
        await gates.reach(Point.BEFORE_STRIPE, path)
        if gates.strikes(Fault.STRIPE_REFUSED_CONNECTION, Fault.STRIPE_OUTAGE):
            raise _lost("not reached")
        if method == "post" and gates.strikes(Fault.STRIPE_BUSY):
            return BUSY, 409, CIMultiDict()
        switches = SWITCHES
        if (method, path) == ("post", "/v1/refunds"):
            switches = SWITCHES | REFUND_SWITCHES
            if gates.strikes(Fault.REFUND_BY_HAND):
                await self._stripe.refund_by_hand(post_data)
        fault = next((each for each in switches if gates.strikes(each)), None)
        self._stripe.note_key(headers, post_data)
        lag = self._stripe.lag
        self._stripe.faults.set(lag.model_copy(update=switches[fault]) if fault else lag)
        content, status, answered = await self._stripe.answer(method, url, headers, post_data)
        self._stripe._story.note(f"{method} {path}: {status}")
        if gates.strikes(Fault.STRIPE_LOST_ANSWER):
            raise _lost("the answer was lost")
        await gates.reach(Point.AFTER_STRIPE, path)
        return content, status, answered


def _lost(why: str) -> Exception:
    error: Any = stripe.APIConnectionError
    return cast(Exception, error(f"made up: {why}"))
