"""Which ports the local stack uses, and how many of each process it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ports:
    """TCP ports on the loopback interface; 0 is any free one."""

    gateway: int = 8080
    booking: int = 8081
    payment: int = 8082
    sandbox: int = 12111
    postgres: int = 54329
    redis: int = 63799

    @classmethod
    def free(cls) -> Ports:
        return cls(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Scale:
    """How many of each actor."""

    gateway: int = 1
    booking: int = 1
    payment: int = 1
