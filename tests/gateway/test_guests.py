"""Guests renew their tokens, and come back by a recovery code or a link. The booking actor is scripted."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import jwt
import pytest
import structlog

from common.contracts.codes import ALPHABET
from common.contracts.errors import LinkInvalid, NothingToRecover, RecoveryCodeInvalid
from common.contracts.messages import BOOKING_COMMANDS, FindGuest, KeepRecoveryCode, ListBookings, UseRecoveryCode
from common.messaging.redis import connect
from gateway.limits import LOAD_SHEDDER
from gateway.recovery_codes import code_hash, new_code
from tests.gateway.conftest import Gateway
from tests.gateway.stage import SECRET, SILENCE, Client, ScriptedBooking, bearer

GUEST = "guest_018f2b6e1f5a7c3d9e215b7c8d9e0f14"
EMPTY: dict[str, Any] = {"items": [], "next": None}


def with_token(answer: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer['token']}"}


def claims(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(answer["token"], SECRET, ["HS256"], audience="holdfast")
    return found


# --- renewal ----------------------------------------------------------------------------------------------


async def test_a_renewed_token_is_the_same_guests_and_the_one_before_stays_valid(
    gateway: Client, actor: ScriptedBooking
) -> None:
    actor.on(ListBookings, EMPTY)
    guest = await (await gateway.post("/auth/guest")).json()
    response = await gateway.post("/auth/guest/renew", headers=with_token(guest))
    renewed = await response.json()
    assert (response.status, set(renewed)) == (201, {"token", "subject", "expires_at"})
    for each in (renewed, guest):
        assert (await gateway.get("/bookings", headers=with_token(each))).status == 200
    owners = [query.owner for query in actor.messages(ListBookings)]
    assert owners == [guest["subject"]] * 2 == [renewed["subject"]] * 2
    assert claims(renewed)["jti"] != claims(guest)["jti"]
    assert "scope" not in claims(renewed)


async def test_a_renewed_token_has_a_new_end_also_where_the_one_before_had_no_id(start: Gateway) -> None:
    """As one of the release before."""
    gateway = await start(auth_token_seconds=600)
    renewed = await (await gateway.post("/auth/guest/renew", headers=bearer(GUEST, exp=time.time() + 60))).json()
    assert renewed["subject"] == GUEST
    assert claims(renewed)["exp"] - claims(renewed)["iat"] == 600
    assert claims(renewed)["exp"] > time.time() + 500


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (bearer("alice"), 403, "guest_token_required"),
        (bearer("root", operator=True), 403, "guest_token_required"),
        (bearer(GUEST, operator=True), 403, "guest_token_required"),
        (bearer(GUEST, exp=time.time() - 60), 401, "unauthorized"),
        (bearer(GUEST, secret="another-secret-of-at-least-32-bytes-in-all"), 401, "unauthorized"),
        ({}, 401, "unauthorized"),
    ],
)
async def test_only_a_guests_valid_token_can_be_renewed(
    gateway: Client, headers: dict[str, str], status: int, code: str
) -> None:
    response = await gateway.post("/auth/guest/renew", headers=headers)
    assert (response.status, (await response.json())["code"]) == (status, code)


async def test_renewals_count_for_the_subject_and_not_as_new_guests(start: Gateway) -> None:
    gateway = await start(rate_limit_per_subject=0.5, guests_per_address_per_minute=1)
    guest = await (await gateway.post("/auth/guest")).json()
    assert (await gateway.post("/auth/guest")).status == 429
    assert (await gateway.post("/auth/guest/renew", headers=with_token(guest))).status == 201
    refused = await gateway.post("/auth/guest/renew", headers=with_token(guest))
    assert (refused.status, (await refused.json())["limited_by"]) == (429, "subject")


async def test_where_there_are_no_guests_nothing_is_renewed(start: Gateway) -> None:
    gateway = await start(auth_guests=False)
    assert (await gateway.post("/auth/guest/renew", headers=bearer(GUEST))).status == 404


# --- recovery codes ---------------------------------------------------------------------------------------

CODE = "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV"
HASH = sha256(CODE.replace("-", "").encode()).hexdigest()
KEY = {"Idempotency-Key": "k-1"}
END = "2030-08-29T09:00:00Z"


def test_codes_cannot_be_guessed_and_are_easy_to_copy() -> None:
    codes = {new_code() for _ in range(1000)}
    assert len(codes) == 1000
    letters = {letter for code in codes for letter in code}
    assert letters == {*ALPHABET, "-"}
    assert not letters & set("OILU")
    assert {tuple(map(len, code.split("-"))) for code in codes} == {(4,) * 7}
    assert len(ALPHABET) ** 28 >= 2**128


@pytest.mark.parametrize(
    "written",
    [
        CODE,
        CODE.lower(),
        CODE.replace("-", ""),
        f" {CODE.replace('-', ' ')} ",
        CODE.replace("0", "O").replace("1", "l"),
        CODE.replace("0", "o").replace("1", "i"),
    ],
)
def test_a_code_is_read_however_it_is_written(written: str) -> None:
    assert code_hash(written) == HASH


@pytest.mark.parametrize("written", ["", CODE[:-1], CODE + "0", CODE.replace("7", "U"), CODE.replace("7", "ü")])
def test_what_can_be_no_code_has_no_hash(written: str) -> None:
    assert code_hash(written) is None


async def test_a_guest_gets_a_code_of_which_only_the_hash_travels(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(KeepRecoveryCode, {"expires_at": END})
    with structlog.testing.capture_logs() as logs:
        response = await gateway.post("/auth/guest/recovery-code", headers=bearer(GUEST))
    made = await response.json()
    assert (response.status, set(made), made["expires_at"]) == (201, {"code", "expires_at"}, END)
    (message,) = actor.messages(KeepRecoveryCode)
    assert (message.owner, message.code_hash) == (GUEST, code_hash(made["code"]))
    assert abs((message.made_at - datetime.now(UTC)).total_seconds()) < 30
    other = await (await gateway.post("/auth/guest/recovery-code", headers=bearer(GUEST))).json()
    assert other["code"] != made["code"]
    assert "recovery-code" in str(logs)
    assert made["code"] not in str(logs)


@pytest.mark.parametrize("headers", [bearer("alice"), bearer(GUEST, operator=True), bearer("root", operator=True)])
async def test_only_a_guest_gets_a_code(gateway: Client, actor: ScriptedBooking, headers: dict[str, str]) -> None:
    response = await gateway.post("/auth/guest/recovery-code", headers=headers)
    assert (response.status, (await response.json())["code"]) == (403, "guest_token_required")
    assert actor.received == []


async def test_a_guest_without_bookings_gets_no_code(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(KeepRecoveryCode, NothingToRecover())
    response = await gateway.post("/auth/guest/recovery-code", headers=bearer(GUEST))
    assert (response.status, (await response.json())["code"]) == (409, "nothing_to_recover")


async def test_a_code_gives_a_token_of_its_guest(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(UseRecoveryCode, {"owner": GUEST})
    actor.on(ListBookings, EMPTY)
    response = await gateway.post("/auth/guest/recover", json={"code": CODE.lower()}, headers=KEY)
    recovered = await response.json()
    assert (response.status, set(recovered)) == (201, {"token", "subject", "expires_at"})
    assert "Location" not in response.headers
    assert (await gateway.get("/bookings", headers=with_token(recovered))).status == 200
    assert [query.owner for query in actor.messages(ListBookings)] == [GUEST]


async def test_a_request_is_known_by_its_code_and_its_key(gateway: Client, actor: ScriptedBooking) -> None:
    """However the code is written; and a key that is the code itself is not sent on."""
    actor.on(UseRecoveryCode, {"owner": GUEST})
    other = CODE.replace("V", "W")
    for code, key in ((CODE, "k-1"), (CODE.lower(), "k-1"), (CODE, "k-2"), (other, "k-1"), (CODE, CODE)):
        headers = {"Idempotency-Key": key}
        assert (await gateway.post("/auth/guest/recover", json={"code": code}, headers=headers)).status == 201
    same, again, *others = [message.request_hash for message in actor.messages(UseRecoveryCode)]
    assert same == again
    assert len({same, *others}) == 4
    assert [message.code_hash == HASH for message in actor.messages(UseRecoveryCode)] == [True] * 3 + [False, True]


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        (CODE, True),
        ("not a code", False),
        (CODE[:-1], False),
        (CODE + "0", False),
        ("\0", False),
        ("💸" * 50, False),
    ],
)
async def test_wrong_codes_have_one_answer(gateway: Client, actor: ScriptedBooking, code: str, asked: bool) -> None:
    actor.on(UseRecoveryCode, RecoveryCodeInvalid())
    response = await gateway.post("/auth/guest/recover", json={"code": code}, headers=KEY)
    problem = await response.json()
    assert (response.status, problem["code"]) == (403, "recovery_code_invalid")
    assert problem["detail"] == RecoveryCodeInvalid.title
    assert bool(actor.received) is asked


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        ({"code": CODE}, {}, 400, "idempotency_key_required"),
        ({}, KEY, 422, "invalid_request"),
        ({"code": ""}, KEY, 422, "invalid_request"),
        ({"code": "0" * 101}, KEY, 422, "invalid_request"),
        ({"code": 1}, KEY, 422, "invalid_request"),
        ({"code": CODE, "more": 1}, KEY, 422, "invalid_request"),
    ],
)
async def test_a_request_of_a_wrong_form_uses_no_code(
    gateway: Client, actor: ScriptedBooking, body: dict[str, Any], headers: dict[str, str], status: int, code: str
) -> None:
    response = await gateway.post("/auth/guest/recover", json=body, headers=headers)
    assert (response.status, (await response.json())["code"]) == (status, code)
    assert CODE not in await response.text()
    assert actor.received == []


async def test_each_try_counts_like_a_new_guest_of_its_address(start: Gateway, actor: ScriptedBooking) -> None:
    actor.on(UseRecoveryCode, RecoveryCodeInvalid())
    gateway = await start(guests_per_address_per_minute=3, trusted_proxies=1)
    here, elsewhere = {"X-Forwarded-For": "1.1.1.1"}, {"X-Forwarded-For": "2.2.2.2"}
    assert (await gateway.post("/auth/guest", headers=here)).status == 201
    statuses = [
        (await gateway.post("/auth/guest/recover", json={"code": code}, headers=KEY | here)).status
        for code in (CODE, "nonsense", CODE)
    ]
    assert statuses == [403, 403, 429]
    refused = await gateway.post("/auth/guest/recover", json={"code": CODE}, headers=KEY | here)
    assert (await refused.json())["limited_by"] == "guests"
    assert (await gateway.post("/auth/guest/recover", json={"code": CODE}, headers=KEY | elsewhere)).status == 403


async def test_without_an_answer_the_request_may_be_repeated(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(answer_seconds=0.1)
    actor.on(UseRecoveryCode, SILENCE)
    lost = await gateway.post("/auth/guest/recover", json={"code": CODE}, headers=KEY)
    assert (lost.status, (await lost.json())["code"]) == (503, "timeout")
    assert "Retry-After" in lost.headers


async def test_no_code_is_tried_while_booking_is_behind(start: Gateway, redis_url: str) -> None:
    gateway = await start(mailbox_limit=1, mailbox_sample_ms=10_000)
    async with connect(redis_url) as redis:
        for _ in range(2):
            await redis.xadd(BOOKING_COMMANDS, {"some": "work"})
    await gateway.app[LOAD_SHEDDER].sample()
    assert (await gateway.post("/auth/guest/recover", json={"code": CODE}, headers=KEY)).status == 503
    assert (await gateway.post("/auth/guest/recovery-code", headers=bearer(GUEST))).status == 503
    assert (await gateway.post("/auth/guest/renew", headers=bearer(GUEST))).status == 201


# --- links ------------------------------------------------------------------------------------------------

LINK = {"reference": "HF-5WE8-Y3KA", "token": "Zk9v3mBqT0eWc1xYpL7hJg"}


async def test_a_link_gives_a_token_of_its_guest_as_often_as_it_is_used(
    gateway: Client, actor: ScriptedBooking
) -> None:
    actor.on(FindGuest, {"owner": GUEST})
    for _ in range(2):
        response = await gateway.post("/auth/guest/link", json=LINK)
        found = await response.json()
        assert (response.status, found["subject"], claims(found)["sub"]) == (201, GUEST, GUEST)
    hashed = sha256(LINK["token"].encode()).hexdigest()
    assert actor.messages(FindGuest) == [FindGuest(reference=LINK["reference"], link_hash=hashed)] * 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (LINK, 403, "link_invalid"),
        ({**LINK, "token": "💸"}, 403, "link_invalid"),
        ({**LINK, "token": ""}, 422, "invalid_request"),
        ({**LINK, "token": "x" * 101}, 422, "invalid_request"),
        ({**LINK, "reference": "x"}, 422, "invalid_request"),
        ({"reference": LINK["reference"]}, 422, "invalid_request"),
    ],
)
async def test_a_link_that_is_not_good_lets_nobody_in(
    gateway: Client, actor: ScriptedBooking, body: dict[str, str], status: int, code: str
) -> None:
    actor.on(FindGuest, LinkInvalid())
    response = await gateway.post("/auth/guest/link", json=body)
    assert (response.status, (await response.json())["code"]) == (status, code)


async def test_each_link_counts_like_a_new_guest_of_its_address(start: Gateway, actor: ScriptedBooking) -> None:
    actor.on(FindGuest, LinkInvalid())
    gateway = await start(guests_per_address_per_minute=2)
    statuses = [(await gateway.post("/auth/guest/link", json=LINK)).status for _ in range(3)]
    assert statuses == [403, 403, 429]
