"""Recovery codes: the newest of a guest is good for one use, whatever comes late, twice or at once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from hashlib import sha256

import pytest

from booking.guest_handlers import REPEATABLE
from booking.reconciler import FORGET_AGAIN
from booking.recovery_rows import Use
from common.contracts.messages import KeepRecoveryCode, OperatorRequest, Reply, RevokeTokens, UseRecoveryCode
from tests.booking.stage import CODES_LAST, Stage


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def keep(code: str, at: datetime, owner: str = "guest_1") -> KeepRecoveryCode:
    return KeepRecoveryCode(owner=owner, code_hash=hashed(code), made_at=at)


def use(code: str, request: str = "mine") -> UseRecoveryCode:
    return UseRecoveryCode(code_hash=hashed(code), request_hash=hashed(request))


def outcome(reply: Reply) -> str:
    """The guest whose code it was, `kept`, or the code of the error."""
    return reply.error or reply.result.get("owner", "kept")


async def outcomes(stage: Stage, *messages: KeepRecoveryCode | UseRecoveryCode) -> list[str]:
    return [outcome(reply) for reply in await stage.call(*messages)]


@pytest.fixture
async def guests(stage: Stage) -> Stage:
    """Two guests with a booking each."""
    show = await stage.show(10)
    for owner in ("guest_1", "guest_2"):
        await stage.book(show.order(owner=owner))
    return stage


@pytest.fixture
def now(guests: Stage) -> datetime:
    return guests.clock()


async def test_a_code_brings_its_guest_back_once(guests: Stage, now: datetime) -> None:
    (kept,) = await guests.call(keep("a", now))
    assert datetime.fromisoformat(kept.result["expires_at"]) == now + CODES_LAST
    assert await outcomes(guests, keep("b", now, "guest_2")) == ["kept"]
    assert await outcomes(guests, use("a"), use("b"), use("c")) == ["guest_1", "guest_2", "recovery_code_invalid"]
    assert await outcomes(guests, use("a", "another"), use("b", "another")) == ["recovery_code_invalid"] * 2


async def test_the_request_that_used_a_code_is_answered_again_for_a_while(guests: Stage, now: datetime) -> None:
    await guests.call(keep("a", now))
    assert await outcomes(guests, use("a")) == ["guest_1"]
    for ahead, answer in ((0.0, "guest_1"), (0.9, "guest_1"), (1.1, "recovery_code_invalid")):
        guests.clock.ahead = REPEATABLE * ahead
        assert await outcomes(guests, use("a", "another"), use("a")) == ["recovery_code_invalid", answer]


async def test_of_two_requests_in_one_batch_one_uses_the_code(guests: Stage, now: datetime) -> None:
    await guests.call(keep("a", now))
    found = await outcomes(guests, use("a", "x"), use("a", "y"), use("a", "x"), use("a", "y"))
    assert sorted(found) == ["guest_1"] * 2 + ["recovery_code_invalid"] * 2
    assert found[:2] == found[2:]


async def test_of_two_requests_at_once_one_uses_the_code(guests: Stage, now: datetime) -> None:
    """The second waits for the first one's locks, and then sees what that has done."""
    await guests.call(keep("a", now), keep("b", now, "guest_2"))
    async with guests.store.transaction() as rows:
        first = {Use(each.code_hash, each.request_hash) for each in (use("a", "x"), use("b", "x"))}
        assert set((await rows.recovery.use(first, now, now)).values()) == {"guest_1", "guest_2"}
        second = asyncio.create_task(outcomes(guests, use("b", "y"), use("a", "y"), use("a", "x")))
        await guests.until_somebody_waits_for_a_lock()
    assert await second == ["recovery_code_invalid", "recovery_code_invalid", "guest_1"]


@pytest.mark.parametrize("order", [1, -1])
async def test_the_newest_code_counts_in_whatever_order_they_come(guests: Stage, now: datetime, order: int) -> None:
    later = now + timedelta(milliseconds=1)
    made = [keep("old", now), keep("new", later)][::order]
    assert await outcomes(guests, *made[:1]) == ["kept"]
    assert await outcomes(guests, *made[1:]) == ["kept" if order > 0 else "conflict"]
    assert await outcomes(guests, use("old"), use("new")) == ["recovery_code_invalid", "guest_1"]


async def test_of_two_codes_in_one_batch_the_newest_is_kept(guests: Stage, now: datetime) -> None:
    later = now + timedelta(milliseconds=1)
    made = (keep("new", later), keep("old", now), keep("other", now, "guest_2"))
    assert await outcomes(guests, *made) == ["kept", "conflict", "kept"]
    assert await outcomes(guests, use("old"), use("new"), use("other")) == [
        "recovery_code_invalid",
        "guest_1",
        "guest_2",
    ]
    assert len(await guests.rows("SELECT * FROM recovery_codes")) == 2


async def test_a_code_that_is_kept_twice_is_the_same_and_is_not_good_again_after_its_use(
    guests: Stage, now: datetime
) -> None:
    assert await outcomes(guests, keep("a", now), keep("a", now)) == ["kept", "kept"]
    assert await outcomes(guests, use("a")) == ["guest_1"]
    guests.clock.ahead = 2 * REPEATABLE
    assert await outcomes(guests, keep("a", now)) == ["kept"]
    assert await outcomes(guests, use("a")) == ["recovery_code_invalid"]


async def test_a_new_code_is_good_after_the_one_before_was_used(guests: Stage, now: datetime) -> None:
    await outcomes(guests, keep("a", now))
    assert await outcomes(guests, use("a")) == ["guest_1"]
    await outcomes(guests, keep("b", now + timedelta(seconds=1)))
    assert await outcomes(guests, use("a"), use("b")) == ["recovery_code_invalid", "guest_1"]


async def test_a_guest_without_bookings_gets_no_code(guests: Stage, now: datetime) -> None:
    assert await outcomes(guests, keep("a", now, "guest_3"), keep("b", now)) == ["nothing_to_recover", "kept"]
    assert await outcomes(guests, use("a"), use("b")) == ["recovery_code_invalid", "guest_1"]
    assert len(await guests.rows("SELECT * FROM recovery_codes")) == 1


async def test_a_guest_whose_tokens_are_revoked_cannot_come_back_by_an_earlier_code(
    guests: Stage, now: datetime
) -> None:
    """A thief of the token may have made it."""
    await outcomes(guests, keep("a", now), keep("b", now, "guest_2"))
    request = OperatorRequest(subject="root", operation="POST revoke", key=None, content_hash="x")
    await guests.give(RevokeTokens(claim="sub", value="guest_1", expires_at=now + CODES_LAST, request=request))
    assert await outcomes(guests, use("a"), use("b")) == ["recovery_code_invalid", "guest_2"]


async def test_a_code_is_deleted_when_it_has_expired_used_or_not(guests: Stage, now: datetime) -> None:
    await guests.call(keep("a", now), keep("b", now, "guest_2"))
    assert await outcomes(guests, use("b")) == ["guest_2"]
    for ahead, left in ((CODES_LAST - timedelta(minutes=1), 2), (CODES_LAST + FORGET_AGAIN, 0)):
        await guests.reconcile(ahead - guests.clock.ahead)
        assert len(await guests.rows("SELECT * FROM recovery_codes")) == left
    # A message that comes only now makes no code that is good.
    assert await outcomes(guests, keep("a", now)) == ["kept"]
    assert await outcomes(guests, use("a")) == ["recovery_code_invalid"]
    await guests.reconcile(FORGET_AGAIN)
    assert await guests.rows("SELECT * FROM recovery_codes") == []


async def test_an_expired_code_that_is_not_deleted_yet_is_not_good(guests: Stage, now: datetime) -> None:
    await guests.call(keep("a", now))
    guests.clock.ahead = CODES_LAST
    assert await outcomes(guests, use("a")) == ["recovery_code_invalid"]
    guests.clock.ahead = CODES_LAST - timedelta(minutes=1)
    assert await outcomes(guests, use("a")) == ["guest_1"]
