"""The processes of both actors: starts and restarts them, delivers their messages, runs their reconcilers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from tests.simulation.faults import Fault
from tests.simulation.processes import ActorProcess, BookingProcess, PaymentProcess
from tests.simulation.redis import Reader
from tests.simulation.world import World

# As in the settings: CLAIM_IDLE_MS.
CLAIM_IDLE_S = 25.0
# How many seconds a process' own clock, which it must not act by, may be ahead of Stripe's.
OWN_AHEAD_S = (0.0, 0.4, -3.0, 1200.0, -1200.0)
KINDS: tuple[type[BookingProcess] | type[PaymentProcess], ...] = (BookingProcess, PaymentProcess)
EACH = 2

Kind = TypeVar("Kind", bound=ActorProcess)


class Fleet:
    """Two processes of each actor."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._started = 0
        self.processes: list[ActorProcess] = []

    def start(self) -> None:
        for kind in KINDS:
            for _ in range(EACH):
                self._start(kind)

    def _start(self, kind: type[BookingProcess] | type[PaymentProcess]) -> None:
        self._started += 1
        name = f"{'booking' if kind is BookingProcess else 'payment'}-{self._started}"
        process = kind(self._world, name, timedelta(seconds=self._world.chance.choice(OWN_AHEAD_S)))
        if self._world.gates.happens(Fault.OLDER_RELEASE):
            process.lacks = self._world.chance.choice(process.types())
        self.processes.append(process)
        process.start()

    def alive(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.processes if isinstance(each, kind) and each.alive]

    def everybody(self) -> list[ActorProcess]:
        """All processes that are alive."""
        return [each for each in self.processes if each.alive]

    def dead(self) -> list[ActorProcess]:
        return [each for each in self.processes if not each.alive]

    def restart(self, process: ActorProcess) -> None:
        self.processes.remove(process)
        self._start(BookingProcess if isinstance(process, BookingProcess) else PaymentProcess)

    def upgrade(self) -> None:
        """End the processes of the release before; `Quiet` starts newer ones in their stead."""
        for process in self.everybody():
            if process.lacks is not None:
                process.kill()

    def end(self, app: str) -> None:
        """End all processes of one actor."""
        for process in self.alive(BookingProcess if app == "booking" else PaymentProcess):
            process.kill()

    def put_back(self) -> bool:
        """One process of each actor puts back the unknown messages that it knows. Returns whether there are any."""
        if not any(self._world.redis.unknown.values()):
            return False
        for kind in KINDS:
            if alive := self.alive(kind):
                self._world.chance.choice(alive).put_back()
        return True

    def kill(self) -> None:
        """Kill all processes, at the end of a schedule."""
        for process in self.processes:
            process.kill()

    # --- messages

    def readers(self) -> list[Reader]:
        """The consumers that may read new entries now."""
        redis = self._world.redis
        return [reader for reader in redis.readers if redis.may_read(reader)]

    def claimers(self) -> list[Reader]:
        """The consumers that may claim entries which another has had for too long."""
        redis = self._world.redis
        claimable = {name for name in redis.streams if redis.claimable(name, CLAIM_IDLE_S)}
        return [reader for reader in redis.readers if reader.stream in claimable]

    def deliver(self, reader: Reader) -> None:
        """Deliver some of the new entries, mostly in order."""
        world = self._world
        new = world.redis.stream(reader.stream).new
        count = min(reader.count, len(new), world.chance.choice((1, 1, 2, 3, 10)))
        ids: Sequence[bytes] = new[:count]
        if len(new) > 1 and world.gates.happens(Fault.OUT_OF_ORDER):
            ids = world.chance.sample(new, count)
            world.story.note("out of order:", reader.process.name)
        world.redis.deliver(reader, ids, reclaimed=False)

    def claim(self, reader: Reader) -> None:
        redis = self._world.redis
        ids = redis.claimable(reader.stream, CLAIM_IDLE_S)[: reader.count]
        redis.deliver(reader, ids, reclaimed=True)

    def deliver_all(self) -> bool:
        """Deliver all that waits, in order. Returns whether there was anything."""
        redis = self._world.redis
        delivered = False
        for reader in list(redis.readers):
            if redis.may_read(reader):
                redis.deliver(reader, redis.stream(reader.stream).new[: reader.count], reclaimed=False)
                delivered = True
            elif redis.claimable(reader.stream, CLAIM_IDLE_S):
                self.claim(reader)
                delivered = True
        return delivered

    # --- what is due

    async def reconcile_due(self) -> bool:
        """Run one reconciler pass of each actor that has something due. Returns whether there was anything."""
        reconciled = False
        for kind in KINDS:
            process = self.alive(kind)[0]
            due = await process.next_due()
            if due is not None and due <= process.now():
                process.reconcile()
                reconciled = True
        return reconciled

    async def next_due_s(self) -> list[float]:
        """In how many seconds something is due: rows of both databases, leases, and entries that may be claimed."""
        world, waits = self._world, []
        for kind in KINDS:
            process = self.alive(kind)[0]
            due = await process.next_due()
            if due is not None:
                waits.append((due - process.now()).total_seconds())
        for reader in world.redis.readers:
            expires = world.redis.lease_expires(reader)
            if expires is not None and math.isfinite(expires) and world.redis.stream(reader.stream).new:
                waits.append(expires - world.loop.at)
        for stream in world.redis.streams.values():
            waits += [since + CLAIM_IDLE_S - world.loop.at for since in stream.pending.values()]
        return waits
