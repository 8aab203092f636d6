"""Those who come to a rush to harm it, and the process in which they do."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass
from subprocess import PIPE, Popen
from typing import Self

import orjson

from bench.attacking import Kind
from bench.errors import BenchError
from bench.stage import Stage
from common.contracts.ids import GUEST


@dataclass(frozen=True)
class Attack:
    kind: Kind
    number: int

    @property
    def name(self) -> str:
        return f"{self.number:,} {self.kind}"

    @property
    def connections(self) -> int:
        return self.number


# As many as the limits are meant for.
USUAL = {
    Kind.TOKENS: Attack(Kind.TOKENS, 200),
    Kind.LOOPS: Attack(Kind.LOOPS, 3),
    Kind.SOCKETS: Attack(Kind.SOCKETS, 5000),
    Kind.GREEDY: Attack(Kind.GREEDY, 20),
}


class Attackers:
    """One attack, under way within the context; `statuses` counts the answers that it got, once it is over.

    Attackers have a process of their own, which gives way to all others: their work is done elsewhere, and is not
    what an attack costs.
    """

    def __init__(self, attack: Attack, stage: Stage, order: bytes) -> None:
        """`order`: the body of their POST /bookings."""
        self.attack = attack
        self.statuses: Counter[int] = Counter()
        one = attack.kind is Kind.GREEDY
        subjects = [f"{GUEST}{attack.kind}-{0 if one else number}" for number in range(attack.number)]
        self._orders = orjson.dumps(
            {
                "kind": attack.kind,
                "gateway": stage.gateway_url,
                "tokens": [stage.token(subject) for subject in subjects],
                "order": order.decode(),
            }
        )
        self._child: Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._child = await asyncio.to_thread(self._started)
        return self

    def _started(self) -> Popen[bytes]:
        child = Popen([sys.executable, "-m", "bench.attacking"], stdin=PIPE, stdout=PIPE)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(self._orders + b"\n")
        child.stdin.flush()
        child.stdout.readline()  # it has begun
        return child

    async def __aexit__(self, *exc: object) -> None:
        """Raises BenchError if it has failed."""
        assert self._child is not None
        out, _ = await asyncio.to_thread(self._child.communicate)  # which closes its input: it ends
        if self._child.returncode:
            raise BenchError(f"{self.attack.name} ended with {self._child.returncode}")
        self.statuses.update({int(status): number for status, number in orjson.loads(out).items()})
