"""Mails about a booking, as operators list them and send one again."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from common.contracts.errors import MailNotPossible
from common.contracts.messages import ListMails, ResendMail
from gateway.examples import MAIL
from tests.gateway.stage import Client, ScriptedBooking, bearer

ID = uuid4()
PATH = f"/admin/bookings/{ID}/mails"
BOX_OFFICE = bearer("till", scope="holdfast:box-office")


async def test_a_bookings_mails_are_listed(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListMails, {"items": [MAIL], "next": None})
    response = await gateway.get(PATH, headers=bearer("ann", scope="holdfast:read"))
    assert (response.status, (await response.json())["items"]) == (200, [MAIL])
    (message,) = actor.messages(ListMails)
    assert (message.booking_id, message.owner) == (ID, None)


async def test_a_mail_is_sent_again_once_for_a_key(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ResendMail, MAIL)
    for _ in range(2):
        headers = BOX_OFFICE | {"Idempotency-Key": "k-1"}
        response = await gateway.post(PATH, json={"kind": "confirmation"}, headers=headers)
        assert (response.status, await response.json()) == (202, MAIL)
    first, again = actor.messages(ResendMail)
    assert first == again
    assert (first.booking_id, first.kind, first.requester) == (ID, "confirmation", "till")


@pytest.mark.parametrize(
    "body", [{}, {"kind": "attention"}, {"kind": "other"}, {"kind": "refund", "to": "x@y.org"}]
)
async def test_what_is_no_kind_is_refused(gateway: Client, actor: ScriptedBooking, body: dict[str, Any]) -> None:
    response = await gateway.post(PATH, json=body, headers=BOX_OFFICE)
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.messages(ResendMail) == []


async def test_a_mail_that_cannot_be_sent_is_409(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ResendMail, MailNotPossible("The booking has no customer to write to"))
    response = await gateway.post(PATH, json={"kind": "refund"}, headers=BOX_OFFICE)
    problem = await response.json()
    assert (response.status, problem["code"]) == (409, "mail_not_possible")
    assert "no customer" in problem["detail"]
