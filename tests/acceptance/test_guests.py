"""A guest goes on: with another token before its own ends, and on another device by a recovery code."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.acceptance.client import Answer, Client
from tests.acceptance.database_rows import rows
from tests.acceptance.holdfast import Holdfast

pytestmark = pytest.mark.timeout(120)


async def recover(holdfast: Holdfast, code: str, key: str = "mine") -> Answer:
    headers = {"Idempotency-Key": key}
    return await holdfast.anybody.request("POST", "/auth/guest/recover", json={"code": code}, headers=headers)


def of_token(holdfast: Holdfast, answer: Answer) -> Client:
    return Client(holdfast.session, holdfast.url, answer.ok(201)["token"])


async def new_code(guest: Client) -> str:
    return str((await guest.request("POST", "/auth/guest/recovery-code")).ok(201)["code"])


async def test_a_guest_comes_back_on_another_device_and_pays_there(holdfast: Holdfast) -> None:
    event, guest = await holdfast.event((900, 5)), await holdfast.guest()
    booking = (await guest.book(event, 1)).ok(201)
    code = await new_code(guest)
    first = await recover(holdfast, code)
    device = of_token(holdfast, first)
    async with device.live() as live:
        await holdfast.stripe.pay(await device.booking(booking["id"]))
        await live.until(booking["id"], "confirmed")
    assert (await guest.booking(booking["id"]))["status"] == "confirmed"  # both devices are the same guest

    again = await recover(holdfast, code)  # the answer was lost: the same request
    assert again.ok(201)["subject"] == first.ok(201)["subject"]
    assert (await recover(holdfast, code, "another")).code == "recovery_code_invalid"
    newer = await new_code(device)
    assert (await recover(holdfast, newer)).status == 201

    text = "".join(path.read_text() for path in holdfast.stack.logs.glob("*.log"))
    kept = str(await rows(holdfast.stack.booking_database_url, "recovery_codes"))
    for secret in (code, newer):
        for written in (secret, secret.replace("-", "")):
            assert written not in text
            assert written not in kept


async def test_of_many_who_use_one_code_at_once_one_gets_a_token(holdfast: Holdfast) -> None:
    guest = await holdfast.guest()
    (await guest.book(await holdfast.event((0, 5)), 1)).ok(201)
    code = await new_code(guest)
    answers = await asyncio.gather(*(recover(holdfast, code, f"key-{number}") for number in range(10)))
    assert Counter(answer.code for answer in answers) == {None: 1, "recovery_code_invalid": 9}


async def test_a_renewed_token_owns_the_same_bookings(holdfast: Holdfast) -> None:
    guest = await holdfast.guest()
    booking = (await guest.book(await holdfast.event((0, 5)), 1)).ok(201)
    renewed = of_token(holdfast, await guest.request("POST", "/auth/guest/renew"))
    assert (await renewed.booking(booking["id"]))["id"] == booking["id"]
    assert (await holdfast.client().request("POST", "/auth/guest/renew")).code == "guest_token_required"
