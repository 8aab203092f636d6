"""Moves, which the stand-in makes without a request: bank debits, late refunds and disputes, each at its time."""

from collections.abc import Callable

import structlog

from sandbox import disputes, payments, refunds
from sandbox.account import Account
from sandbox.errors import ApiError
from sandbox.work import Move, Work


def _settle(succeeded: bool) -> Callable[[Work, str], object]:
    def settle(work: Work, intent: str) -> object:
        return payments.settle(work, work.get("payment_intent", intent), succeeded=succeeded)

    return settle


MOVES: dict[str, Callable[[Work, str], object]] = {
    "payment.succeed": _settle(True),
    "payment.fail": _settle(False),
    "refund.succeed": refunds.succeed,
    "refund.fail": refunds.fail,
    "dispute.open": disputes.open_by_number,
}

log = structlog.get_logger()


async def make_moves(account: Account) -> None:
    """Make every move at its time, until cancelled."""
    while True:
        await make(account, await account.moves.take())


async def make(account: Account, move: Move) -> None:
    """Make one move, once: its changes, and that it was made, are written together.

    A move that is no longer possible, because another change came first, is dropped.
    """

    def step(work: Work) -> None:
        try:
            with work.ledger.atomic():
                MOVES[move.name](work, move.object_id)
        except ApiError as error:
            work.forget()
            log.info("move not made", move=move.name, object=move.object_id, error=str(error))
        work.ledger.write("DELETE FROM moves WHERE seq = ?", (move.seq,))

    try:
        await account.perform(step)
    except Exception:
        # An error in one move must not stop the others; this one is tried again after a restart.
        log.exception("move failed", move=move.name, object=move.object_id)
