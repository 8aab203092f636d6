"""Control of the stand-in beside the API: faults, webhooks, and the actions of banks and customers.

All paths are under `/_sandbox`, with JSON, and all but `/health` need the key SANDBOX_CONTROL_KEY.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sandbox import audit, disputes, payments, refunds
from sandbox.account import Account
from sandbox.door import check_key, refuse_other_sites
from sandbox.errors import ApiError, RefusedError, missing_object
from sandbox.faults import ALL_OFF, Faults, Switches
from sandbox.objects import Object
from sandbox.work import Endpoint, Work

Model = TypeVar("Model")


class EndpointWanted(BaseModel):
    """An endpoint to which events must be sent."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern=r"^https?://")
    secret: str = Field(min_length=1)
    enabled_events: list[str] = Field(default=["*"], min_length=1)


class RefundWanted(BaseModel):
    """A refund by hand; without `amount`, of all that is left."""

    model_config = ConfigDict(extra="forbid")

    amount: int | None = Field(default=None, ge=1)
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] = "requested_by_customer"


class DisputeWanted(BaseModel):
    """A dispute that the customer opens."""

    model_config = ConfigDict(extra="forbid")

    reason: str = "fraudulent"
    inquiry: bool = False
    amount: int | None = Field(default=None, ge=1)
    """The amount to dispute; without it, all that no open dispute is about."""


class CaptureWanted(BaseModel):
    """A capture by hand of authorised money; without `amount`, of all of it."""

    model_config = ConfigDict(extra="forbid")

    amount: int | None = Field(default=None, ge=1)
    rest_as_refund: bool = False
    """Emit `charge.refunded` for the rest, as for an account whose events have an older version."""


SWITCHES = TypeAdapter(Switches)
ENDPOINTS = TypeAdapter(list[EndpointWanted])
REFUND = TypeAdapter(RefundWanted)
DISPUTE = TypeAdapter(DisputeWanted)
CAPTURE = TypeAdapter(CaptureWanted)


class Control:
    """The handlers of the paths under `/_sandbox`."""

    def __init__(self, account: Account, faults: Faults) -> None:
        self._account = account
        self._faults = faults

    async def health(self, request: web.Request) -> Object:
        """200 as soon as the ledger is open and requests are answered."""
        self._account.ledger.read("SELECT 1").fetchone()
        return {"status": "ok"}

    async def show_faults(self, request: web.Request) -> Object:
        """The switches, and how often each was applied."""
        return {"switches": self._faults.switches.model_dump(), "done": self._faults.done}

    async def set_faults(self, request: web.Request) -> Object:
        """Replace all earlier switches."""
        self._faults.set(await _body(request, SWITCHES))
        return await self.show_faults(request)

    async def reset_faults(self, request: web.Request) -> Object:
        """Turn all switches off."""
        self._faults.set(ALL_OFF)
        return await self.show_faults(request)

    async def show_webhooks(self, request: web.Request) -> Object:
        """The endpoints, and the number of deliveries in each status."""
        webhooks = self._account.webhooks
        rows = self._account.ledger.read("SELECT status, count(*) FROM deliveries GROUP BY status")
        shown = [
            {"url": endpoint.url, "enabled_events": sorted(endpoint.enabled_events)}
            for endpoint in webhooks.endpoints
        ]
        return {"paused": webhooks.paused, "endpoints": shown, "deliveries": dict(rows.fetchall())}

    async def set_endpoints(self, request: web.Request) -> Object:
        """Send later events to these endpoints."""
        wanted = await _body(request, ENDPOINTS)
        endpoints = [
            Endpoint(position, each.url, each.secret, frozenset(each.enabled_events))
            for position, each in enumerate(wanted)
        ]
        await self._account.webhooks.point(endpoints)
        return await self.show_webhooks(request)

    async def pause(self, request: web.Request) -> Object:
        """Send no webhooks until `resume`; they wait in the ledger."""
        self._account.webhooks.pause(True)
        return await self.show_webhooks(request)

    async def resume(self, request: web.Request) -> Object:
        """Send webhooks again."""
        self._account.webhooks.pause(False)
        return await self.show_webhooks(request)

    async def redeliver(self, request: web.Request) -> Object:
        """Send an event again to every endpoint that receives its type, as the dashboard's button does."""
        event_id = request.match_info["event"]

        def step(work: Work) -> Object:
            row = work.ledger.read("SELECT type FROM events WHERE id = ?", (event_id,)).fetchone()
            if row is None:
                raise missing_object("event", event_id)
            accepting = [endpoint for endpoint in work.endpoints if endpoint.accepts(row[0])]
            for endpoint in accepting:
                work.ledger.write(
                    "DELETE FROM deliveries WHERE event = ? AND endpoint = ? AND status IN ('dropped', 'failed')",
                    (event_id, endpoint.position),
                )
                work.send(event_id, row[0], endpoint)
            return {"event": event_id, "deliveries": len(accepting)}

        return await self._account.perform(step)

    async def settle_payment(self, request: web.Request) -> Object:
        """The bank has decided about a payment that is processing."""
        succeeded = request.match_info["outcome"] == "succeed"

        def step(work: Work) -> Object:
            intent = work.get("payment_intent", request.match_info["intent"], "intent")
            return payments.settle(work, intent, succeeded=succeeded)

        return await self._account.perform(step)

    async def capture(self, request: web.Request) -> Object:
        """Capture authorised money by hand, as in the dashboard."""
        wanted, intent = await _body(request, CAPTURE), request.match_info["intent"]
        params = {} if wanted.amount is None else {"amount_to_capture": wanted.amount}
        return await self._account.perform(
            lambda work: payments.capture(work, params, intent, rest_as_refund=wanted.rest_as_refund)
        )

    async def refund(self, request: web.Request) -> Object:
        """Refund a payment by hand, as in the dashboard."""
        wanted = await _body(request, REFUND)
        params = wanted.model_dump(exclude_none=True) | {"payment_intent": request.match_info["intent"]}
        return await self._account.perform(lambda work: refunds.create(work, params))

    async def settle_refund(self, request: web.Request) -> Object:
        """A refund has reached the customer, or has failed."""
        decide = refunds.succeed if request.match_info["outcome"] == "succeed" else refunds.fail
        return await self._account.perform(lambda work: decide(work, request.match_info["refund"]))

    async def dispute(self, request: web.Request) -> Object:
        """The customer disputes a payment at the bank."""
        wanted = await _body(request, DISPUTE)
        if wanted.reason not in disputes.REASONS:
            raise RefusedError(400, f"A dispute's reason is one of {', '.join(disputes.REASONS)}.", param="reason")

        def step(work: Work) -> Object:
            intent = work.get("payment_intent", request.match_info["intent"], "intent")
            if intent["latest_charge"] is None:
                raise ApiError(400, f"PaymentIntent {intent['id']} has no charge to dispute.")
            charge = intent["latest_charge"]
            return disputes.open_dispute(work, charge, wanted.reason, inquiry=wanted.inquiry, amount=wanted.amount)

        return await self._account.perform(step)

    async def close_dispute(self, request: web.Request) -> Object:
        """The bank has decided a dispute."""
        won = request.match_info["outcome"] == "won"
        return await self._account.perform(
            lambda work: disputes.close(work, request.match_info["dispute"], won=won)
        )

    async def ledger(self, request: web.Request) -> Object:
        """All payments with the amounts captured and refunded, for audits."""
        await self._account.ledger.committed()
        return audit.summary(self._account.ledger)


def add_routes(router: web.UrlDispatcher, find: Callable[[web.Request], Control], key: str) -> None:
    """Add the paths under `/_sandbox`, for those who have the `key`."""

    def route(method: str, path: str, act: Callable[[Control, web.Request], Awaitable[Object]]) -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                refuse_other_sites(request)
                if act is not Control.health:
                    check_key(request, key)
                return _json(await act(find(request), request))
            except ApiError as error:
                answer = _json({"error": error.error}, error.status)
                answer.headers.update(error.headers)
                return answer

        router.add_route(method, f"/_sandbox{path}", handle)

    route("GET", "/health", Control.health)
    route("GET", "/faults", Control.show_faults)
    route("POST", "/faults", Control.set_faults)
    route("DELETE", "/faults", Control.reset_faults)
    route("GET", "/webhooks", Control.show_webhooks)
    route("PUT", "/webhooks/endpoints", Control.set_endpoints)
    route("POST", "/webhooks/pause", Control.pause)
    route("POST", "/webhooks/resume", Control.resume)
    route("POST", "/events/{event}/redeliver", Control.redeliver)
    route("POST", "/payment_intents/{intent}/{outcome:succeed|fail}", Control.settle_payment)
    route("POST", "/payment_intents/{intent}/capture", Control.capture)
    route("POST", "/payment_intents/{intent}/refund", Control.refund)
    route("POST", "/payment_intents/{intent}/dispute", Control.dispute)
    route("POST", "/refunds/{refund}/{outcome:succeed|fail}", Control.settle_refund)
    route("POST", "/disputes/{dispute}/{outcome:won|lost}", Control.close_dispute)
    route("GET", "/ledger", Control.ledger)


async def _body(request: web.Request, adapter: TypeAdapter[Model]) -> Model:
    """The body of the request; an empty one is read as `{}`.

    Raises:
        RefusedError: 400, the body does not fit the adapter's type.
    """
    raw = await request.read()
    try:
        return adapter.validate_json(raw or b"{}")
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise RefusedError(400, found) from error


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
