"""The users of Redis that compose.yaml has: the real processes do all their work with them, and nothing else can be
done by them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from common.contracts.messages import MAILBOXES
from common.messaging.mailbox import Mailbox
from common.messaging.redis import connect
from ops.child import HOST, Launch
from ops.private import write_private
from ops.redis import RedisServer
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast, complaints, running
from tests.acceptance.polling import eventually
from tests.release.test_compose import COMPOSE, ROOT

# What the poison of a test is logged as.
UNDECODABLE = '"outcome":"undecodable"'
ACTORS = ("gateway", "booking", "payment")
# As compose.yaml has them, without the passwords.
RULES = re.findall(r"^user (\w+) on >\$\{\w+:[^}]*\} (.*)$", COMPOSE["configs"]["redis-users"]["content"], re.M)

_numbers = count(1)

pytestmark = pytest.mark.timeout(120)


class WithUsers(RedisServer):
    """With the users of compose.yaml; each one's password is the user's name, the operator's is the server's."""

    def launch(self) -> Launch:
        lines = [f"user {name} on >{self.password_of(name)} {rules}\n" for name, rules in RULES]
        write_private(self.data_dir / "users.acl", "".join(lines))
        launch = super().launch()
        return Launch([*launch.command, "--aclfile", "users.acl"], launch.environment, launch.cwd)

    def password_of(self, name: str) -> str:
        return self.password if name == "default" else name

    def url_of(self, name: str) -> str:
        return f"redis://{name}:{self.password_of(name)}@{HOST}:{self.port}/0"


@pytest.fixture(scope="module")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WithUsers]:
    server = WithUsers(tmp_path_factory.mktemp("redis users"), persist=False)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="module")
async def guarded(redis: WithUsers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    def as_its_user(name: str, environment: dict[str, str]) -> dict[str, str]:
        kind = name.partition("-")[0]
        return environment | ({"REDIS_URL": redis.url_of(kind)} if kind in ACTORS else {})

    folder = tmp_path_factory.mktemp("users")
    settings = {"REDIS_URL": redis.url, "ATTEMPTS_MAX": "1"}
    async with running(folder, settings=settings, detour=as_its_user) as stack:
        yield stack
        assert [line for line in complaints(stack.stack) if UNDECODABLE not in line] == []


async def test_a_purchase_and_a_refund_need_no_more(guarded: Holdfast) -> None:
    event = await guarded.event((1500, 10))
    client = guarded.client()
    async with client.live() as live:
        await live.snapshot(event_id=event["id"])
        booking = (await client.book(event, 2)).ok(201)
        await guarded.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
    operator = guarded.client(operator=True)
    refund = f"/admin/bookings/{booking['id']}/refund"
    (await operator.request("POST", refund, json={}, headers={"Idempotency-Key": "all-of-it"})).ok(202)

    async def refunded() -> str:
        return str((await client.booking(booking["id"]))["payment"]["status"])

    await eventually(refunded, lambda status: status == "refunded")
    (await operator.request("POST", "/admin/tokens/revoke", json={"jti": "of-nobody"})).ok()
    cancelled = (await client.book(event, 1)).ok(201)
    assert (await client.request("POST", f"/bookings/{cancelled['id']}/cancel")).status in (200, 202)
    await assert_clean(guarded)


async def test_poison_becomes_a_dead_letter_and_what_is_unknown_waits(guarded: Holdfast, redis: WithUsers) -> None:
    """The rare ways of an entry, in each mailbox."""
    async with Redis.from_url(redis.url) as operator:
        for mailbox in MAILBOXES:
            await operator.xadd(mailbox, {"no": "message"})
            await operator.xadd(
                mailbox, {"id": str(next(_numbers)), "source": "/x", "type": "of.another.release", "data": "{}"}
            )

        async def moved() -> set[tuple[int, int, int]]:
            names = [(mailbox, f"dead:{mailbox}", f"unknown:{mailbox}") for mailbox in MAILBOXES]
            return {tuple([await operator.xlen(name) for name in each]) for each in names}  # type: ignore[misc]

        await eventually(moved, lambda found: found == {(0, 1, 1)})
        # Each actor may read what it tells operators of.
        found = (await guarded.client(operator=True).request("GET", "/admin/attention")).ok()
        assert found["missing"] == []
        assert {each["mailbox"] for each in found["items"] if each["kind"] == "dead_letters"} == set(MAILBOXES)
        for mailbox in MAILBOXES:
            await operator.delete(f"dead:{mailbox}", f"unknown:{mailbox}")


@pytest.mark.parametrize("actor", ["booking", "payment"])
async def test_failures_and_idle_consumers_need_no_more(redis: WithUsers, actor: str) -> None:
    """What happens too seldom for a test of the processes."""
    stream = f"{actor}.seldom"
    async with connect(redis.url_of(actor)) as client:
        one, two = (
            Mailbox(client, stream, group=actor, consumer=name, claim_idle_ms=60_000, shared=True)
            for name in ("one", "two")
        )
        await one.create()
        await client.xadd(stream, {"type": "seldom", "n": "1"})
        await two.begin((), 1, 0)
        (entry,) = await two.entries()
        assert await one.count_failure(entry) == 1
        await one.set_aside(entry)
        assert (await one.put_back(["seldom"])).found == 1
        await one.begin((), 1, 0)
        (back,) = await one.entries()
        await one.dead_letter(back, "seldom", 1)
        await eventually(lambda: one.remove_idle_consumers(0), lambda removed: removed == 1)
        await one.leave()
        for mailbox in (one, two):
            await mailbox.close()
        assert await client.xlen(f"dead:{stream}") == 1


async def test_metrics_and_readiness_need_no_more(guarded: Holdfast) -> None:
    assert set((await guarded.readiness()).values()) == {200}
    shown: set[str] = set()
    for kind in ACTORS:
        process: Any = guarded.stack.processes[f"{kind}-1"]
        async with guarded.session.get(f"{process.admin_url}/metrics") as response:
            shown |= set(re.findall(r'holdfast_mailbox_length\{mailbox="(.*)"\} 0\.0', await response.text()))
    assert shown == set(MAILBOXES)


FORBIDDEN = [
    # Nobody: what ends or empties the server, or reads and changes its settings.
    *((actor, command) for actor in ACTORS for command in (
        ("FLUSHALL",), ("SHUTDOWN",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("KEYS", "*"), ("MONITOR",),
        ("CLIENT", "LIST"), ("REPLICAOF", "127.0.0.1", "1"), ("SCRIPT", "FLUSH"),
    )),
    # A webhook is believed once it is in this mailbox.
    ("gateway", ("XADD", "payment.webhooks", "*", "a", "b")),
    ("booking", ("XADD", "payment.webhooks", "*", "a", "b")),
    ("gateway", ("EVAL", "return redis.call('XADD', 'payment.webhooks', '*', 'a', 'b')", "0")),
    ("gateway", ("XADD", "booking.payments", "*", "a", "b")),
    ("gateway", ("XREADGROUP", "GROUP", "booking", "me", "STREAMS", "booking.commands", ">")),
    ("gateway", ("XDEL", "booking.commands", "1-1")),
    *((actor, ("XTRIM", "booking.commands", "MAXLEN", "0")) for actor in ("booking", "payment")),
    ("gateway", ("XRANGE", "dead:booking.commands", "-", "+")),
    ("gateway", ("GET", "stripe:turns:test")),
    # Who asks for refunds is believed as well.
    ("gateway", ("XADD", "payment.commands", "*", "a", "b")),
    ("payment", ("XADD", "notifications", "*", "a", "b")),
    ("payment", ("XRANGE", "booking.commands", "-", "+")),
    ("booking", ("HGET", "stripe:turns:test", "at")),
]  # fmt: skip


@pytest.mark.parametrize(("actor", "command"), FORBIDDEN)
async def test_what_a_process_does_not_need_is_refused(
    redis: WithUsers, actor: str, command: tuple[str, ...]
) -> None:
    async with Redis.from_url(redis.url_of(actor)) as client:
        with pytest.raises((NoPermissionError, ResponseError), match=r"permission|can't"):
            await cast(Any, client).execute_command(*command)


async def test_nobody_comes_in_without_the_right_password(redis: WithUsers) -> None:
    for user in ("", "gateway:wrong@", ":wrong@", "gateway:booking@"):
        async with Redis.from_url(f"redis://{user}{HOST}:{redis.port}/0") as client:
            with pytest.raises(AuthenticationError):
                await client.ping()


def test_the_rules_are_documented_as_they_are() -> None:
    documented = Path(ROOT, "docs/operations.md").read_text()
    for name, rules in RULES[1:]:
        assert f"user {name} on >PASSWORD {rules}\n" in documented
