"""What operators do to the promo codes of an event. Each change is one of the event's, and in its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from booking import promo_codes
from booking.presenters import shown_code
from booking.promo_codes import PromoCode, what_changed
from booking.repository import Transaction
from booking.state import Event
from common.contracts import resources
from common.contracts.errors import CodeExists, CodeNotFound
from common.contracts.history import FieldChange
from common.contracts.messages import CreatePromoCodes, UpdatePromoCode


class PromoCodeChanges:
    """What these messages do, in the transaction that has locked the event (see EventHandlers)."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    async def create(self, rows: Transaction, event: Event, message: CreatePromoCodes) -> resources.PromoCodes:
        """Raises InvalidRequest, and CodeExists if the event has one of them, or two of them are the same."""
        terms = dict(message.terms)
        codes = [PromoCode(each.id, event.id, each.code, **terms) for each in message.codes]
        promo_codes.check(codes[0], event)
        now = self._clock()
        if await rows.codes.add(codes, now) < len(codes):
            raise CodeExists
        await self._record(rows, event, _made(codes), now, message.requester)
        return resources.PromoCodes(items=tuple(map(shown_code, codes)))

    async def update(self, rows: Transaction, event: Event, message: UpdatePromoCode) -> resources.PromoCode:
        """Raises CodeNotFound, InvalidRequest and UsesBelowUsed."""
        code = (await rows.codes.lock([message.code_id], ())).codes.get(message.code_id)
        if code is None or code.event_id != event.id:
            raise CodeNotFound
        changes = message.changes
        values = {name: getattr(changes, name) for name in changes.model_fields_set}
        changed = promo_codes.change(code, values, event)
        if changed is not code:
            await rows.codes.save(changed)
            await self._record(rows, event, what_changed(code, changed), self._clock(), message.requester)
        return shown_code(changed)

    async def _record(
        self, rows: Transaction, event: Event, changes: Sequence[FieldChange], now: datetime, by: str | None
    ) -> None:
        await rows.events.save_version(event, event._replace(version=event.version + 1), changes, now, by)


def _made(codes: Sequence[PromoCode]) -> list[FieldChange]:
    """How many were made, and with which terms, by the first of them."""
    first = codes[0]
    return [FieldChange(field="codes", code=first.code, old=None, new=len(codes)), *what_changed(None, first)]
