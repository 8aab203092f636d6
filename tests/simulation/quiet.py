"""After the faults: time passes until all work is finished, and then every promise is checked."""

from __future__ import annotations

from tests.simulation.clockwork import EPOCH_S
from tests.simulation.customers import Customers
from tests.simulation.fleet import Fleet
from tests.simulation.postman import Postman
from tests.simulation.processes import PaymentProcess
from tests.simulation.promises import Promises
from tests.simulation.standby import Standby
from tests.simulation.world import World

# By far more steps than any schedule has needed, and more time than any hold with its grace time.
STEPS_MAX = 800
QUIET_MAX_S = 4 * 3600.0
# The fleet reads the event list every 30 s at most; one second more, as the next process' clock may be behind.
CATCH_UP_S = 31.0

# A customer who can pay is declined once in this time: before the time that the last decline gave is over, so that
# only the last moment ends the hold; and two passes over the event list before the reconciler compares the booking
# with Stripe, which it does after 5 minutes.
INSIST_EVERY_S = 180.0


class Quiet:
    def __init__(
        self,
        world: World,
        fleet: Fleet,
        postman: Postman,
        customers: Customers,
        promises: Promises,
        standby: Standby,
    ) -> None:
        self._world = world
        self._fleet = fleet
        self._postman = postman
        self._customers = customers
        self._promises = promises
        self._standby = standby

    async def run(self) -> None:
        """Let time pass until nothing waits any more, then check every promise."""
        world = self._world
        world.story.note("the faults stop")
        world.gates.quiet = True
        world.gates.outages.clear()
        world.stripe.list_all_events()
        self._fleet.upgrade()
        began, first_step, caught_up = world.loop.at, world.story.step, False
        while world.story.step - first_step < STEPS_MAX and world.loop.at - began < QUIET_MAX_S:
            if await self._work_off():
                caught_up = False
            elif not caught_up:
                caught_up = True
                await self._catch_up()
            elif not await self._jump() and not await self._standby.repair():
                if not world.story.violations:
                    await self._promises.check_finished()
                return
            if world.story.violations:
                return
        world.story.violate("2 every booking ends", f"not finished {world.loop.at - began:.0f} s after the faults")

    async def _work_off(self) -> bool:
        """Do everything that can be done now. Returns whether there was anything."""
        world, worked = self._world, False
        for process in self._fleet.dead():
            self._fleet.restart(process)
        for _ in range(STEPS_MAX):
            world.story.step += 1
            for parked in list(world.gates.parked):
                world.gates.release(parked)
            await self._checked()
            if world.story.violations or not await self._do_next():
                break
            worked = True
        return worked

    async def _do_next(self) -> bool:
        if await self._customers.finish() or self._fleet.deliver_all() or self._fleet.put_back():
            return True
        if self._postman.waiting:
            self._postman.send_next()
            return True
        return await self._fleet.reconcile_due()

    async def _checked(self) -> None:
        await self._world.gates.quiesce()
        await self._promises.check()

    async def _catch_up(self) -> None:
        """Find lost webhooks in Stripe's event list."""
        await self._world.advance(CATCH_UP_S)
        self._fleet.alive(PaymentProcess)[0].catch_up()
        await self._checked()

    async def _jump(self) -> bool:
        """Advance to the next time at which something is due. Returns whether there is one."""
        loop = self._world.loop
        waits = await self._fleet.next_due_s()
        if (timer := loop.next_timer()) is not None:
            waits.append(timer - loop.at)
        if (move := self._world.stripe.moves.next()) is not None:
            waits.append(move - EPOCH_S - loop.at)
        if not waits:
            return False
        wait = max(min(waits), 0.0)
        if wait > INSIST_EVERY_S and await self._customers.insist():
            wait = INSIST_EVERY_S
        await self._world.advance(wait + 0.001)
        return True
