"""Everything around the processes: time, chance, Postgres, Redis, Stripe, and the people."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry

from booking.webhook_sender import WebhookMetrics
from common.runtime.clock import Bounds
from common.runtime.telemetry import Metrics
from payment.stripe_api import StripeMetrics
from sandbox.faults import Switches
from tests.simulation.clockwork import EPOCH, EPOCH_S, Clock, VirtualLoop, install
from tests.simulation.door import AtTheDoor
from tests.simulation.faults import Fault, Lure, Profile
from tests.simulation.gates import Gates
from tests.simulation.mail import SimulatedMailServer
from tests.simulation.people import People
from tests.simulation.postgres import GatedDatabase, open_gated
from tests.simulation.receivers import Receivers
from tests.simulation.redis import SimulatedRedis
from tests.simulation.story import Coverage, Story
from tests.simulation.stripe_side import Stripe

# How many seconds the clock is put past a timer, as the loop calls it only when its time has passed.
TICK_S = 1e-6
# The longest time in seconds that the query for Postgres' time takes on its way there, and the answer back.
WAY_MAX_S = 0.2


@dataclass
class Lasting:
    """What is kept from one schedule to the next, because it takes long to make."""

    booking: GatedDatabase
    payment: GatedDatabase
    metrics: Metrics
    stripe_metrics: StripeMetrics
    webhook_metrics: WebhookMetrics

    @classmethod
    async def open(cls, booking_url: str, payment_url: str) -> Lasting:
        booking, payment = await open_gated("booking", booking_url), await open_gated("payment", payment_url)
        return cls(
            booking, payment, Metrics(), StripeMetrics(CollectorRegistry()), WebhookMetrics(CollectorRegistry())
        )

    async def close(self) -> None:
        await self.booking.close()
        await self.payment.close()


class World:
    """The world of one seed."""

    def __init__(self, seed: int, loop: VirtualLoop, lasting: Lasting, coverage: Coverage, lure: Lure) -> None:
        self.seed = seed
        self.loop = loop
        self.lasting = lasting
        self.coverage = coverage
        loop.at = 0.0
        self.clock = Clock(loop)
        install(self.clock, seed)
        self.chance = random.Random(f"schedule {seed}")
        self.story = Story(loop)
        # How many rows of each kind a process remembers: none in some schedules, a few in others.
        self.memory_max = random.Random(f"memory {seed}").choice((0, 3, 1000, 1000))
        self.profile = Profile.draw(self.chance, random.Random(f"lagging {seed}"), lure)
        self.gates = Gates(loop, self.chance, self.profile, self.story, coverage)
        self.people = People(
            self.chance,
            self.gates,
            self.story,
            self.profile.begins_soon,
            random.Random(f"loops {seed}"),
            lure.loops,
            random.Random(f"codes {seed}"),
            lure.codes,
        )
        self.door = AtTheDoor(random.Random(f"door {seed}"), self.people, self.story, lure.doors)
        self.redis = SimulatedRedis(self.gates, self.clock, self.story, self.people.receive)
        self.people.redis = self.redis
        self.mail = SimulatedMailServer(self.gates)
        # How many booking processes were started so far.
        self.booking_processes = 0
        lag = Switches(event_lag_seconds=self.profile.lag_s, event_lag_share=self.profile.lag_share)
        self.receivers = Receivers(seed, self.gates, self.story)
        self.stripe = Stripe(self.gates, self.clock, self.story, lag)
        for fault, strikes in (
            (Fault.CLOCKS_APART, self.profile.skew_s),
            (Fault.EVENTS_LISTED_LATE, self.profile.lag_s),
        ):
            if strikes:
                coverage.strike(fault)

    def now(self) -> datetime:
        """Postgres' time, which may be up to five minutes off Stripe's."""
        return self.clock.now() + timedelta(seconds=self.profile.skew_s)

    def monotonic(self) -> float:
        return (self.clock.now() - EPOCH).total_seconds()

    def measured_time(self) -> Bounds:
        """What a process learns when it asks Postgres for the time, with some delay on each way."""
        there, back = (self.chance.random() * WAY_MAX_S for _ in range(2))
        ahead = self.now().timestamp() - self.monotonic()
        return Bounds(ahead - back, ahead + there)

    async def begin(self) -> None:
        for database in (self.lasting.booking, self.lasting.payment):
            await database.begin_schedule(self.gates, self.seed)
        await self.receivers.set_up(self.lasting.booking.raw)

    async def advance(self, seconds: float) -> None:
        """Advance the time, from timer to timer."""
        until = self.loop.at + seconds
        while True:
            move = self.stripe.moves.next()
            upcoming = [self.loop.next_timer(), None if move is None else move - EPOCH_S]
            times = [max(each, self.loop.at) for each in upcoming if each is not None]
            if not times or min(times) > until:
                break
            self.loop.at = min(times) + TICK_S
            await self.stripe.make_due_moves()
            await self.gates.quiesce()
        self.loop.at = max(self.loop.at, until)
        self.story.note(f"{seconds:.3f} s pass", "clock")
