"""Plays rounds one after the other with one fleet."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from common.messaging.calls import Calls
from common.messaging.listener import Listener
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.messaging.registry import Registry
from common.runtime.health import Gate
from tests.races.fleet import Fleet
from tests.races.plan import draw
from tests.races.round import Round

BLOCK_MS = 200


@dataclass
class Result:
    """The results of all rounds. `killed` counts actors by the point at which they died."""

    rounds: int = 0
    seconds: float = 0.0
    totals: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        rate = self.rounds / self.seconds if self.seconds else 0.0
        kills = ", ".join(f"{count} {point}" for point, count in self.killed.most_common())
        return [
            f"{self.rounds} rounds in {self.seconds:.0f} s ({rate:.1f} a second)",
            ", ".join(f"{count} {name}" for name, count in sorted(self.totals.items())),
            f"{self.killed.total()} kills: {kills}",
        ]


class RoundFailed(AssertionError):
    """A promise was broken. The text names the round, so that it can be played again."""


@asynccontextmanager
async def open_bus(redis_url: str) -> AsyncIterator[Calls]:
    """Sends calls to actors as a gateway does."""
    redis = connect(redis_url)
    publisher = Publisher(redis, source="/races")
    calls = Calls(publisher, "races")
    registry = Registry(redis, publisher, "races")
    listener = Listener(redis, "races", registry, calls, lambda *_: None, lambda _: None, claim_idle_s=0.0)
    gate = Gate("races")
    listening = asyncio.create_task(listener.run(gate, block_ms=BLOCK_MS), name="listen")
    await gate.opened.wait()
    yield calls
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await publisher.close()
    await redis.aclose()


async def play(
    seed: str, numbers: Iterable[int], fleet: Fleet, played: Callable[[Result], None] = lambda _: None
) -> Result:
    """Play the rounds. Raises RoundFailed for the first round in which a promise is broken."""
    result = Result(killed=fleet.killed)
    started = time.perf_counter()
    url = fleet.harness.where.redis_url
    assert url is not None
    async with open_bus(url) as bus:
        for number in numbers:
            plan = draw(seed, number)
            try:
                await Round(plan, fleet, bus, result.totals).play()
            except (Exception, asyncio.CancelledError) as failure:
                again = f"make races SEED={seed} FIRST={number} ROUNDS=1 ARGS={fleet.option}"
                raise RoundFailed(f"round {number} ({again}): {reason(failure)}") from failure
            result.rounds += 1
            result.seconds = time.perf_counter() - started
            played(result)
    return result


def reason(failure: BaseException) -> str:
    """The error as text; all errors of a group."""
    if isinstance(failure, BaseExceptionGroup):
        return "; ".join(reason(each) for each in failure.exceptions)
    return f"{type(failure).__name__}: {failure}"
