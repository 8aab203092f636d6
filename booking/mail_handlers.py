"""Mails for operators: which there are about a booking, and one sent again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from booking.mails import Mail
from booking.query_handlers import page_of
from booking.repository import Store
from booking.state import CONFIRMED, PENDING, Booking
from common.contracts import resources
from common.contracts.errors import MailNotPossible, NotFound
from common.contracts.messages import ListMails, ResendMail
from common.contracts.statuses import MailKind
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer_each

# The most mails that are listed of a booking: a handful is what a booking makes.
LISTED_MAX = 200


class MailHandlers:
    """`on`: mails are sent. They are rare: each has a transaction of its own."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, on: bool) -> None:
        self._store = store
        self._clock = clock
        self._on = on
        self.commands: Handlers = {ResendMail: self.resend}
        self.queries: Handlers = {ListMails: self.list_mails}

    async def list_mails(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        async with self._store.reading() as rows:

            async def page(delivery: Delivery) -> Any:
                id = delivery.message.booking_id
                found = await rows.mails.of_booking(id, LISTED_MAX)
                if not found and not await rows.bookings.load([id]):
                    raise NotFound
                return page_of(found, LISTED_MAX, shown, lambda last: [str(last.id)])

            return await answer_each(deliveries, page)

    async def resend(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        return await answer_each(deliveries, self._once)

    async def _once(self, delivery: Delivery) -> Any:
        """A repeated request gets the answer of the first one. Raises NotFound or MailNotPossible."""
        message: ResendMail = delivery.message
        async with self._store.transaction() as rows:
            # The lock makes a request that comes twice at once wait for itself.
            booking = (await rows.bookings.lock([message.booking_id])).get(message.booking_id)
            if booking is None:
                raise NotFound
            now = self._clock()
            await rows.requests.open([delivery], now)
            if (answered := rows.requests.answer_to(delivery)) is not None:
                return answered
            if not self._on:
                raise MailNotPossible("No mail is sent by this installation")
            check(booking, message.kind)
            amount = booking.amount_refunded if message.kind is MailKind.REFUND else None
            mail = Mail(
                message.mail_id, booking.id, message.kind, booking.version, now, now, amount, message.requester
            )
            await rows.mails.add([mail])
            rows.requests.keep(delivery, answer := shown(mail))
            await rows.requests.save()
        return answer


def check(booking: Booking, kind: MailKind) -> None:
    """Raises MailNotPossible for a mail that would not be true, or would reach nobody."""
    if booking.customer is None:
        raise MailNotPossible("The booking has no customer to write to")
    true = {
        MailKind.CONFIRMATION: booking.status is CONFIRMED,
        MailKind.CANCELLATION: booking.status not in (CONFIRMED, PENDING),
        MailKind.REFUND: booking.amount_refunded > 0,
        # A booking that its customer has asked for needs no mail to be paid.
        MailKind.OFFER: False,
    }
    if not true.get(kind, False):
        raise MailNotPossible(f"A {kind} would not be true: the booking is {booking.status.value}")


def shown(mail: Mail) -> resources.Mail:
    return resources.Mail.model_validate(mail._asdict())
