"""Which faults the monkey makes, when, on which part and for how long: from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from ops.layout import Scale
from tests.acceptance.holdfast import SHORT_TIMES

# How many seconds a fault of the short run may wait for traffic that it can strike.
WAIT_MAX_S = 25.0
CLAIM_IDLE_S = float(SHORT_TIMES["CLAIM_IDLE_MS"]) / 1000


class Kind(StrEnum):
    """A kind of fault, by its name in the report."""

    KILL = "process killed"
    FREEZE = "process frozen"
    FREEZE_LONG = "process frozen past the claim"
    ROLL = "all rolled over"
    REDIS_RESTART = "Redis restarted"
    REDIS_FORGETS = "Redis restarted empty"
    FLUSH = "FLUSHALL"
    POSTGRES_RESTART = "Postgres restarted"
    POSTGRES_CRASH = "Postgres shut down at once"
    CUT = "connections cut"
    HOLD = "connections silent"
    DELAY = "connections slow"
    STRIPE_SLOW = "Stripe slow"
    STRIPE_DOWN = "Stripe 5xx"
    STRIPE_AFTER = "Stripe 5xx after the work"
    STRIPE_HANGS = "Stripe silent after the work"
    STRIPE_LIMITS = "Stripe 429"
    WEBHOOKS_LOST = "webhooks forgotten"
    WEBHOOKS_TWICE = "webhooks doubled"
    WEBHOOKS_MIXED = "webhooks reordered"
    MAIL_REFUSED = "mails not taken"
    RECEIVER_REFUSES = "receiver refuses"
    POISON = "poison"


@dataclass(frozen=True)
class Fault:
    """One fault of the plan. `at`: seconds from the beginning of its round. `strength`, from 0 to 1: what it means
    depends on the kind. A fault of traffic that has struck nothing lasts up to `wait_max_s` longer."""

    at: float
    kind: Kind
    target: str
    seconds: float
    strength: float
    wait_max_s: float = 0.0

    @property
    def hides_notifications(self) -> bool:
        """Whether gateways may have missed some: Redis forgot them, or a gateway did not read them."""
        forgets = self.kind in (Kind.REDIS_RESTART, Kind.REDIS_FORGETS, Kind.FLUSH)
        return forgets or self.target.startswith(("gateway", "redis"))

    def __str__(self) -> str:
        whom = f", {self.target}" if self.target else ""
        return f"{self.kind}{whom}" + (f", {self.seconds:.1f} s" if self.seconds else "")


# Faults that may overlap. After them the system recovers, and a calm time follows.
Round = tuple[Fault, ...]


@dataclass(frozen=True)
class Tempo:
    """How dense the faults are. `together`: the numbers of faults that a round may have, each as likely as it
    stands here often. `stretch`: a factor of all durations, except those that must outlast a claim. `spread_s`: the
    faults of a round begin within this many seconds."""

    together: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 5)
    stretch: float = 1.0
    spread_s: float = 3.0


# How often a kind comes before all kinds come again: more than once if many parts can have it.
REPEATS = {Kind.KILL: 4, Kind.FREEZE: 2, Kind.CUT: 3, Kind.HOLD: 3, Kind.DELAY: 2}

# How many seconds a fault of each kind lasts, from and to.
SECONDS: dict[Kind, tuple[float, float]] = {
    Kind.KILL: (0.2, 4.0),
    Kind.FREEZE: (1.0, 7.0),
    Kind.FREEZE_LONG: (CLAIM_IDLE_S + 1, CLAIM_IDLE_S + 4),
    Kind.ROLL: (0.0, 0.0),
    Kind.REDIS_RESTART: (0.2, 4.0),
    Kind.REDIS_FORGETS: (0.2, 4.0),
    Kind.FLUSH: (0.0, 3.0),
    Kind.POSTGRES_RESTART: (0.2, 4.0),
    Kind.POSTGRES_CRASH: (0.2, 4.0),
    Kind.CUT: (0.1, 5.0),
    Kind.HOLD: (2.0, 9.0),
    Kind.DELAY: (4.0, 9.0),
    Kind.STRIPE_SLOW: (4.0, 9.0),
    Kind.STRIPE_DOWN: (3.0, 9.0),
    Kind.STRIPE_AFTER: (3.0, 8.0),
    Kind.STRIPE_HANGS: (3.0, 8.0),
    Kind.STRIPE_LIMITS: (3.0, 8.0),
    Kind.WEBHOOKS_LOST: (3.0, 8.0),
    Kind.WEBHOOKS_TWICE: (3.0, 8.0),
    Kind.WEBHOOKS_MIXED: (3.0, 8.0),
    Kind.MAIL_REFUSED: (3.0, 8.0),
    Kind.RECEIVER_REFUSES: (3.0, 8.0),
    Kind.POISON: (0.0, 0.0),
}


def actors(scale: Scale) -> tuple[str, ...]:
    """The names of Holdfast's own processes."""
    return tuple(f"{kind}-{number}" for kind, count in vars(scale).items() for number in range(1, count + 1))


def wires(scale: Scale) -> tuple[str, ...]:
    """The names of all connections between two parts."""
    ways = {
        "gateway": ("redis",),
        "booking": ("redis", "postgres", "mail"),
        "payment": ("redis", "postgres", "stripe"),
    }
    between = [f"{name} to {there}" for name in actors(scale) for there in ways[name.partition("-")[0]]]
    # The connections of all clients, and of all webhooks, are drawn as often as those of one process.
    return (*between, "booking to receiver", *("clients to gateway", "stripe to webhooks") * scale.gateway)


def _targets(scale: Scale) -> dict[Kind, tuple[str, ...]]:
    frozen = (*actors(scale), "redis", "postgres")
    ways = wires(scale)
    return {
        Kind.KILL: actors(scale),
        Kind.FREEZE: frozen,
        Kind.FREEZE_LONG: actors(scale),
        Kind.CUT: ways,
        Kind.HOLD: ways,
        Kind.DELAY: ways,
    }


def rounds(seed: int, scale: Scale, tempo: Tempo) -> Iterator[Round]:
    """Rounds without end. Every kind comes before any comes again, in another order each time."""
    chance = random.Random(seed)
    targets = _targets(scale)
    kinds = _shuffled(chance)
    while True:
        together = [next(kinds) for _ in range(chance.choice(tempo.together))]
        yield tuple(_fault(kind, chance, targets, tempo, first=not number) for number, kind in enumerate(together))


# In the short run servers fail after everything else: other faults have no traffic while a server is unavailable.
SERVERS = (Kind.REDIS_RESTART, Kind.REDIS_FORGETS, Kind.FLUSH, Kind.POSTGRES_RESTART, Kind.POSTGRES_CRASH)
OTHERS = tuple(kind for kind in Kind if kind not in SERVERS)


def short(seed: int, scale: Scale) -> tuple[Round, ...]:
    """Every kind once, in two rounds and for a short time, but until it has struck."""
    chance = random.Random(seed)
    targets = _targets(scale)
    return tuple(
        tuple(
            replace(_fault(kind, chance, targets, tempo, first=kind is Kind.FREEZE_LONG), wait_max_s=WAIT_MAX_S)
            for kind in kinds
        )
        for kinds, tempo in (
            (OTHERS, Tempo(stretch=0.4, spread_s=8.0)),
            (SERVERS, Tempo(stretch=0.4, spread_s=3.0)),
        )
    )


def _shuffled(chance: random.Random) -> Iterator[Kind]:
    while True:
        kinds = [kind for kind in Kind for _ in range(REPEATS.get(kind, 1))]
        chance.shuffle(kinds)
        yield from kinds


def _fault(
    kind: Kind, chance: random.Random, targets: dict[Kind, tuple[str, ...]], tempo: Tempo, *, first: bool
) -> Fault:
    at = 0.0 if first else chance.uniform(0, tempo.spread_s)
    seconds = chance.uniform(*SECONDS[kind])
    if kind is not Kind.FREEZE_LONG:
        seconds *= tempo.stretch
    target = chance.choice(targets.get(kind, ("",)))
    return Fault(round(at, 2), kind, target, round(seconds, 2), round(chance.random(), 3))
