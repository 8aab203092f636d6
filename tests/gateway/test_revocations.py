"""Revoked tokens are refused, and their sockets closed; a gateway knows all of them before it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientWebSocketResponse

from common.contracts.errors import Unavailable
from common.contracts.messages import ListBookings, ListRevocations, RevokeTokens, TokensRevoked
from common.contracts.resources import Revocation
from common.runtime.health import HEALTH, Gate
from common.runtime.telemetry import METRICS
from gateway.auth import LEEWAY_S, Identity
from gateway.reads import PAGE
from gateway.revocations import REVOKED, RevokedTokens
from gateway.schemas import REVOKED_FOR
from gateway.websocket import upgrade
from tests.gateway.conftest import Gateway
from tests.gateway.stage import SILENCE, Client, ScriptedBooking, bearer, flush, keyed, token

RARELY = 300.0  # seconds: as good as never
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
ADMIN = bearer("root", scope="holdfast:admin")


def revocation(jti: str | None = None, subject: str | None = None, **values: Any) -> Revocation:
    times = {"revoked_at": datetime.now(UTC), "expires_at": datetime.now(UTC) + DAY}
    return Revocation(jti=jti, subject=subject, by="root", **(times | values))


class Database:
    """The revocations that the scripted actor has, and how many of them it lists on a page."""

    def __init__(self, actor: ScriptedBooking, *revocations: Revocation) -> None:
        self._page = 1
        self.revocations = list(revocations)
        actor.on(ListRevocations, self._list)
        actor.on(ListBookings, {"items": [], "next": None})

    def _list(self, message: ListRevocations) -> dict[str, Any]:
        begin = 0 if message.before is None else message.before[1].int
        end = begin + self._page
        following = ["2030-01-01T00:00:00Z", str(UUID(int=end))] if end < len(self.revocations) else None
        page = self.revocations[begin:end]
        return {"items": [each.model_dump(mode="json") for each in page], "next": following}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def status(gateway: Client, sent: str) -> int:
    answer = await gateway.get("/bookings", headers={"Authorization": f"Bearer {sent}"})
    return answer.status


async def ready(gateway: Client) -> bool:
    problems, _ = await gateway.app[HEALTH].examine()
    return not problems


async def is_refused(gateway: Client, *tokens: str) -> None:
    async def refused() -> bool:
        return {await status(gateway, each) for each in tokens} == {401}

    await until(refused)


async def closed(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    message = await socket.receive(timeout=10)
    return socket.close_code, str(message.extra)


@pytest.fixture
async def knowing(start: Gateway, actor: ScriptedBooking) -> Client:
    """A gateway that has read that nothing is revoked."""
    Database(actor)
    gateway = await start(revocations_read_seconds=RARELY)
    await until(lambda: ready(gateway))
    return gateway


@pytest.fixture
def known() -> RevokedTokens:
    gate = Gate("revocations")
    gate.open()
    return RevokedTokens(gate)


# --- which tokens ---------------------------------------------------------------------------------------------

ISSUED = NOW.timestamp()
TOKENS = {
    "of the id": Identity("alice", frozenset(), ISSUED + 60, "t-1", ISSUED),
    "of another id": Identity("alice", frozenset(), ISSUED + 60, "t-2", ISSUED),
    "without an id": Identity("alice", frozenset(), ISSUED + 60, None, ISSUED),
    "of another subject, with the id": Identity("bob", frozenset(), ISSUED + 60, "t-1", ISSUED),
    "of another subject": Identity("bob", frozenset(), ISSUED + 60, "t-3", ISSUED),
    "issued within the difference of clocks": Identity("alice", frozenset(), ISSUED + 60, "t-4", ISSUED + LEEWAY_S),
    "issued later": Identity("alice", frozenset(), ISSUED + 60, "t-5", ISSUED + LEEWAY_S + 1),
    "issued at no time": Identity("alice", frozenset(), ISSUED + 60),
}
BY_ID = {"of the id", "of another subject, with the id"}
BY_SUBJECT = TOKENS.keys() - {"issued later", "of another subject", "of another subject, with the id"}


@pytest.mark.parametrize(
    ("revoked", "expected"),
    [
        ([revocation("t-1", revoked_at=NOW)], BY_ID),
        ([revocation(subject="alice", revoked_at=NOW)], BY_SUBJECT),
        ([revocation(subject="alice", revoked_at=NOW), revocation("t-1", revoked_at=NOW)], BY_ID | BY_SUBJECT),
        # An older one that comes late.
        (
            [revocation(subject="alice", revoked_at=NOW), revocation(subject="alice", revoked_at=NOW - DAY)],
            BY_SUBJECT,
        ),
        (
            [revocation(subject="alice", revoked_at=NOW - DAY), revocation(subject="alice", revoked_at=NOW)],
            BY_SUBJECT,
        ),
        ([revocation(subject="alice", revoked_at=NOW - DAY)], {"issued at no time"}),
        # By a claim that a later release has added.
        ([revocation()], set()),
        ([], set()),
    ],
)
def test_the_revoked_tokens_are_those_of_an_id_and_those_that_a_subject_had(
    known: RevokedTokens, revoked: list[Revocation], expected: set[str]
) -> None:
    for each in revoked:
        known.add(each)
    assert {name for name, identity in TOKENS.items() if known.has(identity)} == expected


@pytest.mark.parametrize("claim", ["jti", "subject"])
def test_what_is_known_already_is_not_new_and_is_kept_until_its_last_end(known: RevokedTokens, claim: str) -> None:
    values: dict[str, Any] = {claim: "x", "revoked_at": NOW}
    adds = [known.add(revocation(**values, expires_at=NOW + end)) for end in (DAY, 2 * DAY, DAY)]
    assert adds == [True, False, False]
    end = (NOW + 2 * DAY).timestamp() + LEEWAY_S
    for at, left in ((end - 1, 1), (end + 1, 0)):
        known.forget(at)
        assert len(known) == left


# --- at a gateway ---------------------------------------------------------------------------------------------


async def test_a_notification_revokes_a_token_that_was_verified_before(
    knowing: Client, actor: ScriptedBooking
) -> None:
    stolen, other = token("alice", jti="stolen"), token("alice", jti="other")
    assert [await status(knowing, each) for each in (stolen, other)] == [200, 200]
    await actor.notify(TokensRevoked(revocation=revocation("stolen")))
    await is_refused(knowing, stolen)
    assert await status(knowing, other) == 200
    await actor.notify(TokensRevoked(revocation=revocation(subject="alice")))
    await is_refused(knowing, other)
    shown = knowing.app[METRICS].registry.get_sample_value("holdfast_revocations")
    assert (await status(knowing, token("bob")), shown) == (200, 2)


async def test_open_sockets_of_revoked_tokens_are_closed_and_no_others(
    knowing: Client, actor: ScriptedBooking
) -> None:
    """Whether the token came in the header or in a message; and of operators, too."""
    first = await knowing.ws_connect("/ws", headers=bearer("alice", jti="one"))
    second = await knowing.ws_connect("/ws")
    await second.send_json({"type": "auth", "token": token("alice", jti="two")})
    operator = await knowing.ws_connect("/ws", headers=bearer("alice", jti="two", scope="holdfast:read"))
    waiting = await knowing.ws_connect("/ws")
    for socket in (first, second, operator):  # each has been admitted when it is answered
        await socket.send_str("nonsense")
        assert (await socket.receive_json(timeout=10))["type"] == "error"
    await actor.notify(TokensRevoked(revocation=revocation("two")))
    for socket in (second, operator):
        assert await closed(socket) == (4401, "The token was revoked")
    await first.send_str("nonsense")
    assert (await first.receive_json(timeout=10))["type"] == "error"
    await waiting.send_json({"type": "auth", "token": token("alice", jti="two")})
    assert (await closed(waiting))[0] == 4401


async def test_a_socket_whose_token_is_revoked_while_it_is_opened_is_closed(
    knowing: Client, actor: ScriptedBooking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revoked_meanwhile(request: Any) -> Any:
        request.app[REVOKED].add(revocation("one"))
        return await upgrade(request)

    monkeypatch.setattr("gateway.session.upgrade", revoked_meanwhile)
    socket = await knowing.ws_connect("/ws", headers=bearer("alice", jti="one"))
    assert (await closed(socket))[0] == 4401


async def test_a_revoked_token_renews_no_socket(knowing: Client, actor: ScriptedBooking) -> None:
    await actor.notify(TokensRevoked(revocation=revocation("two")))
    await is_refused(knowing, token("alice", jti="two"))
    socket = await knowing.ws_connect("/ws", headers=bearer("alice", jti="one"))
    await socket.send_json({"type": "auth", "token": token("alice", jti="two")})
    assert (await socket.receive_json(timeout=10))["code"] == "unauthorized"


# --- known before it is ready, and whatever is lost -------------------------------------------------------------


async def test_a_gateway_is_not_ready_until_it_has_read_all_and_accepts_no_token(
    start: Gateway, actor: ScriptedBooking
) -> None:
    """Events, which need no token, are served."""
    revoked = [revocation(f"t-{number}") for number in range(3)]
    answered = asyncio.Event()
    database = Database(actor, *revoked)
    actor.on(ListRevocations, lambda message: database._list(message) if answered.is_set() else SILENCE)
    gateway = await start(revocations_read_seconds=RARELY, answer_seconds=0.2)
    assert (await gateway.get("/health/ready")).status == 503
    assert "revocations" in await gateway.app[HEALTH].problems()
    for sent in (token("alice", jti="t-0"), token("alice")):
        answer = await gateway.get("/bookings", headers={"Authorization": f"Bearer {sent}"})
        assert (answer.status, (await answer.json())["code"]) == (503, "unavailable")
    assert (await gateway.get("/docs")).status == 200
    socket = await gateway.ws_connect("/ws")
    await socket.send_json({"type": "auth", "token": token("alice")})
    assert (await closed(socket))[0] == 1013
    answered.set()
    await until(lambda: ready(gateway))
    assert [await status(gateway, token("alice", jti=f"t-{number}")) for number in range(4)] == [401, 401, 401, 200]
    assert {message.limit for message in actor.messages(ListRevocations)} == {PAGE}


async def test_a_gateway_waits_for_the_booking_actor_however_its_replies_fail(
    start: Gateway, actor: ScriptedBooking
) -> None:
    replies: list[Any] = [Unavailable(), {"strange": 1}, {"items": [{"jti": "t-0"}]}, {"items": [], "next": None}]
    actor.on(ListRevocations, lambda _: replies.pop(0))
    gateway = await start(revocations_read_seconds=RARELY)
    await until(lambda: ready(gateway))
    assert replies == []


async def test_a_revocation_whose_notification_was_lost_is_found(start: Gateway, actor: ScriptedBooking) -> None:
    database = Database(actor)
    gateway = await start(revocations_read_seconds=0.05)
    await until(lambda: ready(gateway))
    database.revocations = [revocation("one"), revocation(subject="bob")]
    await is_refused(gateway, token("alice", jti="one"), token("bob"))


async def test_all_is_read_again_when_notifications_were_missed(
    knowing: Client, actor: ScriptedBooking, redis_url: str
) -> None:
    Database(actor, revocation("one"))
    await flush(redis_url)
    await is_refused(knowing, token("alice", jti="one"))


async def test_what_is_known_stays_in_force_whatever_a_later_read_finds(
    start: Gateway, actor: ScriptedBooking
) -> None:
    """An older backup was restored, or booking does not answer any more."""
    database = Database(actor, revocation("one"))
    gateway = await start(revocations_read_seconds=0.02, answer_seconds=0.2)
    await until(lambda: ready(gateway))
    for reply in (lambda _: {"items": [], "next": None}, lambda _: SILENCE):
        actor.on(ListRevocations, reply)
        reads = len(actor.messages(ListRevocations))
        await actor.wait_for(ListRevocations, reads + 3)
        assert await status(gateway, token("alice", jti="one")) == 401
        assert await ready(gateway)
    assert database.revocations


async def test_every_gateway_learns_of_a_revocation(start: Gateway, actor: ScriptedBooking) -> None:
    """Of several at once: the notification goes to each of them."""
    Database(actor)
    gateways = [await start(instance=name, revocations_read_seconds=RARELY) for name in ("one", "two")]
    for each in gateways:
        await until(lambda each=each: ready(each))  # type: ignore[misc]
    await actor.notify(TokensRevoked(revocation=revocation("stolen")))
    for each in gateways:
        await is_refused(each, token("alice", jti="stolen"))


async def test_a_gateway_that_reads_none_accepts_all(gateway: Client, actor: ScriptedBooking) -> None:
    """REVOCATIONS_READ_SECONDS=0: it needs no booking actor to be ready."""
    Database(actor, revocation("one"))
    assert await ready(gateway)
    assert await status(gateway, token("alice", jti="one")) == 200
    assert actor.messages(ListRevocations) == []


# --- what operators ask for -----------------------------------------------------------------------------------


async def test_an_operator_revokes_a_token_which_the_gateway_refuses_from_then_on(
    knowing: Client, actor: ScriptedBooking
) -> None:
    """Before any notification: the reply suffices."""
    actor.on(
        RevokeTokens,
        lambda message: revocation(
            **{"jti" if message.claim == "jti" else "subject": message.value}, expires_at=message.expires_at
        ).model_dump(mode="json"),
    )
    key, end = keyed("root", scope="holdfast:admin"), "2040-01-01T00:00:00Z"
    for body, sent in (
        ({"jti": "one", "expires_at": end}, token("alice", jti="one")),
        ({"subject": "bob"}, token("bob")),
    ):
        assert await status(knowing, sent) == 200
        answer = await knowing.post("/admin/tokens/revoke", json=body, headers=key)
        shown = await answer.json()
        assert (answer.status, shown["by"]) == (200, "root")
        assert body.items() <= shown.items()
        assert await status(knowing, sent) == 401
    one, other = actor.messages(RevokeTokens)
    assert [(each.claim, each.value) for each in (one, other)] == [("jti", "one"), ("sub", "bob")]
    assert one.expires_at == datetime(2040, 1, 1, tzinfo=UTC)
    assert abs(other.expires_at - datetime.now(UTC) - REVOKED_FOR) < timedelta(minutes=1)
    assert one.request.operation == "POST /admin/tokens/revoke"
    assert (one.request.key, one.request.subject) == (key["Idempotency-Key"], "root")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jti": "one", "subject": "alice"},
        {"jti": None, "subject": None},
        {"jti": ""},
        {"jti": 5},
        {"subject": "x" * 256},
        {"subject": "a\nb"},
        {"jti": "a\0b"},
        {"jti": "one", "expires_at": 2_000_000_000},
        {"jti": "one", "until": "2040-01-01T00:00:00Z"},
    ],
)
async def test_a_body_that_names_no_tokens_is_refused(knowing: Client, body: dict[str, Any]) -> None:
    answer = await knowing.post("/admin/tokens/revoke", json=body, headers=ADMIN)
    assert (answer.status, (await answer.json())["code"]) == (422, "invalid_request")


async def test_revocations_are_listed_page_by_page(knowing: Client, actor: ScriptedBooking) -> None:
    Database(actor, revocation("one"), revocation(subject="bob"))
    found, cursor = [], ""
    while cursor is not None:
        path = f"/admin/tokens/revoked?limit=1{cursor and f'&cursor={cursor}'}"
        page = await (await knowing.get(path, headers=ADMIN)).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert [(each["jti"], each["subject"], each["by"]) for each in found] == [
        ("one", None, "root"),
        (None, "bob", "root"),
    ]
