"""One schedule: many choices of what happens next, with faults; then time without faults, until all is finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from tests.simulation.clockwork import VirtualLoop
from tests.simulation.customers import PAYABLE, Customers
from tests.simulation.faults import OUTAGES, Fault, Lure
from tests.simulation.fleet import CLAIM_IDLE_S, Fleet
from tests.simulation.postman import Postman
from tests.simulation.processes import PaymentProcess
from tests.simulation.promises import Promises
from tests.simulation.quiet import Quiet
from tests.simulation.standby import Standby
from tests.simulation.story import Coverage
from tests.simulation.world import Lasting, World

# Stripe forgets an idempotency key after 24 hours; this is an hour more.
DAY_S = 25 * 3600.0

Act = Callable[[], Awaitable[object] | object]


class Schedule:
    """All that happens under one seed."""

    def __init__(self, seed: int, loop: VirtualLoop, lasting: Lasting, coverage: Coverage, lure: Lure) -> None:
        self.world = world = World(seed, loop, lasting, coverage, lure)
        self.fleet = Fleet(world)
        self._chance = world.chance
        self._people = world.people
        self._postman = Postman(world, self.fleet)
        self._customers = Customers(world.chance, world.stripe, world.people.payable)
        self._promises = Promises(world, self._customers.tampered)
        self._standby = Standby(world, self.fleet, self._promises)
        self._quiet = Quiet(world, self.fleet, self._postman, self._customers, self._promises, self._standby)
        loop.set_exception_handler(self._died)

    async def run(self, steps: int) -> None:
        """Play the schedule. It ends early when a promise is broken: see `story.violations`."""
        story = self.world.story
        try:
            await self._set_up()
            while story.step < steps and not story.violations:
                await self._step(self._choose())
            if not story.violations:
                await self._quiet.run()
            self._count_endings()
        finally:
            self.fleet.kill()
            await self.world.gates.quiesce()
            self.world.stripe.close()

    def _died(self, _: object, context: dict[str, Any]) -> None:
        """A task ended with an error, and no other task awaits it."""
        self.world.story.violate("6 nothing lost", f"{context['message']}: {context.get('exception')!r}")

    async def _set_up(self) -> None:
        gates = self.world.gates
        gates.quiet = True
        await self.world.begin()
        self.fleet.start()
        self._people.set_up()
        # As each process does when it starts: from now on the catch-up finds Stripe events.
        self.fleet.alive(PaymentProcess)[0].catch_up()
        await gates.quiesce()
        while self.fleet.deliver_all():
            await gates.quiesce()
        gates.quiet = False

    async def _step(self, act: Act) -> None:
        self.world.story.step += 1
        done = act()
        if isinstance(done, Awaitable):
            await done
        await self.world.gates.quiesce()
        await self._promises.check()

    def _choose(self) -> Act:
        acts = [*self._inside(), *self._outside(), *self._trouble()]
        return self._chance.choices([act for _, act in acts], [weight for weight, _ in acts])[0]

    # --- what can happen next, and how likely it is beside the others

    def _inside(self) -> list[tuple[float, Act]]:
        """Processes continue, time passes."""
        fleet, chance, advance = self.fleet, self._chance, self.world.advance
        parked, readers, claimers = self.world.gates.parked, fleet.readers(), fleet.claimers()
        idle = [each for each in fleet.everybody() if not each.reconciling]
        not_catching_up = [each for each in fleet.alive(PaymentProcess) if not each.catching_up]
        silent = Fault.STRIPE_OUTAGE in self.world.gates.outages
        only_stripe_is_out = self.world.gates.outages <= {Fault.STRIPE_OUTAGE}
        return [
            (5.0 * min(len(parked), 4), lambda: self.world.gates.release(chance.choice(parked))),
            (8.0 * min(len(readers), 4), lambda: fleet.deliver(chance.choice(readers))),
            (4.0 * bool(claimers), lambda: fleet.claim(chance.choice(claimers))),
            (2.0 * bool(idle), lambda: chance.choice(idle).reconcile()),
            (0.5 * any(self.world.redis.unknown.values()), lambda: bool(fleet.put_back())),
            (0.7 * bool(not_catching_up), lambda: chance.choice(not_catching_up).catch_up()),
            (4.0, lambda: advance(chance.uniform(0.01, 1.5))),
            (1.2, lambda: advance(chance.uniform(2.0, 12.0))),
            (0.4, lambda: advance(chance.uniform(20.0, 60.0))),
            (0.12, lambda: advance(chance.uniform(60.0, 1000.0))),
            (0.03 * only_stripe_is_out, lambda: advance(DAY_S)),
            (0.4 + 2.0 * silent, self._wait_for_a_booking),
        ]

    def _outside(self) -> list[tuple[float, Act]]:
        """Clients, operators, customers, banks and Stripe do something."""
        people, customers, door = self._people, self._customers, self.world.door
        has_wishes = bool(people.wishes)
        confirmed, paid = bool(people.seen("confirmed")), bool(self._promises.count("succeeded"))
        webhooks = bool(self._postman.waiting) and Fault.STRIPE_OUTAGE not in self.world.gates.outages
        return [
            (8.0 * people.eager, people.book),
            (6.0 * bool(people.loops), people.loop),
            (0.6 * has_wishes, people.book_again),
            (0.4 * has_wishes, people.cancel),
            (0.5 * has_wishes, people.get_booking),
            (0.3 * has_wishes, people.request_payment),
            (0.3 * has_wishes, people.set_customer),
            (0.05 * has_wishes, people.operator_erases),
            (0.25 * has_wishes, people.operator_cancels_booking),
            (self.world.profile.refunds * confirmed + 0.1 * has_wishes, people.operator_refunds),
            (0.4 * people.sells, people.operator_sells),
            (0.3 * bool(people.sales), people.operator_ends_sale),
            (0.05, people.operator_cancels_event),
            (0.05 + 0.5 * people.sees_failed_refunds, people.operator_retries_refunds),
            (0.15 * self.world.profile.edits, people.operator_changes_event),
            (3.0 * min(self._promises.count(*PAYABLE), 3), customers.pay),
            (0.8, customers.decide),
            (0.15 * self.world.profile.by_hand * paid, customers.dispute),
            (self.world.profile.by_hand * (1.0 * paid + 0.4), customers.by_hand),
            (8.0 * webhooks, self._postman.send),
            (2.0 * door.ready, door.show),
            (0.3 * door.busy, door.undo),
            (0.2 * door.shown, door.refund),
            (0.5 * door.opens, door.follow),
        ]

    def _trouble(self) -> list[tuple[float, Act]]:
        """Faults of the world; the others strike inside processes, at their points."""
        chances, gates = self.world.profile.chances, self.world.gates
        dead = self.fleet.dead()
        return [
            (3.0 * len(dead), lambda: self.fleet.restart(dead[0])),
            (self.world.profile.crash * 50 * bool(gates.parked), self._kill),
            (chances[Fault.WEBHOOK_FORGED] * 20, self._postman.forge),
            (chances[Fault.WEBHOOK_STALE] * 20, self._postman.repeat_late),
            (chances[Fault.FLUSHED] * 50, self._flush),
            (sum(chances[outage] for outage in OUTAGES) * 50, self._begin_outage),
            (0.35 * len(gates.outages), self._end_outage),
            (chances[Fault.STANDBY_TOOK_OVER] * 100 * (not self._standby.lags), self._standby.fall_behind),
            (2.0 * self._standby.lags, self._standby.take_over),
        ]

    async def _wait_for_a_booking(self) -> None:
        """Advance to the retry time of a booking: its hold ends, or its grace time."""
        now = self.world.now()
        times = [row.facts.retry_at for row in self._promises.rows.values()]
        upcoming = [each for each in times if each is not None and each > now]
        if upcoming:
            await self.world.advance((self._chance.choice(upcoming) - now).total_seconds() + 0.01)

    def _kill(self) -> None:
        parked = self._chance.choice(self.world.gates.parked)
        self.world.gates.crash(parked.process, parked.point)

    def _flush(self) -> None:
        self.world.coverage.strike(Fault.FLUSHED)
        self.world.story.note(Fault.FLUSHED.value)
        self.world.redis.flush()
        # As gateways do: sockets open anew at once, and again when nothing is in hand that Redis has forgotten.
        self.world.people.opened_at = self.world.now() + timedelta(seconds=CLAIM_IDLE_S)

    def _begin_outage(self) -> None:
        chances = self.world.profile.chances
        (outage,) = self._chance.choices(OUTAGES, [chances[each] for each in OUTAGES])
        self.world.coverage.strike(outage)
        self.world.story.note(outage.value)
        self.world.gates.outages.add(outage)

    def _end_outage(self) -> None:
        outage = self._chance.choice(sorted(self.world.gates.outages, key=lambda each: each.value))
        self.world.story.note(f"no longer: {outage.value}")
        self.world.gates.outages.discard(outage)

    def _count_endings(self) -> None:
        coverage = self.world.coverage
        for row in self._promises.rows.values():
            coverage.endings[f"{row.facts.status} {row.reason or ''}".strip()] += 1
            coverage.money[row.facts.payment] += 1
