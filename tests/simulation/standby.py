"""A database comes back older than it was: a standby that lagged took over. What then is off, and what is not.

Off, as what clients and counters go by may be gone: once booking has lost something, what clients were shown ("4
never backwards", "2 what was shown is there"); whichever has, that attempts to pay are counted, and at every moment
that money is matched and a booking has one live intent. All the rest stays on at every moment: never oversold, no
refund made twice, holds last, a webhook counts once, every question answered.

In the end money is matched again: by itself where payment lost something, after `holdfast repair` where a payment
had long been acknowledged by a booking that is gone or older now. Then the audit is as clean as ever.
"""

from __future__ import annotations

from common.contracts.messages import PAYMENT_COMMANDS
from common.messaging.envelope import tell
from ops.repair.acting import message_of
from ops.repair.command import ROUNDS_MAX
from tests.simulation.faults import Fault
from tests.simulation.fleet import Fleet
from tests.simulation.postgres import GatedDatabase
from tests.simulation.promises import Promises
from tests.simulation.redis import encoded
from tests.simulation.world import World

# Which database it takes over from. Both are on one server in many installations.
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
        """It has stopped to follow."""
        return bool(self._copies)

    async def fall_behind(self) -> None:
        self._world.story.tell("a standby falls behind", "standby")
        self._copies = {each.app: await each.copy() for each in self._databases()}

    def _databases(self) -> tuple[GatedDatabase, ...]:
        return self._world.lasting.booking, self._world.lasting.payment

    async def take_over(self) -> None:
        """What was written since it fell behind is gone. Processes live on, or are started again."""
        world = self._world
        lost, ends = world.chance.choice(LOSSES), world.chance.random() < 0.5
        world.coverage.strike(Fault.STANDBY_TOOK_OVER)
        world.story.tell(f"takes over from {' and '.join(lost)}{', which ends' if ends else ''}", "standby")
        for database in self._databases():
            if database.app in lost:
                await database.put_back(self._copies[database.app])
                if ends:
                    self._fleet.end(database.app)
        self._copies = {}
        world.people.shown_is_lost |= "booking" in lost
        self._promises.forget(lost)

    async def repair(self) -> bool:
        """What an operator does afterwards; says whether there was anything to do, and that it is done."""
        if not self._promises.lost or self._repairs == ROUNDS_MAX:
            return False
        if self._repairs == 0:
            await self._promises.check_healed()
        self._repairs += 1
        acts = await self._promises.to_repair()
        for act in acts:
            self._world.story.tell(f"{act.kind.value}: {act.id} {act.intent_id or ''}", "repair")
            envelope = tell(message_of(act), act.id)
            self._world.redis.add(PAYMENT_COMMANDS, encoded(envelope.fields("/holdfast/repair")))
        return bool(acts)
