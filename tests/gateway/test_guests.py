"""Guests renew their tokens, and come back by a recovery code. The booking actor is scripted."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from common.contracts.messages import ListBookings
from tests.gateway.conftest import Gateway
from tests.gateway.stage import SECRET, Client, ScriptedBooking, bearer

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
