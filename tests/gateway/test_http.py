"""Headers, CORS and traces: what is true of every answer."""

from __future__ import annotations

import pytest

from common.contracts.messages import GetEvent
from common.runtime.health import HEALTH
from common.runtime.telemetry import METRICS
from tests.gateway.conftest import Gateway
from tests.gateway.stage import EVENT_ID, Client, ScriptedBooking, as_json, event

ORIGIN = "https://tickets.example"


@pytest.mark.parametrize("path", ["/events/x", "/nowhere", "/bookings", "/health/live", "/docs", "/openapi.json"])
async def test_every_response_has_the_security_headers(gateway: Client, path: str) -> None:
    response = await gateway.get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    cached = path in ("/docs", "/openapi.json")
    assert response.headers["Cache-Control"] == ("public, max-age=300" if cached else "no-store")
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_known_origin_may_read_answers_and_errors(start: Gateway) -> None:
    gateway = await start(cors_origins=f"{ORIGIN},https://other.example")
    for path in ("/docs", "/bookings", "/nowhere"):
        response = await gateway.get(path, headers={"Origin": ORIGIN})
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
        assert "Origin" in response.headers["Vary"]
    response = await gateway.get("/docs", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_preflight_request_is_answered(start: Gateway) -> None:
    gateway = await start(cors_origins=ORIGIN)
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    response = await gateway.options("/bookings", headers=headers)
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Idempotency-Key" in response.headers["Access-Control-Allow-Headers"]
    assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    headers["Origin"] = "https://evil.example"
    assert (await gateway.options("/bookings", headers=headers)).status == 405


async def test_any_origin_can_be_allowed(start: Gateway) -> None:
    gateway = await start(cors_origins="*")
    response = await gateway.get("/docs", headers={"Origin": "https://anyone.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_clients_trace_is_passed_on(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetEvent, as_json(event()))
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await gateway.get(f"/events/{EVENT_ID}", headers={"traceparent": traceparent})
    (delivery,) = actor.received
    assert delivery.envelope.traceparent == traceparent


async def test_a_draining_process_closes_connections(gateway: Client) -> None:
    """A connection that is kept alive ends with its next answer, not in the middle of a request."""
    assert "Connection" not in (await gateway.get("/docs")).headers
    app = gateway.app
    assert app is not None
    app[HEALTH].draining = True
    assert (await gateway.get("/docs")).headers["Connection"] == "close"


async def test_head_is_answered_like_get_without_a_body(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetEvent, as_json(event()))
    response = await gateway.head(f"/events/{EVENT_ID}")
    assert (response.status, await response.read()) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


async def test_open_sockets_and_requests_are_counted(gateway: Client) -> None:
    await gateway.ws_connect("/ws")
    metrics = gateway.app[METRICS]
    assert "holdfast_sockets 1.0" in (await metrics.exposition()).decode()
    await gateway.get("/nowhere")
    text = (await metrics.exposition()).decode()
    assert 'route="unknown",status="404"' in text
