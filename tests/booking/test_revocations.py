"""Revoked tokens are rows until they have ended: revoked twice they are one row, and each change is published."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from booking.reconciler import REVOCATIONS_KEPT
from common.contracts.messages import ListRevocations, OperatorRequest, Reply, RevokeTokens, TokensRevoked
from common.contracts.resources import Revocation
from tests.booking.stage import Clock, Stage, of

Claim = Literal["jti", "sub"]
NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def at(stage: Stage) -> Clock:
    """The clock of the stage, which stands still at NOW."""
    clock = Clock(NOW)
    stage.revocation_handlers._clock = stage.reconciler._clock = clock
    return clock


def revoking(claim: Claim, value: str, expires_at: datetime = NOW + DAY, key: str | None = None) -> RevokeTokens:
    request = OperatorRequest(subject="root", operation="POST revoke", key=key, content_hash=value)
    return RevokeTokens(claim=claim, value=value, expires_at=expires_at, request=request)


async def revoke(stage: Stage, message: RevokeTokens) -> Revocation:
    """The answer, which must also be published."""
    envelopes = await stage.give(message)
    ((reply,), (notification,)) = of(envelopes, Reply), of(envelopes, TokensRevoked)
    assert reply.error is None, reply
    assert notification.revocation == Revocation.model_validate(reply.result)
    assert notification.topics() == ("revocations",)
    return notification.revocation


async def listed(stage: Stage, limit: int = 50, before: Any = None) -> tuple[list[Revocation], Any]:
    (reply,) = await stage.call(ListRevocations(limit=limit, before=before))
    return [Revocation.model_validate(each) for each in reply.result["items"]], reply.result["next"]


async def test_a_token_or_all_of_a_subject_are_revoked(stage: Stage, at: Clock) -> None:
    one = await revoke(stage, revoking("jti", "t-1"))
    assert one == Revocation(jti="t-1", revoked_at=NOW, expires_at=NOW + DAY, by="root")
    at.ahead = SECOND
    all_of = await revoke(stage, revoking("sub", "t-1"))
    assert all_of == Revocation(subject="t-1", revoked_at=NOW + SECOND, expires_at=NOW + DAY, by="root")
    assert await listed(stage) == ([all_of, one], None)


@pytest.mark.parametrize("claim", ["jti", "sub"])
@pytest.mark.parametrize(("again", "ends"), [(DAY / 2, DAY), (DAY, DAY), (2 * DAY, 2 * DAY)])
async def test_what_is_revoked_again_is_one_row_that_ends_no_sooner(
    stage: Stage, at: Clock, claim: Claim, again: timedelta, ends: timedelta
) -> None:
    """Tokens that were issued in between are revoked as well."""
    await revoke(stage, revoking(claim, "t-1"))
    at.ahead = SECOND
    second = await revoke(stage, revoking(claim, "t-1", NOW + again))
    assert (second.revoked_at, second.expires_at) == (NOW + SECOND, NOW + ends)
    assert await listed(stage) == ([second], None)


async def test_a_repeated_request_is_published_again_and_changes_nothing(stage: Stage, at: Clock) -> None:
    first = await revoke(stage, revoking("sub", "mallory", key="k-1"))
    at.ahead = 2 * DAY  # by now the tokens have ended, which refuses a new request alone
    assert await revoke(stage, revoking("sub", "mallory", key="k-1")) == first
    assert await listed(stage) == ([first], None)


async def test_concurrent_revocations_are_one_row(stage: Stage, at: Clock) -> None:
    await asyncio.gather(*(revoke(stage, revoking("sub", "mallory")) for _ in range(6)))
    (one,), _ = await listed(stage)
    assert one.subject == "mallory"


@pytest.mark.parametrize("end", [timedelta(), -SECOND])
async def test_tokens_that_have_ended_are_not_revoked(stage: Stage, at: Clock, end: timedelta) -> None:
    envelopes = await stage.give(revoking("jti", "t-1", NOW + end))
    (reply,) = of(envelopes, Reply)
    assert (reply.error, reply.extra["errors"][0]["loc"]) == ("invalid_request", ["body", "expires_at"])
    assert of(envelopes, TokensRevoked) == []
    assert await listed(stage) == ([], None)


async def test_pages_have_each_revocation_once_newest_first(stage: Stage, at: Clock) -> None:
    """Also where several were asked for at the same time."""
    for number in range(7):
        at.ahead = number // 3 * SECOND
        await revoke(stage, revoking("jti", f"t-{number}"))
    pages, before = [], None
    while True:
        page, before = await listed(stage, 2, before)
        pages.append(page)
        if before is None:
            break
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    found = [each for page in pages for each in page]
    assert {each.jti for each in found} == {f"t-{number}" for number in range(7)}
    assert [each.revoked_at for each in found] == sorted((each.revoked_at for each in found), reverse=True)


async def test_a_revocation_is_deleted_some_time_after_its_tokens_have_ended(stage: Stage, at: Clock) -> None:
    await revoke(stage, revoking("jti", "soon", NOW + DAY))
    later = await revoke(stage, revoking("jti", "later", NOW + DAY + 2 * SECOND))
    for ahead, left in ((DAY + REVOCATIONS_KEPT, 2), (DAY + REVOCATIONS_KEPT + SECOND, 1)):
        at.ahead, stage.reconciler._forget_at = ahead, None
        await stage.reconciler.run_once()
        found, _ = await listed(stage)
        assert len(found) == left
    assert found == [later]
