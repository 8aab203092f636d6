"""The handlers of recovery codes and links, by which guests come back to their bookings on another device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from booking.links import Links
from booking.recovery_rows import NewCode, Use
from booking.repository import Store
from common.contracts.codes import ids_of
from common.contracts.errors import Conflict, LinkInvalid, NothingToRecover, RecoveryCodeInvalid
from common.contracts.ids import is_guest
from common.contracts.messages import FindGuest, KeepRecoveryCode, UseRecoveryCode
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answers

# For so long the request that has used a code may be repeated, as its answer may be lost: longer than people wait
# at a page, and too short for a thief who finds the request in a log later.
REPEATABLE = timedelta(minutes=10)


class GuestHandlers:
    def __init__(self, store: Store, clock: Callable[[], datetime], codes_last: timedelta, links: Links) -> None:
        self._store = store
        self._clock = clock
        self._codes_last = codes_last
        self._links = links
        self.queries: Handlers = {FindGuest: self.find_guests}
        self.commands: Handlers = {KeepRecoveryCode: self.keep_codes, UseRecoveryCode: self.use_codes}

    async def keep_codes(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Keep the newest code of each guest, and answer when it expires: no later where the message comes late. A
        late message replaces no newer code."""
        newest: dict[str, NewCode] = {}
        for message in sorted((delivery.message for delivery in deliveries), key=lambda each: each.made_at):
            expires_at = message.made_at + self._codes_last
            newest[message.owner] = NewCode(message.owner, message.code_hash, message.made_at, expires_at)
        async with self._store.statement() as rows:
            kept, books = await rows.recovery.keep(list(newest.values()))

        def outcome(message: KeepRecoveryCode) -> Any:
            new = newest[message.owner]
            if message.owner not in books:
                return NothingToRecover()
            if message.owner not in kept or message.code_hash != new.code_hash:
                return Conflict("A newer recovery code was made")
            return {"expires_at": new.expires_at}

        return answers((delivery, outcome(delivery.message)) for delivery in deliveries)

    async def use_codes(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Answer with the guest of each code, which is used up with this; one answer for all that are not good."""
        asked = [Use(delivery.message.code_hash, delivery.message.request_hash) for delivery in deliveries]
        now = self._clock()
        async with self._store.statement() as rows:
            owners = await rows.recovery.use(set(asked), now, now - REPEATABLE)

        def outcome(use: Use) -> Any:
            return {"owner": owners[use]} if use in owners else RecoveryCodeInvalid()

        return answers((delivery, outcome(use)) for delivery, use in zip(deliveries, asked, strict=True))

    async def find_guests(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Answer with the guest of the booking that each link leads to; one answer for all that are not good."""
        references = {delivery.message.reference for delivery in deliveries}
        ranges = {each: ids for each in references if (ids := ids_of(each)) is not None}
        async with self._store.reading() as rows:
            found = await rows.recovery.referenced(set(ranges.values()))
        since = self._clock() - self._links.last
        open_now = [each for each in found if each.starts_at > since and is_guest(each.owner)]

        def outcome(message: FindGuest) -> Any:
            first, _ = ranges.get(message.reference, (None, None))
            owners = [
                each.owner
                for each in open_now
                if each.first == first and self._links.opens(each.id, each.email, message.link_hash)
            ]
            return {"owner": owners[0]} if owners else LinkInvalid()

        return answers((delivery, outcome(delivery.message)) for delivery in deliveries)
