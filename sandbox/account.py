"""The account: all work on it passes through here, and its webhooks and moves start after the commit."""

import time
from collections.abc import Callable
from typing import TypeVar

from sandbox.errors import ApiError
from sandbox.faults import Faults
from sandbox.ledger import Ledger
from sandbox.timetable import Timetable
from sandbox.webhooks import Webhooks
from sandbox.work import Move, Work

Result = TypeVar("Result")


class Account:
    """One account in test mode."""

    def __init__(
        self,
        ledger: Ledger,
        webhooks: Webhooks,
        faults: Faults,
        *,
        home: str,
        settle_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` returns seconds since the epoch."""
        self.ledger = ledger
        self.webhooks = webhooks
        self._faults = faults
        self.moves: Timetable[Move] = Timetable()
        self._home = home
        self._settle_seconds = settle_seconds
        self._clock = clock

    def time(self) -> float:
        """Seconds since the epoch by the account's clock."""
        return self._clock() + self._faults.switches.clock_ahead_seconds

    def resume(self) -> None:
        """Schedule the moves that an earlier process has not made."""
        for seq, name, object_id, due in self.ledger.read("SELECT seq, name, object, due FROM moves ORDER BY seq"):
            self.moves.add(due, Move(seq, name, object_id, due))

    def work(
        self,
        *,
        origin: str | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        publishable: bool = False,
    ) -> Work:
        """A piece of work that begins now. `origin` is the address at which the caller reached the stand-in."""
        switches = self._faults.switches
        return Work(
            ledger=self.ledger,
            endpoints=self.webhooks.endpoints,
            time=self.time(),
            ahead_seconds=switches.clock_ahead_seconds,
            event_lag_seconds=switches.event_lag_seconds,
            event_lag_share=switches.event_lag_share,
            origin=origin or self._home,
            settle_seconds=self._settle_seconds,
            request_id=request_id,
            idempotency_key=idempotency_key,
            publishable=publishable,
        )

    def do(self, work: Work, step: Callable[[Work], Result]) -> Result:
        """Run `step`. If it raises, nothing of what it wrote is kept, unless the error says so (`keeps_work`).

        Raises:
            ApiError: as `step` does.
        """
        try:
            with self.ledger.atomic():
                try:
                    return step(work)
                except ApiError as error:
                    if not error.keeps_work:
                        raise
                    kept = error
        except BaseException:
            work.forget()
            raise
        raise kept

    async def release(self, work: Work) -> None:
        """Wait for the commit, then start the webhooks and moves of this work."""
        await self.ledger.committed()
        if work.deliveries:
            self.webhooks.hand_over(work.deliveries)
        for move in work.moves:
            self.moves.add(move.due, move)

    async def perform(self, step: Callable[[Work], Result], *, origin: str | None = None) -> Result:
        """Work without an API request: a move, or a request to `/_sandbox`.

        Raises:
            ApiError: as `step` does.
        """
        work = self.work(origin=origin)
        try:
            return self.do(work, step)
        finally:
            await self.release(work)
