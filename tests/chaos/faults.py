"""What each kind of fault does to the harness. Each returns when the fault is over: how often it has struck."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from redis.asyncio import Redis

from common.contracts.messages import MAILBOXES
from ops.child import Child
from ops.errors import StartError
from ops.redis import RedisServer
from tests.acceptance.mailboxes import empty
from tests.chaos.harness import Harness
from tests.chaos.notified import Refusal
from tests.chaos.plan import Fault, Kind

# A process that is started while its servers are unavailable may need more than one try.
STARTS_MAX = 4

Inject = Callable[[Harness, Fault], Awaitable[int]]


# Seconds between two checks whether a fault that waits for traffic has struck.
CHECK_S = 0.1


async def inject(harness: Harness, fault: Fault) -> int:
    return await INJECTIONS[fault.kind](harness, fault)


async def _last(fault: Fault, struck: Callable[[], Awaitable[int]]) -> int:
    """Wait for the fault's time, and then up to its `wait_max_s` until it has struck. Returns how often it has."""
    await asyncio.sleep(fault.seconds)
    until = asyncio.get_running_loop().time() + fault.wait_max_s
    strokes = await struck()
    while not strokes and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(CHECK_S)
        strokes = await struck()
    return strokes


# --- Processes ----------------------------------------------------------------------------------------------


async def start(harness: Harness, process: Child) -> None:
    """Start the process. Raises StartError when it is not ready after STARTS_MAX tries."""
    for _ in range(STARTS_MAX):
        try:
            await process.start()
            return
        except StartError as error:
            harness.judge.counted[f"late start of {process.name}"] += 1
            if process.exit_code not in (0, None, -signal.SIGKILL):
                harness.judge.breaks("a process starts", str(error))
    raise StartError(f"{process.name} does not start")


async def _kill(harness: Harness, fault: Fault) -> int:
    process = harness.holdfast.stack.processes[fault.target]
    async with harness.locks[fault.target]:
        await process.kill()
        await asyncio.sleep(fault.seconds)
        await start(harness, process)
    return 1


async def _freeze(harness: Harness, fault: Fault) -> int:
    process = harness.holdfast.stack.processes[fault.target]
    async with harness.locks[fault.target]:
        process.pause()
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            process.resume()
    return 1


async def _roll(harness: Harness, _: Fault) -> int:
    """One process of each kind gets SIGTERM and is replaced by a new one, then the next one of each kind."""
    rolled = 0
    for number in range(1, max(vars(harness.scale).values()) + 1):
        names = [f"{kind}-{number}" for kind, count in vars(harness.scale).items() if count >= number]
        await asyncio.gather(*(replace(harness, name) for name in names))
        rolled += len(names)
    return rolled


async def replace(harness: Harness, name: str) -> None:
    process = harness.holdfast.stack.processes[name]
    async with harness.locks[name]:
        await process.stop()
        if process.exit_code != 0:
            harness.judge.breaks("a process leaves in order", f"{name} ended with {process.exit_code}")
        await start(harness, process)


# --- Servers ------------------------------------------------------------------------------------------------


async def _redis_restart(harness: Harness, fault: Fault) -> int:
    redis = harness.holdfast.stack.processes["redis"]
    async with harness.locks["redis"]:
        await (redis.kill() if fault.strength < 0.5 else redis.stop())
        await asyncio.sleep(fault.seconds)
        await start(harness, redis)
    return 1


async def _redis_forgets(harness: Harness, fault: Fault) -> int:
    redis = harness.holdfast.stack.processes["redis"]
    assert isinstance(redis, RedisServer)
    async with harness.locks["redis"]:
        await _only_poison_is_dead_lettered(harness)
        await redis.kill()
        await asyncio.to_thread(empty, redis.data_dir)
        harness.poison.lost()
        await asyncio.sleep(fault.seconds)
        await start(harness, redis)
    return 1


async def _flush(harness: Harness, fault: Fault) -> int:
    """In half of the cases the gateways' connections are silent before: no gateway has read what is lost."""
    unread = [harness.wires[name] for name in harness.wires if name.startswith("gateway") and fault.strength < 0.5]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(harness.locks["redis"])
        for wire in unread:
            await stack.enter_async_context(harness.locks[wire.name])
            stack.callback(wire.mend)
            wire.hold()
        await asyncio.sleep(fault.seconds)
        await _only_poison_is_dead_lettered(harness)
        redis = await stack.enter_async_context(Redis.from_url(harness.holdfast.stack.redis_url))
        keys = await redis.dbsize()
        await redis.flushall()
        harness.poison.lost()
    return int(keys > 0)


async def _only_poison_is_dead_lettered(harness: Harness) -> None:
    """Check the dead letters before Redis loses them."""
    _, others = await harness.poison.dead_letters()
    for letter in others:
        harness.judge.breaks("only poison becomes a dead letter", letter)


async def _postgres_restart(harness: Harness, fault: Fault) -> int:
    postgres = harness.holdfast.stack.processes["postgres"]
    async with harness.locks["postgres"]:
        await postgres.stop()
        await asyncio.sleep(fault.seconds)
        await start(harness, postgres)
    return 1


async def _postgres_crash(harness: Harness, fault: Fault) -> int:
    """An immediate shutdown, or SIGKILL: https://www.postgresql.org/docs/current/server-shutdown.html."""
    postgres = harness.holdfast.stack.processes["postgres"]
    async with harness.locks["postgres"]:
        os.kill(postgres.pid, signal.SIGQUIT if fault.strength < 0.5 else signal.SIGKILL)
        await postgres.wait()
        await asyncio.sleep(fault.seconds)
        await start(harness, postgres)
    return 1


# --- Connections --------------------------------------------------------------------------------------------


async def _wire(harness: Harness, fault: Fault, strike: Callable[[], None]) -> int:
    wire = harness.wires[fault.target]
    async with harness.locks[fault.target]:
        before = wire.struck.total()
        strike()

        async def struck() -> int:
            return wire.struck.total() - before

        try:
            return await _last(fault, struck)
        finally:
            wire.mend()


async def _cut(harness: Harness, fault: Fault) -> int:
    return await _wire(harness, fault, harness.wires[fault.target].cut)


async def _hold(harness: Harness, fault: Fault) -> int:
    return await _wire(harness, fault, harness.wires[fault.target].hold)


async def _delay(harness: Harness, fault: Fault) -> int:
    wire = harness.wires[fault.target]
    return await _wire(harness, fault, lambda: wire.delay(0.02 + 0.3 * fault.strength))


# --- Stripe -------------------------------------------------------------------------------------------------


async def _stripe(harness: Harness, fault: Fault) -> int:
    """The sandbox counts each of its faults, except how often it is slow: that counts as one stroke."""
    switches = SWITCHES[fault.kind](fault.strength)
    counts = COUNTS.get(fault.kind)
    async with harness.locks[fault.kind], harness.stripe.on(switches):
        before = await harness.stripe.count(counts) if counts else -1

        async def struck() -> int:
            return (await harness.stripe.count(counts) if counts else 0) - before

        return await _last(fault, struck)


def _some(strength: float) -> float:
    """A share from a half (strength 0) to all (strength 1)."""
    return 0.5 + 0.5 * strength


SWITCHES: dict[Kind, Callable[[float], dict[str, Any]]] = {
    Kind.STRIPE_SLOW: lambda much: {"latency_ms": 300 + 2500 * much, "latency_jitter_ms": 4000 * much},
    Kind.STRIPE_DOWN: lambda much: {"error_before": _some(much), "error_status": 503},
    Kind.STRIPE_AFTER: lambda much: {"error_after": _some(much)},
    Kind.STRIPE_HANGS: lambda much: {"timeout_after": _some(much), "hang_seconds": 10},
    Kind.STRIPE_LIMITS: lambda much: {"limit": _some(much)},
    Kind.WEBHOOKS_LOST: lambda much: {"webhooks": {"drop": _some(much)}},
    Kind.WEBHOOKS_TWICE: lambda much: {"webhooks": {"double": _some(much)}},
    Kind.WEBHOOKS_MIXED: lambda much: {"webhooks": {"reorder": 1.0, "reorder_window_ms": 500 + 4000 * much}},
}
COUNTS = {
    Kind.STRIPE_DOWN: "error_before",
    Kind.STRIPE_AFTER: "error_after",
    Kind.STRIPE_HANGS: "timeout_after",
    Kind.STRIPE_LIMITS: "limit",
    Kind.WEBHOOKS_LOST: "webhooks.drop",
    Kind.WEBHOOKS_TWICE: "webhooks.double",
    Kind.WEBHOOKS_MIXED: "webhooks.reorder",
}


# --- Mails and webhooks -------------------------------------------------------------------------------------


async def _notified(harness: Harness, fault: Fault) -> int:
    one = harness.notified.receiver if fault.kind is Kind.RECEIVER_REFUSES else harness.notified.mails
    async with harness.locks[fault.kind]:
        before = one.refused
        one.refuse(Refusal.NOT_NOW if fault.strength < 0.5 else Refusal.LOST)

        async def struck() -> int:
            return one.refused - before

        try:
            return await _last(fault, struck)
        finally:
            one.refuse(None)


# --- Mailboxes ----------------------------------------------------------------------------------------------


async def _poison(harness: Harness, _: Fault) -> int:
    """Put poison of each kind into each mailbox."""
    async with harness.locks["redis"]:
        return sum([await harness.poison.poison(mailbox) for mailbox in MAILBOXES])


INJECTIONS: dict[Kind, Inject] = {
    Kind.KILL: _kill,
    Kind.FREEZE: _freeze,
    Kind.FREEZE_LONG: _freeze,
    Kind.ROLL: _roll,
    Kind.REDIS_RESTART: _redis_restart,
    Kind.REDIS_FORGETS: _redis_forgets,
    Kind.FLUSH: _flush,
    Kind.POSTGRES_RESTART: _postgres_restart,
    Kind.POSTGRES_CRASH: _postgres_crash,
    Kind.CUT: _cut,
    Kind.HOLD: _hold,
    Kind.DELAY: _delay,
    **dict.fromkeys(SWITCHES, _stripe),
    Kind.MAIL_REFUSED: _notified,
    Kind.RECEIVER_REFUSES: _notified,
    Kind.POISON: _poison,
}
