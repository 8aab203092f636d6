"""Which ports the local stack uses, and how many of each process it runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.private import write_private

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """TCP ports on the loopback interface; 0 is any free one."""

    gateway: int = 8080
    booking: int = 8081
    payment: int = 8082
    sandbox: int = 12111
    postgres: int = 54329
    redis: int = 63799
    mail: int = 12125

    @classmethod
    def free(cls) -> Ports:
        return cls(0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Scale:
    """How many processes of each actor."""

    gateway: int = 1
    booking: int = 1
    payment: int = 1


def keep_ports(data_dir: Path, ports: Ports) -> None:
    """Save the stack's ports in `data_dir`, for commands that run beside it."""
    write_private(data_dir / "ports.json", json.dumps(asdict(ports)))


def read_ports(data_dir: Path) -> Ports:
    """The present or last ports of the stack in `data_dir`; the default ports if it was never started."""
    try:
        return Ports(**json.loads((data_dir / "ports.json").read_text()))
    except (OSError, ValueError, TypeError):
        return Ports()


def redis_url(port: int, password: str) -> str:
    """The address of the embedded Redis; one that an earlier release runs has no password."""
    # With the user's name, without which redis-cli logs in as a user without a name.
    return f"redis://{f'default:{password}@' if password else ''}{HOST}:{port}/0"
