"""What needs a person: each actor answers for its part."""

from __future__ import annotations

from typing import Any

import pytest

from common.contracts.errors import Timeout, Unavailable
from common.contracts.messages import GetAttention, GetPaymentAttention
from gateway.examples import ATTENTION
from tests.gateway.conftest import Gateway
from tests.gateway.stage import SILENCE, Client, ScriptedBooking, bearer

REFUNDS, LETTERS = ATTENTION["items"]
DISPUTES: dict[str, Any] = REFUNDS | {"kind": "dispute"}
NEWER: dict[str, Any] = REFUNDS | {"kind": "of_a_later_release"}


async def get(gateway: Client) -> tuple[int, Any]:
    response = await gateway.get("/admin/attention", headers=bearer("ann", scope="holdfast:read"))
    return response.status, await response.json()


async def test_the_parts_are_one_list_with_money_first(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetAttention, {"items": [NEWER, LETTERS, REFUNDS]})
    actor.on(GetPaymentAttention, {"items": [LETTERS | {"mailbox": "payment.commands"}, DISPUTES]})
    status, found = await get(gateway)
    assert (status, found["missing"]) == (200, [])
    kinds = [(each["kind"], each["mailbox"]) for each in found["items"]]
    assert kinds == [
        ("refund_failed", None),
        ("dispute", None),
        ("dead_letters", "booking.payments"),
        ("dead_letters", "payment.commands"),
        ("of_a_later_release", None),
    ]
    assert found["items"][0] == REFUNDS


@pytest.mark.parametrize("reply", [SILENCE, Timeout(), Unavailable("full")])
async def test_what_one_actor_knows_is_shown_while_the_other_does_not_answer(
    start: Gateway, actor: ScriptedBooking, reply: Any
) -> None:
    gateway = await start(answer_seconds=0.2 if reply is SILENCE else 5)
    actor.on(GetAttention, {"items": [REFUNDS]})
    actor.on(GetPaymentAttention, reply)
    status, found = await get(gateway)
    assert (status, found["items"], found["missing"]) == (200, [REFUNDS], ["payment"])
    actor.on(GetPaymentAttention, {"items": []})
    actor.on(GetAttention, reply)
    status, found = await get(gateway)
    assert (status, found["items"], found["missing"]) == (200, [], ["booking"])


async def test_where_no_actor_answers_the_request_fails(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetAttention, Unavailable("full"))
    actor.on(GetPaymentAttention, Timeout())
    status, problem = await get(gateway)
    assert (status, problem["code"]) == (503, "unavailable")
