"""GET /events and GET /events/{id} are answered by the gateway alone, and what they answer follows the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from redis.asyncio import Redis

from tests.acceptance.client import Client, Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.mailboxes import forget_all
from tests.acceptance.polling import eventually
from tests.acceptance.test_stopped_servers import stopped

pytestmark = pytest.mark.timeout(120)

REQUESTS = 300
AT_ONCE = 20
# The gateway may read all events for its catalogue meanwhile, whose pages are a few.
LISTS_MAX = 5


async def shown(client: Client, event: Json) -> tuple[str, int] | None:
    """The event's name and free seats, as the list has them; None while it is not in it."""
    query = {"q": event["name"], "on_sale": "true", "limit": 200}
    items = (await client.request("GET", "/events", params=query)).ok()["items"]
    found = [(each["name"], each["ticket_types"][0]["available"]) for each in items if each["id"] == event["id"]]
    return found[0] if found else None


async def free_seats(client: Client, event: Json) -> int:
    found = (await client.request("GET", f"/events/{event['id']}")).ok()
    return int(found["ticket_types"][0]["available"])


async def queries_during(holdfast: Holdfast, event: Json, requests: Awaitable[object]) -> list[str]:
    """Run `requests`; the queries for lists of events, or for this one, that reach booking's mailbox meanwhile.

    Not those by which the gateway keeps its catalogue: it reads the versions of all events, and events of other
    tests when it was not notified of them.
    """
    redis = Redis.from_url(holdfast.stack.redis_url)
    try:
        async with redis.monitor() as monitor:
            await requests
            await redis.execute_command("ECHO", "done")  # type: ignore[no-untyped-call]
            queries = []
            async for command in monitor.listen():
                text = command["command"]
                if text == "ECHO done":
                    break
                if text.startswith("XADD booking.queries"):
                    queries.append(text)
    finally:
        await redis.aclose()
    lists = [text for text in queries if " event.list " in text and '\\"versions_only\\":true' not in text]
    return lists + [text for text in queries if " event.get " in text and event["id"] in text]


async def until_no_query_is_needed(holdfast: Holdfast, client: Client, event: Json) -> None:
    """Wait until the gateway's catalogue is current: until then the gateway asks the booking actor."""

    async def queries() -> list[str]:
        return await queries_during(holdfast, event, free_seats(client, event))

    await eventually(queries, [].__eq__)


async def test_hundreds_of_requests_reach_no_actor(battered: Holdfast) -> None:
    client, event = battered.client(), await battered.event((1500, 5))
    assert await eventually(lambda: shown(client, event), lambda found: found == (event["name"], 5))
    tag = (await client.request("GET", f"/events/{event['id']}")).headers["ETag"]

    async def some(number: int) -> None:
        for each in range(REQUESTS // AT_ONCE):
            path = "/events" if each % 2 else f"/events/{event['id']}"
            headers = {"If-None-Match": tag} if number % 2 else {}
            assert (await client.request("GET", path, headers=headers)).status in (200, 304)

    await until_no_query_is_needed(battered, client, event)
    requests = asyncio.gather(*(some(number) for number in range(AT_ONCE)))
    queries = await queries_during(battered, event, requests)
    assert [text for text in queries if " event.get " in text] == []
    assert len(queries) <= LISTS_MAX


async def test_what_happens_to_an_event_is_seen(battered: Holdfast) -> None:
    client, operator = battered.client(), battered.client(operator=True)
    event = await battered.event((0, 3))
    renamed = f"Matinée {event['id']}"
    answer = await operator.request("PATCH", f"/admin/events/{event['id']}", json={"name": renamed})
    event = answer.ok()
    # Who writes reads it at once, and finds it by its name.
    assert await shown(client, event) == (renamed, 3)
    assert await shown(client, {**event, "name": renamed.upper().replace("É", "E")}) == (renamed, 3)
    for seats, left in ((2, 1), (1, 0)):
        (await client.book(event, seats)).ok(201)
        await eventually(lambda: free_seats(client, event), left.__eq__)
    assert await shown(client, event) == (renamed, 0)
    (await operator.request("POST", f"/admin/events/{event['id']}/cancel")).ok(202)
    assert await shown(client, event) is None  # it is no longer on sale
    assert (await client.request("GET", f"/events/{event['id']}")).ok()["called_off_at"] is not None
    await assert_clean(battered)


@pytest.mark.parametrize("how", ["flushed", "stopped", "stopped and empty"])
async def test_it_is_right_again_after_an_outage_of_redis(battered: Holdfast, how: str) -> None:
    client, event = battered.client(), await battered.event((0, 5))
    assert await eventually(lambda: shown(client, event), lambda found: found == (event["name"], 5))
    if how == "flushed":
        await forget_all(battered)
    else:
        async with stopped(battered, "redis", forget="empty" in how):
            pass
    (await client.book_until_final(event, 2, key=f"after {how}".replace(" ", "-"))).ok(201)
    await eventually(lambda: free_seats(client, event), lambda found: found == 3)
    await until_no_query_is_needed(battered, client, event)
    await assert_clean(battered)
