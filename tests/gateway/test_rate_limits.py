"""Rate limits of the real gateway: what counts for an address, what for a subject, and what for nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from common.contracts import errors
from common.contracts.ids import GUEST
from common.contracts.messages import CancelBooking, CreateBooking, ListBookings
from common.messaging.redis import connect
from common.runtime.health import HEALTH
from common.runtime.server import ADMITS
from common.runtime.telemetry import METRICS
from gateway.addresses import ADDRESS_KEY, KEY_SECONDS, AddressHashes, client_address, network
from gateway.limiter import LIMITER
from gateway.settings import CLIENT_LIMITS, GatewaySettings
from tests.common.stage import until
from tests.gateway.conftest import Gateway
from tests.gateway.stage import (
    EVENT_ID,
    RedisServer,
    ScriptedBooking,
    bearer,
    booking,
    create_reply,
    keyed,
)

EMPTY: dict[str, Any] = {"items": [], "next": None}
BOOK = {"event_id": str(EVENT_ID), "quantity": 1}
UNSUBSCRIBE = {"type": "unsubscribe", "event_id": str(EVENT_ID)}
ONE = {"trusted_proxies": 1, "rate_limit_per_address": 0.05}
ORIGIN = "https://tickets.example"
WRONG = {"Authorization": "Bearer wrong"}
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals are sent at once."""
    monkeypatch.setattr("gateway.rates.UNPAUSED_S", 1e9)


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def test_limits_are_on_unless_switched_off() -> None:
    defaults = {name: GatewaySettings.model_fields[name.lower()].default for name in CLIENT_LIMITS}
    assert all(defaults.values()), defaults


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/events", {}),
        ("GET", "/nothing-here", {}),
        ("DELETE", "/events", {}),
        ("GET", "/bookings", {}),
        ("GET", "/bookings", WRONG),
        ("GET", "/admin/events", WRONG),
        ("GET", "/admin/events", bearer(operator=True)),
        ("POST", "/bookings", bearer()),
        ("OPTIONS", "/bookings", PREFLIGHT),
        ("OPTIONS", "/bookings", {}),
        ("GET", "/ws", WRONG),
        ("GET", "/ws", {}),
        ("POST", "/auth/guest", {}),
        ("GET", "/docs", {}),
        ("GET", "/metrics", {}),
    ],
)
async def test_every_request_counts_for_its_address(
    start: Gateway, method: str, path: str, headers: dict[str, str]
) -> None:
    """The first request of an address takes its only token, whatever it is; another address has its own."""
    gateway = await start(**ONE, cors_origins=(ORIGIN,), answer_seconds=0.1)
    assert (await gateway.request(method, path, headers=headers | of("1.1.1.1"))).status != 429
    response = await gateway.request(method, path, headers=headers | of("1.1.1.1"))
    problem = await response.json()
    assert (response.status, problem["code"], problem["limited_by"]) == (429, "too_many_requests", "address")
    assert 15 <= int(response.headers["Retry-After"]) <= 20
    assert problem["retry_after"] == int(response.headers["Retry-After"])
    assert (await gateway.request(method, path, headers=headers | of("2.2.2.2"))).status != 429


async def test_the_checks_of_health_are_free(start: Gateway) -> None:
    gateway = await start(rate_limit_per_address=0.05)
    for path in ("/health/live", "/health/ready") * 3:
        assert (await gateway.get(path)).status == 200
    assert (await gateway.get("/events/1")).status == 404
    assert (await gateway.get("/events/1")).status == 429
    metrics = gateway.app[METRICS].registry
    assert metrics.get_sample_value("holdfast_rate_limited_total", {"limit": "address"}) == 1


async def test_addresses_of_one_ipv6_network_are_one_client(start: Gateway) -> None:
    gateway = await start(**ONE)
    statuses = [
        (await gateway.get("/nothing", headers=of(address))).status
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1")
    ]
    assert statuses == [404, 429, 404]


async def test_new_guests_cannot_get_around_the_limit(start: Gateway, actor: ScriptedBooking) -> None:
    """A new subject for each request: the address has its limit all the same."""
    actor.on(ListBookings, EMPTY)
    gateway = await start(rate_limit_per_address=0.05, rate_limit_per_subject=100)
    statuses = [(await gateway.get("/bookings", headers=bearer(f"{GUEST}{number}"))).status for number in range(5)]
    assert statuses == [200, 429, 429, 429, 429]


async def test_a_subject_has_a_limit_of_its_own(start: Gateway, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, EMPTY)
    gateway = await start(rate_limit_per_subject=0.05)
    assert (await gateway.get("/bookings", headers=bearer())).status == 200
    response = await gateway.post("/bookings", json=BOOK, headers=bearer())
    assert (response.status, (await response.json())["limited_by"]) == (429, "subject")
    assert (await gateway.get("/bookings", headers=bearer("bob"))).status == 200
    assert (await gateway.get("/bookings")).status == 401


async def test_operators_have_no_limit_by_subject(start: Gateway) -> None:
    gateway = await start(rate_limit_per_subject=0.05)
    statuses = [(await gateway.get("/nothing", headers=bearer(operator=True))).status for _ in range(3)]
    statuses += [(await gateway.post("/admin/events", headers=bearer(operator=True))).status for _ in range(3)]
    assert statuses == [404] * 3 + [415] * 3
    async with gateway.ws_connect("/ws", headers=bearer(operator=True)) as socket:
        for _ in range(3):
            await socket.send_json({"type": "nonsense"})
            assert (await socket.receive_json(timeout=10))["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("limit", "named"), [("rate_limit_per_address", "address"), ("rate_limit_per_subject", "subject")]
)
async def test_messages_of_a_socket_count_as_requests_do(start: Gateway, limit: str, named: str) -> None:
    """The handshake takes one token, each message another."""
    gateway = await start(**{limit: 0.05})
    async with gateway.ws_connect("/ws", headers=bearer()) as socket:
        await socket.send_json(UNSUBSCRIBE)
        answer = await socket.receive_json(timeout=10)
        assert (answer["type"], answer["code"], answer["limited_by"]) == ("error", "too_many_requests", named)
        assert answer["retry_after"] >= 1
    assert (await gateway.get("/bookings", headers=bearer())).status == 429


@pytest.mark.parametrize(
    "error", [errors.TooManyHolds(retry_after=15), errors.OwnerLimitReached(), errors.BookingPaused(retry_after=5)]
)
async def test_a_buyer_who_is_refused_again_and_again_does_not_reach_booking(
    start: Gateway, actor: ScriptedBooking, error: errors.HoldfastError
) -> None:
    """Not even under another key. What it may do with the bookings that it has stays as it was."""
    actor.on(CreateBooking, error)
    actor.on(ListBookings, EMPTY)
    gateway = await start(wasted_bookings_per_subject=0.05, wasted_bookings_per_address=0)
    answers = [await gateway.post("/bookings", json=BOOK, headers=keyed()) for _ in range(2)]
    assert [answer.status for answer in answers] == [409, 429]
    assert (await answers[1].json())["limited_by"] == "wasted_bookings_per_subject"
    assert int(answers[1].headers["Retry-After"]) > 1
    unread = await gateway.post("/bookings", data=b"no JSON", headers=keyed())
    assert unread.status == 429  # before its body is looked at
    assert (await gateway.get("/bookings", headers=bearer())).status == 200
    assert (await gateway.post("/bookings", json=BOOK, headers=keyed("bob"))).status == 409
    assert len(actor.messages(CreateBooking)) == 2


async def test_an_address_wastes_bookings_through_its_guests_only(start: Gateway, actor: ScriptedBooking) -> None:
    actor.on(CreateBooking, errors.TooManyHolds(retry_after=15))
    gateway = await start(wasted_bookings_per_address=0.05)
    statuses = [
        (await gateway.post("/bookings", json=BOOK, headers=keyed(who))).status
        for who in (f"{GUEST}1", f"{GUEST}2", "alice", "bob")
    ]
    assert statuses == [409, 429, 409, 409]


async def test_who_cancels_again_and_again_waits_with_new_bookings(start: Gateway, actor: ScriptedBooking) -> None:
    """A booking that is sold out, or is not cancelled, is none that was wasted; operators waste none."""
    actor.on(CreateBooking, lambda message: create_reply(booking(message.booking_id)))
    actor.on(CancelBooking, lambda message: booking(message.booking_id, status="cancelled"))
    gateway = await start(wasted_bookings_per_subject=0.05)

    async def book(**bearers: Any) -> int:
        return (await gateway.post("/bookings", json=BOOK, headers=keyed(**bearers))).status

    assert [await book(), await book()] == [201, 201]
    for _ in range(2):
        assert (await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=bearer())).status == 200
    assert await book() == 429
    for _ in range(2):
        clerk = keyed("clerk", operator=True)
        assert (await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=clerk)).status == 200
    assert await book(subject="clerk", operator=True) == 201


async def test_new_guests_of_one_address_have_a_limit(start: Gateway) -> None:
    gateway = await start(trusted_proxies=1, guests_per_address_per_minute=3)
    statuses = [(await gateway.post("/auth/guest", headers=of("1.1.1.1"))).status for _ in range(4)]
    assert statuses == [201, 201, 201, 429]
    response = await gateway.post("/auth/guest", headers=of("1.1.1.1"))
    assert (await response.json())["limited_by"] == "guests"
    assert int(response.headers["Retry-After"]) > 1
    assert (await gateway.post("/auth/guest", headers=of("2.2.2.2"))).status == 201
    assert (await gateway.get("/nothing", headers=of("1.1.1.1"))).status == 404


async def test_a_client_of_one_gateway_is_limited_at_another(
    start: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.limiter.SHARE_SECONDS", 0.02)
    one, other = [await start(**ONE) for _ in range(2)]
    assert (await one.get("/nothing", headers=of("1.1.1.1"))).status == 404
    await until(lambda: "1.1.1.1" in other.app[LIMITER].addresses._buckets)
    assert (await other.get("/nothing", headers=of("1.1.1.1"))).status == 429
    assert (await other.get("/nothing", headers=of("2.2.2.2"))).status == 404


async def test_refusals_that_wait_are_sent_when_the_process_stops(
    start: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rates.UNPAUSED_S", -1e9)
    monkeypatch.setattr("gateway.rates.PAUSE_MAX_S", 3600.0)
    gateway = await start(rate_limit_per_address=0.05)
    limiter = gateway.app[LIMITER]
    assert (await gateway.get("/nothing")).status == 404
    refused = [asyncio.create_task(gateway.get("/nothing")) for _ in range(3)]
    await until(lambda: limiter._paused == 3)
    assert not any(task.done() for task in refused)
    limiter.stop()
    assert [(await task).status for task in refused] == [429] * 3


@pytest.mark.parametrize(("proxies", "admitted"), [(0, False), (1, True)])
async def test_connections_of_a_flood_are_closed_unless_a_proxy_sends_them(
    start: Gateway, proxies: int, admitted: bool
) -> None:
    gateway = await start(rate_limit_per_address=2, trusted_proxies=proxies)
    limiter = gateway.app[LIMITER]
    assert gateway.app[ADMITS]("127.0.0.1")
    for _ in range(1500):
        limiter.addresses.take("127.0.0.1")
    assert gateway.app[ADMITS]("127.0.0.1") is admitted
    assert gateway.app[ADMITS]("127.0.0.2")
    # What was refused seems to come from a proxy, which nobody has set.
    while (await gateway.get("/nothing", headers=of("127.0.0.1"))).status != 429:
        pass
    assert gateway.app[ADMITS]("127.0.0.1")


@pytest.mark.parametrize(("proxies", "admitted"), [(0, 50), (1, 5000)])
async def test_an_address_opens_connections_no_faster_than_it_may_use_them(
    start: Gateway, proxies: int, admitted: int
) -> None:
    """Also before the first request on them has come."""
    gateway = await start(rate_limit_per_address=2, trusted_proxies=proxies)
    assert sum(gateway.app[ADMITS]("127.0.0.1") for _ in range(5000)) == admitted
    assert gateway.app[ADMITS]("127.0.0.2")


async def test_a_proxy_that_nobody_trusts_is_noticed(start: Gateway) -> None:
    """All clients would share its limit."""
    gateway = await start(rate_limit_per_address=0.05)
    for address in ("1.1.1.1", "2.2.2.2"):
        assert "proxies" not in (await gateway.app[HEALTH].examine())[1]
        await gateway.get("/nothing", headers=of(address))
    problems, notices = await gateway.app[HEALTH].examine()
    assert not problems
    assert "TRUSTED_PROXIES" in notices["proxies"]


async def test_clients_without_a_proxy_are_no_notice(start: Gateway) -> None:
    gateway = await start(rate_limit_per_address=0.05)
    assert [(await gateway.get("/nothing")).status for _ in range(2)] == [404, 429]
    assert (await gateway.app[HEALTH].examine())[1] == {}


# --- addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "1.1.1.1", "9.9.9.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (2, "1.1.1.1", "1.1.1.1"),
        (1, None, "9.9.9.9"),
        # One client has an entire IPv6 network.
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:3::1", "2001:db8:1:3::/64"),
        (1, "::ffff:1.1.1.1", "1.1.1.1"),
        # Some proxies add the port, which differs for each connection.
        (1, "1.1.1.1:4711", "1.1.1.1"),
        (1, "[2001:db8:1:2::1]:4711", "2001:db8:1:2::/64"),
        (1, "[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        (1, "1.1.1.1:x", "1.1.1.1:x"),
        (1, "not an address", "not an address"),
        (1, "x" * 5000, "x" * 64),
    ],
)
def test_only_trusted_proxies_name_the_clients_address(proxies: int, forwarded: str | None, expected: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote="9.9.9.9")
    assert network(client_address(request, proxies)) == expected


async def test_a_guests_booking_has_the_keyed_hash_of_its_network(start: Gateway, actor: ScriptedBooking) -> None:
    """The same for all gateways, and for all addresses of an IPv6 network; other clients' bookings have none."""
    actor.on(CreateBooking, lambda command: create_reply(booking(command.booking_id)))
    gateways = [await start(trusted_proxies=1) for _ in range(2)]
    sent = [
        (gateways[0], f"{GUEST}1", "192.0.2.1"),
        (gateways[1], f"{GUEST}2", "192.0.2.1"),
        (gateways[0], f"{GUEST}3", "192.0.2.2"),
        (gateways[0], f"{GUEST}4", "2001:db8::1"),
        (gateways[1], f"{GUEST}5", "2001:db8::2"),
        (gateways[0], "customer", "192.0.2.1"),
    ]
    for gateway, subject, address in sent:
        response = await gateway.post("/bookings", json=BOOK, headers=keyed(subject) | of(address))
        assert response.status == 201
    found = [command.address for command in actor.messages(CreateBooking)]
    assert found[0] == found[1] != found[2]
    assert found[3] == found[4] != found[0]
    assert found[5] is None
    assert all(len(address) == 32 and set(address) <= set("0123456789abcdef") for address in found[:5])


async def test_the_key_of_the_hashes_is_forgotten_after_a_month(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        hashes, others = AddressHashes(redis), AddressHashes(redis)
        await hashes.read()
        before = hashes.hashed("192.0.2.1")
        await others.read()
        assert others.hashed("192.0.2.1") == before
        assert KEY_SECONDS - 60 < await redis.ttl(ADDRESS_KEY) <= KEY_SECONDS
        await redis.delete(ADDRESS_KEY)
        await others.read()
        await hashes.read()
        assert hashes.hashed("192.0.2.1") == others.hashed("192.0.2.1") != before


async def test_without_the_key_bookings_have_no_address(redis_server: RedisServer) -> None:
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        assert AddressHashes(nowhere).hashed("192.0.2.1") is None
