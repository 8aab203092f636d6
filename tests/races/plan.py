"""What happens in one round, drawn from a seed and a number: the same two give the same round. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from tests.races.lives import Point

KINDS = ("booking", "payment")


class Action(Enum):
    """What a customer with seats does."""

    PAYS = "pays"
    PAYS_TWICE = "pays twice at once"
    PAYS_AND_CANCELS = "pays and cancels at once"
    PAYS_AND_EXPIRES = "pays as the hold ends"
    IS_DECLINED_FIRST = "is declined, then pays"
    BUYS_AND_CANCELS = "cancels what is paid"
    CANCELS = "cancels"
    EXPIRES = "lets the hold end"
    LEAVES = "is not seen again"


@dataclass(frozen=True)
class Wish:
    """One customer, who books `items`, pairs of (ticket type, quantity), with `copies` requests under one key."""

    owner: str
    items: tuple[tuple[int, int], ...]
    delay_ms: int
    copies: int
    # Without an answer after this time, the same request is sent again.
    timeout_ms: int
    action: Action

    def wants(self, index: int) -> int:
        return sum(quantity for at, quantity in self.items if at == index)


@dataclass(frozen=True)
class Kill:
    """An actor is killed when it reaches `point` for the `nth` time from now or, without one, after `after_ms`."""

    kind: str
    index: int
    point: Point | None
    nth: int
    after_ms: int


@dataclass(frozen=True)
class Plan:
    """One round. `calm`: no customer gives seats back before all have an answer: refusals can be checked."""

    number: int
    capacities: tuple[int, ...]
    unit_amount: int
    calm: bool
    wishes: tuple[Wish, ...]
    kills: tuple[Kill, ...]


def draw(seed: str, number: int) -> Plan:
    chance = random.Random(f"{seed}/{number}")
    types = chance.choice((1, 1, 2))
    single = chance.random() < 0.5
    return Plan(
        number=number,
        capacities=tuple(chance.randint(1, 5) for _ in range(types)),
        unit_amount=chance.choice((0, 1500, 1500, 1500, 1500)),
        calm=chance.random() < 0.5,
        wishes=tuple(_wish(chance, number, customer, types, single) for customer in range(chance.randint(8, 20))),
        kills=tuple(_kill(chance) for _ in range(chance.choice((0, 1, 1, 2, 2, 3)))),
    )


def _wish(chance: random.Random, number: int, customer: int, types: int, single: bool) -> Wish:
    first = chance.randrange(types)
    items = [(first, 1 if single else chance.randint(1, 3))]
    if types > 1 and not single and chance.random() < 0.4:
        items.append((1 - first, chance.randint(1, 2)))
    return Wish(
        owner=f"round-{number}-{customer}",
        items=tuple(items),
        delay_ms=chance.choice((0, 0, chance.randint(0, 40))),
        copies=chance.choice((1, 1, 1, 2, 3)),
        timeout_ms=chance.choice((40, 300, 1500)),
        action=chance.choice(list(Action)),
    )


def _kill(chance: random.Random) -> Kill:
    return Kill(
        kind=chance.choice(("booking", "booking", "payment")),
        index=chance.randrange(3),
        point=chance.choice((None, *Point)),
        nth=chance.randint(1, 3),
        after_ms=chance.randint(0, 120),
    )
