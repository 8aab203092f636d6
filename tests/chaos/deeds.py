"""What each kind of fault does to a place. A deed returns when its fault is over: how often it has struck."""

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
from tests.chaos.place import Place
from tests.chaos.plan import Deed, Kind

# A process that is started while its servers are away may need more than one try.
STARTS_MAX = 4

Doing = Callable[[Place, Deed], Awaitable[int]]


# Seconds between two checks whether a deed that waits for traffic has struck.
LOOK_S = 0.1


async def do(place: Place, deed: Deed) -> int:
    return await DOINGS[deed.kind](place, deed)


async def _last(deed: Deed, struck: Callable[[], Awaitable[int]]) -> int:
    """Wait for the deed's time, and then up to its patience until it has struck. Returns how often it has."""
    await asyncio.sleep(deed.seconds)
    until = asyncio.get_running_loop().time() + deed.patience_s
    strokes = await struck()
    while not strokes and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(LOOK_S)
        strokes = await struck()
    return strokes


# --- Processes ----------------------------------------------------------------------------------------------


async def start(place: Place, process: Child) -> None:
    """Start the process. Raises StartError when it is not ready after STARTS_MAX tries."""
    for _ in range(STARTS_MAX):
        try:
            await process.start()
            return
        except StartError as error:
            place.judge.counted[f"late start of {process.name}"] += 1
            if process.exit_code not in (0, None, -signal.SIGKILL):
                place.judge.breaks("a process starts", str(error))
    raise StartError(f"{process.name} does not start")


async def _kill(place: Place, deed: Deed) -> int:
    process = place.holdfast.stack.processes[deed.target]
    async with place.locks[deed.target]:
        await process.kill()
        await asyncio.sleep(deed.seconds)
        await start(place, process)
    return 1


async def _freeze(place: Place, deed: Deed) -> int:
    process = place.holdfast.stack.processes[deed.target]
    async with place.locks[deed.target]:
        process.pause()
        try:
            await asyncio.sleep(deed.seconds)
        finally:
            process.resume()
    return 1


async def _roll(place: Place, _: Deed) -> int:
    """One process of each kind gets SIGTERM and is replaced by a new one, then the next one of each kind."""
    rolled = 0
    for number in range(1, max(vars(place.scale).values()) + 1):
        names = [f"{kind}-{number}" for kind, count in vars(place.scale).items() if count >= number]
        await asyncio.gather(*(replace(place, name) for name in names))
        rolled += len(names)
    return rolled


async def replace(place: Place, name: str) -> None:
    process = place.holdfast.stack.processes[name]
    async with place.locks[name]:
        await process.stop()
        if process.exit_code != 0:
            place.judge.breaks("a process leaves in order", f"{name} ended with {process.exit_code}")
        await start(place, process)


# --- Servers ------------------------------------------------------------------------------------------------


async def _redis_restart(place: Place, deed: Deed) -> int:
    redis = place.holdfast.stack.processes["redis"]
    async with place.locks["redis"]:
        await (redis.kill() if deed.strength < 0.5 else redis.stop())
        await asyncio.sleep(deed.seconds)
        await start(place, redis)
    return 1


async def _redis_forgets(place: Place, deed: Deed) -> int:
    redis = place.holdfast.stack.processes["redis"]
    assert isinstance(redis, RedisServer)
    async with place.locks["redis"]:
        await _only_poison_is_buried(place)
        await redis.kill()
        await asyncio.to_thread(empty, redis.data_dir)
        place.poison.lost()
        await asyncio.sleep(deed.seconds)
        await start(place, redis)
    return 1


async def _flush(place: Place, deed: Deed) -> int:
    """In half of the cases the gateways' connections are silent before: no gateway has read what is lost."""
    unread = [place.wires[name] for name in place.wires if name.startswith("gateway") and deed.strength < 0.5]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(place.locks["redis"])
        for wire in unread:
            await stack.enter_async_context(place.locks[wire.name])
            stack.callback(wire.mend)
            wire.hold()
        await asyncio.sleep(deed.seconds)
        await _only_poison_is_buried(place)
        redis = await stack.enter_async_context(Redis.from_url(place.holdfast.stack.redis_url))
        keys = await redis.dbsize()
        await redis.flushall()
        place.poison.lost()
    return int(keys > 0)


async def _only_poison_is_buried(place: Place) -> None:
    """Check the dead letters before Redis loses them."""
    _, others = await place.poison.buried()
    for letter in others:
        place.judge.breaks("only poison is buried", letter)


async def _postgres_restart(place: Place, deed: Deed) -> int:
    postgres = place.holdfast.stack.processes["postgres"]
    async with place.locks["postgres"]:
        await postgres.stop()
        await asyncio.sleep(deed.seconds)
        await start(place, postgres)
    return 1


async def _postgres_crash(place: Place, deed: Deed) -> int:
    """An immediate shutdown, or SIGKILL: https://www.postgresql.org/docs/current/server-shutdown.html."""
    postgres = place.holdfast.stack.processes["postgres"]
    async with place.locks["postgres"]:
        os.kill(postgres.pid, signal.SIGQUIT if deed.strength < 0.5 else signal.SIGKILL)
        await postgres.wait()
        await asyncio.sleep(deed.seconds)
        await start(place, postgres)
    return 1


# --- Connections --------------------------------------------------------------------------------------------


async def _wire(place: Place, deed: Deed, strike: Callable[[], None]) -> int:
    wire = place.wires[deed.target]
    async with place.locks[deed.target]:
        before = wire.struck.total()
        strike()

        async def struck() -> int:
            return wire.struck.total() - before

        try:
            return await _last(deed, struck)
        finally:
            wire.mend()


async def _cut(place: Place, deed: Deed) -> int:
    return await _wire(place, deed, place.wires[deed.target].cut)


async def _hold(place: Place, deed: Deed) -> int:
    return await _wire(place, deed, place.wires[deed.target].hold)


async def _delay(place: Place, deed: Deed) -> int:
    wire = place.wires[deed.target]
    return await _wire(place, deed, lambda: wire.delay(0.02 + 0.3 * deed.strength))


# --- Stripe -------------------------------------------------------------------------------------------------


async def _stripe(place: Place, deed: Deed) -> int:
    """The sandbox counts each of its faults, except how often it is slow: that counts as one stroke."""
    switches = SWITCHES[deed.kind](deed.strength)
    counts = COUNTS.get(deed.kind)
    async with place.locks[deed.kind], place.stripe.on(switches):
        before = await place.stripe.count(counts) if counts else -1

        async def struck() -> int:
            return (await place.stripe.count(counts) if counts else 0) - before

        return await _last(deed, struck)


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


# --- Mailboxes ----------------------------------------------------------------------------------------------


async def _poison(place: Place, _: Deed) -> int:
    """Put poison of each kind into each mailbox."""
    async with place.locks["redis"]:
        return sum([await place.poison.poison(mailbox) for mailbox in MAILBOXES])


DOINGS: dict[Kind, Doing] = {
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
    Kind.POISON: _poison,
}
