"""The Python client's requests, its idempotency keys and its tokens, against a played gateway."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from holdfast_client import FileStorage, Holdfast, HoldfastError, Issued, Listing, MemoryStorage, Request
from holdfast_client.rest import ATTEMPTS
from tests.clients.stage import EVENT, LOST, Answer, Clock, Gateway, Seen, booking, guest, problem

Make = Callable[..., Awaitable[Holdfast]]
SEATS: Any = {"event_id": EVENT, "quantity": 1}
HOUR = 3600.0


async def refreshed(holdfast: Holdfast) -> None:
    """Wait until the renewal is over that goes on beside the requests."""
    task = holdfast._tokens._refreshing
    assert task is not None
    await asyncio.wait([task])


async def failing(action: Awaitable[Any]) -> HoldfastError:
    with pytest.raises(HoldfastError) as raised:
        await action
    return raised.value


# --- requests


async def test_values_are_sent_as_the_interface_reads_them(gateway: Gateway, client: Make) -> None:
    holdfast = await client(token="own")
    gateway.answers = [Answer({"items": []}), Answer(booking("b", 1)), Answer({"id": EVENT})]
    await holdfast.events({"q": "Jazz & more", "on_sale": True, "from": datetime(2030, 5, 1, tzinfo=UTC)})
    await holdfast.book(SEATS, key="mine", wait_s=2)
    await holdfast.admin.update_event("a/b", {"starts_at": datetime(2030, 5, 1, tzinfo=UTC)}, if_match=7)
    listed, booked, updated = gateway.requests
    assert (listed.token, listed.query) == (None, "q=Jazz+%26+more&on_sale=true&from=2030-05-01T00:00:00%2B00:00")
    assert (booked.token, booked.headers["Prefer"], gateway.keys[1]) == ("own", "wait=2", "mine")
    assert (booked.headers["Content-Type"], json.loads(booked.body)) == ("application/json", SEATS)
    assert (updated.operation, updated.headers["If-Match"]) == ("PATCH /admin/events/a/b", '"7"')
    assert json.loads(updated.body) == {"starts_at": "2030-05-01T00:00:00+00:00"}


async def test_a_check_in_is_sent_again_with_the_same_id(gateway: Gateway, client: Make, clock: Clock) -> None:
    """With another one the ticket would be used already."""
    holdfast = await client(token="own")
    gateway.answers = [LOST, Answer({}), Answer({})]
    clock.quick = True
    await holdfast.admin.check_in({"code": "AE"})
    await holdfast.admin.check_in({"code": "AE", "id": EVENT})
    lost, again, own = [json.loads(seen.body) for seen in gateway.requests]
    assert lost == again
    assert lost["code"] == "AE"
    assert str(UUID(lost["id"])) == lost["id"]
    assert own["id"] == EVENT


QUEUED = Answer({"kind": "queued", "status": "pending", "version": 0}, 202)


@pytest.mark.parametrize(
    ("answer", "pauses"),
    [
        (LOST, (0.25, 0.5)),
        (problem(429, "too_many_requests", 3), (3.25, 3.5)),
        (problem(503, "unavailable", "Wed, 01 May 2030 12:00:05 GMT"), (5.25, 0.5)),
        (Answer(b"<html>", 502, content_type="text/html"), (0.25, 0.5)),
        (Answer(b"", 504), (0.25, 0.5)),
        (QUEUED, (0.25, 0.5)),
    ],
    ids=["no answer", "429", "503 with a date", "502 of a proxy", "504 of a proxy", "queued"],
)
async def test_what_can_pass_is_sent_again_with_the_same_key(
    gateway: Gateway, client: Make, clock: Clock, answer: Answer, pauses: tuple[float, float]
) -> None:
    holdfast = await client(token="own")
    gateway.answers = [answer, answer, Answer(booking("b", 1), 201)]
    task = asyncio.create_task(holdfast.book(SEATS))
    for pause in pauses:
        await clock.wake(pause)
    assert (await task)["id"] == "b"
    assert len(set(gateway.keys)) == 1
    assert len(gateway.keys) == 3


@pytest.mark.parametrize(
    ("status", "code"), [(400, "malformed_request"), (403, "forbidden"), (409, "sold_out"), (500, "internal_error")]
)
async def test_what_lasts_is_raised_at_once(gateway: Gateway, client: Make, status: int, code: str) -> None:
    holdfast = await client(token="own")
    gateway.answers = [problem(status, code, 30, booking_id="b")]
    error = await failing(holdfast.book(SEATS))
    assert (error.code, error.status, error.retry_after_s, error.retryable) == (code, status, 30, False)
    assert (str(error), error.problem and error.problem["booking_id"]) == (f"It is {code}", "b")


async def test_pauses_double_up_to_a_longest_one(gateway: Gateway, client: Make, clock: Clock) -> None:
    holdfast = await client(token="own")
    gateway.answers = [LOST] * ATTEMPTS
    clock.quick = True
    # A GET whose connection breaks aiohttp itself sends once more, at once.
    assert (await failing(holdfast.payment_intent("b"))).code == "unreachable"
    assert clock.slept == [0.25, 0.5, 1, 2, 4, 8, 10]
    assert len(gateway.requests) == ATTEMPTS


async def test_a_long_retry_after_is_left_to_the_caller(gateway: Gateway, client: Make) -> None:
    holdfast = await client(token="own")
    gateway.answers = [problem(503, "unavailable", 61)]
    error = await failing(holdfast.booking("b"))
    assert (error.code, error.retry_after_s, error.retryable) == ("unavailable", 61, True)


async def test_a_list_is_its_first_page_or_all_of_its_items(gateway: Gateway, client: Make) -> None:
    holdfast = await client()
    first, second = {"items": [1, 2], "next_cursor": "more"}, {"items": [3], "next_cursor": None}
    gateway.answers = [Answer(first), Answer(first), Answer(second)]
    events: Listing[Any] = holdfast.list(Request("GET /events", query={"limit": 2}, anyone=True))
    assert await events == first
    assert [item async for item in events] == [1, 2, 3]
    assert [seen.query for seen in gateway.requests] == ["limit=2", "limit=2", "limit=2&cursor=more"]


async def test_an_operation_that_the_client_does_not_know_is_sent(gateway: Gateway, client: Make) -> None:
    holdfast = await client(token="own")
    gateway.answers = [Answer(status=204), Answer(b"<svg/>", content_type="image/svg+xml"), Answer(b"<html>")]
    put = Request("PUT /x/{id}", {"id": "1"}, body=b"...", content_type="image/png")
    assert await holdfast.request(put) is None
    assert await holdfast.request(Request("GET /x.svg", raw=True)) == b"<svg/>"
    assert (gateway.requests[0].body, gateway.requests[0].headers["Content-Type"]) == (b"...", "image/png")
    assert (await failing(holdfast.request(Request("GET /x")))).code == "http_200"


async def test_each_file_has_a_key_of_its_own_and_the_same_one_again(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    clock.quick = True
    holdfast = await client(token="own")
    gateway.answers = [*[problem(503, "unavailable")] * ATTEMPTS, Answer({}), Answer({})]
    assert (await failing(holdfast.admin.set_event_image(EVENT, b"one"))).code == "unavailable"
    await holdfast.admin.set_event_image(EVENT, b"two")
    await holdfast.admin.set_event_image(EVENT, b"one")
    first, two, again = gateway.keys[ATTEMPTS - 1 :]
    assert first == again != two
    assert [seen.body for seen in gateway.requests[-2:]] == [b"two", b"one"]


# --- keys


async def test_after_lost_answers_the_same_call_goes_on_in_another_process(
    gateway: Gateway, client: Make, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "tickets.json"
    before = await client(token="own", storage=FileStorage(file))
    gateway.answers = [LOST] * ATTEMPTS
    clock.quick = True
    await failing(before.book(SEATS))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert EVENT not in file.read_text()

    after = await client(token="own", storage=FileStorage(file))
    gateway.answers = [Answer(booking(id, 1), 201) for id in "abc"]
    await after.book(SEATS | {"quantity": 2})  # another intention
    await after.book(SEATS)
    await after.book(SEATS)  # the outcome was known: another booking
    first, other, same, third = gateway.keys[ATTEMPTS - 1 :]
    assert first == same
    assert len({first, other, third}) == 3
    assert json.loads(file.read_text()) == {}


@pytest.mark.parametrize(
    ("status", "code", "kept"),
    [(409, "sold_out", False), (401, "unauthorized", True), (500, "internal_error", True)],
)
async def test_a_key_is_kept_until_the_outcome_is_known(
    gateway: Gateway, client: Make, status: int, code: str, kept: bool
) -> None:
    holdfast = await client(token="own")
    gateway.answers = [problem(status, code), Answer(booking("b", 1))]
    await failing(holdfast.book(SEATS))
    await holdfast.book(SEATS)
    assert (gateway.keys[0] == gateway.keys[1]) is kept


async def test_a_call_that_is_cancelled_keeps_its_key(gateway: Gateway, client: Make) -> None:
    arrived: asyncio.Event = asyncio.Event()

    async def never(_: Seen) -> Answer:
        arrived.set()
        await asyncio.Event().wait()
        return LOST

    holdfast = await client(token="own")
    gateway.answers = [never, Answer(booking("b", 1))]
    task = asyncio.create_task(holdfast.book(SEATS))
    await arrived.wait()
    task.cancel()
    await asyncio.wait([task])
    await holdfast.book(SEATS)
    assert gateway.keys[0] == gateway.keys[1]


async def test_a_key_is_not_kept_for_longer_than_a_day(gateway: Gateway, client: Make, clock: Clock) -> None:
    holdfast = await client(token="own")
    gateway.answers = [problem(500, "internal_error"), Answer(booking("b", 1))]
    await failing(holdfast.book(SEATS))
    clock.advance(25 * HOUR)
    await holdfast.book(SEATS)
    assert gateway.keys[0] != gateway.keys[1]


# --- tokens


async def test_a_guest_is_made_once_and_is_kept(gateway: Gateway, client: Make, clock: Clock) -> None:
    storage = MemoryStorage()
    before = await client(storage=storage)
    gateway.answers = [Answer(guest(clock), 201), Answer(booking("b", 1))]
    assert await before.guest(create=False) is None
    assert set(await asyncio.gather(before.guest("proof"), before.guest())) == {"guest_1"}
    after = await client(storage=storage)
    assert await after.guest() == "guest_1"
    await after.booking("b")
    assert json.loads(gateway.requests[0].body) == {"proof": "proof"}
    assert [seen.token for seen in gateway.requests] == [None, "token-1"]
    await after.forget_guest()
    assert (await after.token(), await after.guest(create=False)) == (None, None)


async def test_a_guests_token_is_renewed_at_half_of_its_time(gateway: Gateway, client: Make, clock: Clock) -> None:
    """Nobody waits for it; one that fails is tried again a minute later."""
    holdfast = await client()
    gateway.answers = [Answer(guest(clock))]
    await holdfast.guest()
    clock.advance(11 * HOUR)
    assert await holdfast.token() == "token-1"
    clock.advance(HOUR)
    gateway.answers = [problem(503, "unavailable")]
    assert await holdfast.token() == "token-1"
    await refreshed(holdfast)
    assert await holdfast.token() == "token-1"
    clock.advance(60)
    gateway.answers = [Answer(guest(clock, "token-2"))]
    assert await holdfast.token() == "token-1"
    await refreshed(holdfast)
    assert await holdfast.token() == "token-2"
    assert [(seen.operation, seen.token) for seen in gateway.requests[1:]] == [
        ("POST /auth/guest/renew", "token-1"),
        ("POST /auth/guest/renew", "token-1"),
    ]


async def test_a_guest_whose_token_has_ended_is_no_other_guest(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    holdfast = await client()
    gateway.answers = [Answer(guest(clock)), problem(401, "unauthorized"), problem(401, "unauthorized")]
    await holdfast.guest()
    assert (await failing(holdfast.booking("b"))).code == "unauthorized"
    assert [seen.operation for seen in gateway.requests[1:]] == ["GET /bookings/b", "POST /auth/guest/renew"]


@pytest.mark.parametrize("other", [None, "guest_9"])
async def test_a_renewal_that_ends_late_brings_back_no_guest_and_drops_none(
    gateway: Gateway, client: Make, clock: Clock, other: str | None
) -> None:
    """One who was forgotten meanwhile, or who has come back."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def late(_: Seen) -> Answer:
        arrived.set()
        await go_on.wait()
        return Answer(guest(clock, "token-2"))

    holdfast = await client()
    gateway.answers = [Answer(guest(clock)), late, Answer(guest(clock, "token-9", "guest_9"))]
    await holdfast.guest()
    clock.advance(13 * HOUR)
    assert await holdfast.token() == "token-1"
    await arrived.wait()
    await (holdfast.forget_guest() if other is None else holdfast.recover("CODE"))
    go_on.set()
    await refreshed(holdfast)
    assert await holdfast.guest(create=False) == other
    assert await holdfast.token() == (other and "token-9")


async def test_a_guest_comes_back_by_the_link_in_a_mail(gateway: Gateway, client: Make, clock: Clock) -> None:
    holdfast = await client()
    gateway.answers = [Answer(guest(clock, subject="guest_9"))]
    assert await holdfast.open_link("HF-5WE8-Y3KA", "t") == "guest_9"
    assert json.loads(gateway.requests[0].body) == {"reference": "HF-5WE8-Y3KA", "token": "t"}
    assert await holdfast.guest(create=False) == "guest_9"


async def test_a_guest_who_comes_back_after_the_tokens_end_gets_the_error(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    """Or has another one, where only the clock was wrong."""
    holdfast = await client()
    gateway.answers = [Answer(guest(clock)), problem(503, "unavailable"), Answer(guest(clock, "token-2"))]
    await holdfast.guest()
    clock.advance(25 * HOUR)
    clock.quick = True
    assert (await holdfast.guest(), await holdfast.token()) == ("guest_1", "token-2")
    clock.advance(25 * HOUR)
    gateway.answers = [problem(401, "unauthorized"), Answer(guest(clock, "token-3", "guest_2"))]
    assert (await failing(holdfast.guest())).code == "unauthorized"
    await holdfast.forget_guest()
    assert await holdfast.guest() == "guest_2"


async def test_the_token_that_another_client_has_renewed_is_used(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    storage = MemoryStorage()
    one, other = await client(storage=storage), await client(storage=storage)
    gateway.answers = [Answer(guest(clock)), Answer(guest(clock, "token-2"))]
    await one.guest()
    await other.recover("ABCD")
    gateway.answers = [problem(401, "unauthorized"), Answer(booking("b", 1))]
    await one.booking("b")
    assert [seen.token for seen in gateway.requests[2:]] == ["token-1", "token-2"]


async def test_a_function_is_asked_for_the_first_token_at_half_time_and_when_one_is_refused(
    gateway: Gateway, client: Make, clock: Clock
) -> None:
    given: list[str] = []

    async def token() -> Issued:
        given.append(f"given-{len(given) + 1}")
        end = datetime.fromtimestamp(clock.time + HOUR, UTC)
        return {"token": given[-1], "expires_at": end.isoformat()}

    holdfast = await client(token=token)
    gateway.answers = [Answer({}), Answer({})]
    await asyncio.gather(holdfast.booking("a"), holdfast.booking("b"))
    gateway.answers = [problem(401, "unauthorized"), Answer({}), Answer({}), Answer({})]
    await holdfast.booking("c")
    clock.advance(HOUR / 2)
    await holdfast.booking("d")
    await refreshed(holdfast)
    await holdfast.booking("e")
    tokens = [seen.token for seen in gateway.requests]
    assert tokens == ["given-1", "given-1", "given-1", "given-2", "given-2", "given-3"]


async def test_a_text_that_is_refused_is_refused(gateway: Gateway, client: Make) -> None:
    holdfast = await client(token="own")
    gateway.answers = [problem(401, "unauthorized")]
    assert (await failing(holdfast.booking("b"))).status == 401


def test_a_file_that_is_no_json_is_as_if_it_were_empty(tmp_path: Path) -> None:
    file = tmp_path / "tickets.json"
    file.write_text("{")
    storage = FileStorage(file)
    assert storage.get("a") is None
    storage.set("a", "b")
    assert FileStorage(file).get("a") == "b"
