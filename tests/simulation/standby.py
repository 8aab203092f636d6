"""A database comes back older than it was, because a standby that lagged took over. Some promises then no longer
hold, and are not checked, because the rows that clients and counters depend on may be gone.

Once booking's database has lost rows: what clients were shown ("4 never backwards", "2 what was shown is there").
Once either database has: that attempts are counted, that sockets miss nothing, and at every moment that money is
matched and that a booking has one live intent. All other promises still hold at every moment: never oversold, no
refund made twice, holds last, a webhook counts once, every request answered.

In the end money is matched again: without an operator where payment's database lost rows; after `holdfast repair`
where a booking that is gone or older now had long acknowledged a payment. Then the audit finds nothing.
"""

from __future__ import annotations

from common.contracts.messages import PAYMENT_COMMANDS
from common.messaging.envelope import envelope_for
from ops.repair.command import ROUNDS_MAX
from ops.repair.execution import message_of
from tests.simulation.faults import Fault
from tests.simulation.fleet import Fleet
from tests.simulation.postgres import GatedDatabase
from tests.simulation.promises import Promises
from tests.simulation.redis import encoded
from tests.simulation.world import World

# The databases that it takes over from. Many installations have both on one server.
LOSSES = (("booking",), ("payment",), ("booking", "payment"))


class Standby:
    def __init__(self, world: World, fleet: Fleet, promises: Promises) -> None:
        self._world = world
        self._fleet = fleet
        self._promises = promises
        self._copies: dict[str, dict[str, bytes]] = {}
        self._repairs = 0

    @property
    def lags(self) -> bool:
        """Whether the standby has stopped following."""
        return bool(self._copies)

    async def fall_behind(self) -> None:
        self._world.story.note("a standby falls behind", "standby")
        self._copies = {each.app: await each.copy() for each in self._databases()}

    def _databases(self) -> tuple[GatedDatabase, ...]:
        return self._world.lasting.booking, self._world.lasting.payment

    async def take_over(self) -> None:
        """All that was written since it fell behind is gone. Processes stay alive, or end and are started again."""
        world = self._world
        lost, ends = world.chance.choice(LOSSES), world.chance.random() < 0.5
        world.coverage.strike(Fault.STANDBY_TOOK_OVER)
        world.story.note(f"takes over from {' and '.join(lost)}{', which ends' if ends else ''}", "standby")
        for database in self._databases():
            if database.app in lost:
                await database.put_back(self._copies[database.app])
                if ends:
                    self._fleet.end(database.app)
        self._copies = {}
        world.people.shown_is_lost |= "booking" in lost
        self._promises.forget(lost)

    async def repair(self) -> bool:
        """Do what an operator does afterwards: `holdfast repair`. Returns whether there was anything to repair."""
        if not self._promises.lost or self._repairs == ROUNDS_MAX:
            return False
        if self._repairs == 0:
            await self._promises.check_healed()
        self._repairs += 1
        actions = await self._promises.to_repair()
        for action in actions:
            self._world.story.note(f"{action.kind.value}: {action.id} {action.intent_id or ''}", "repair")
            envelope = envelope_for(message_of(action, "operator"), action.id)
            self._world.redis.add(PAYMENT_COMMANDS, encoded(envelope.fields("/holdfast/repair")))
        return bool(actions)
