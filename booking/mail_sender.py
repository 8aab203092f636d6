"""Sends the mails that are owed, at their retry times, over the mail server.

An attempt is written before it is made, with the time of the next one: whatever ends in between, the mail is sent
again, under the same Message-ID. No transaction is open while the server is asked.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
import structlog
from aiosmtplib import SMTP

from booking.announcements import Announcement
from booking.announcer import Announce
from booking.booking_rows import BookingRows
from booking.content_rows import NOTHING, ContentRows
from booking.event_rows import EventRows
from booking.mail_rows import MailRows
from booking.mail_texts import Letter, MailTexts, Notice
from booking.mails import Mail, MailPolicy, address_of, after_failure, ended, over_limit, owed
from booking.smtp import MailNotTaken, MailRefused, MailServer, MailServerUnavailable
from booking.state import CONFIRMED, PENDING
from booking.webhook_rows import WebhookRows
from common.contracts.statuses import MailKind, MailStatus
from common.contracts.webhooks import DisabledReason
from common.postgres.database import Database
from common.runtime.backoff import Retry
from common.runtime.outages import Outage
from common.runtime.reconciler import Reconciler
from common.runtime.telemetry import Metrics

# Mails of one pass.
PASS_MAX = 50
# No mail of a pass is begun after this time, and what one takes has a limit: all have ended when their claim does,
# with this margin. The mails of a process that has ended are sent by others then.
PASS_SECONDS = 20.0
CLAIM_MARGIN_SECONDS = 30.0
# While the server is unavailable it is tried again after these pauses.
UNAVAILABLE = Retry(timedelta(seconds=2), timedelta(minutes=2))
# From when on a mail that is owed is a matter for a person, and for how long one that was given up is.
LATE = timedelta(hours=1)
GIVEN_UP_SHOWN = timedelta(days=1)
# How often old mails are deleted, and how many at once.
FORGET_AGAIN = timedelta(hours=1)
FORGET_MAX = 1000
# How many bookings a mail to operators names.
ATTENTION_MAX = 20

log = structlog.get_logger()


def announces_mail(operators: str | None) -> Announce:
    """Makes the mails that are owed for announcements. `operators`: their address."""
    return partial(_announce, operators=operators is not None)


async def _announce(
    connection: asyncpg.Connection, made: Sequence[Announcement], now: datetime, *, operators: bool
) -> None:
    found = owed(made, now, operators=operators)
    await MailRows(connection).add(found.mails, found.again)


class MailSender(Reconciler):
    """Any number may run at once: each takes mails that no other has locked."""

    def __init__(
        self,
        database: Database,
        server: MailServer,
        texts: MailTexts,
        policy: MailPolicy,
        clock: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._server = server
        self._claimed_for = timedelta(seconds=PASS_SECONDS + server.slowest_s + CLAIM_MARGIN_SECONDS)
        self._texts = texts
        self._policy = policy
        self._metrics = metrics
        # Why the server cannot be used, how often that was found in a row, and when it is tried again.
        self._problem: str | None = None
        self._unavailable = 0
        self._pause_until: datetime | None = None
        self._forget_at: datetime | None = None

    async def next_due(self) -> datetime | None:
        async with self._database.connection() as connection:
            due = await MailRows(connection).next_due()
        return due if due is None or self._pause_until is None else max(due, self._pause_until)

    async def run_once(self) -> float:
        now = self._clock()
        if self._forget_at is None or now >= self._forget_at:
            async with self._database.statement() as connection:
                count = await MailRows(connection).forget(now - self._policy.kept, FORGET_MAX)
            self._forget_at = now if count == FORGET_MAX else now + FORGET_AGAIN
        return await super().run_once()

    async def retry_due(self, now: datetime) -> None:
        """One pass: nothing is claimed before the server has let us in."""
        try:
            async with self._server.connection() as smtp:
                self._available()
                if letters := await self._claim(now):
                    await self._send_all(smtp, letters)
        except MailServerUnavailable as error:
            self._metrics.mail_server_failures.inc()
            self._problem = f"the mail server cannot be used: {error}"
            self._pause_until = now + UNAVAILABLE.pause(self._unavailable, random.random())
            self._unavailable += 1
            log.warning("mail server unavailable", error=str(error))

    def _available(self) -> None:
        self._problem, self._unavailable, self._pause_until = None, 0, None

    async def problem(self) -> str | None:
        """What a person has to look after; None when all is well."""
        if self._problem is not None:
            return self._problem
        now = self._clock()
        async with self._database.connection() as connection:
            since, given_up = await MailRows(connection).trouble(now - GIVEN_UP_SHOWN, now - self._policy.kept)
        found = []
        if given_up:
            found.append(f"{given_up} mails were given up in the last day")
        if since is not None and now - since >= LATE:
            found.append(f"a mail has been owed since {since:%Y-%m-%d %H:%M} UTC")
        return "; ".join(found) or None

    # --- what is sent

    async def _claim(self, now: datetime) -> list[Letter | Notice]:
        """Mails that are due, each with an attempt written; what there is to send no more has ended."""
        policy = self._policy
        async with self._database.transaction() as connection:
            rows = MailRows(connection)
            due = await rows.take_due(now, PASS_MAX)
            emails = await rows.emails(_bookings_of(due))
            recipients = {mail.id: self._recipient(mail, emails) for mail in due}
            had = await rows.counts([each for each in recipients.values() if each], now)
            claimed, others = [], []
            for mail in due:
                recipient = recipients[mail.id]
                if recipient is None:
                    others.append(ended(mail, MailStatus.DROPPED, now, "there is nobody to write to any more"))
                elif self._limited(mail, recipient, had):
                    others.append(over_limit(mail, now, policy.give_up))
                else:
                    again, attempts = now + self._claimed_for, mail.attempts + 1
                    claimed.append(
                        mail._replace(recipient=recipient, attempts=attempts, tried_at=now, send_after=again)
                    )
            await rows.save([*claimed, *others])
        for mail in others:
            self._count(mail)
        return await self._letters(claimed)

    def _recipient(self, mail: Mail, emails: dict[UUID, str | None]) -> str | None:
        if mail.endpoint_id is not None or (mail.kind is MailKind.ATTENTION and mail.booking_id in emails):
            return self._policy.operators
        return None if mail.booking_id is None else emails.get(mail.booking_id)

    def _limited(self, mail: Mail, recipient: str, had: dict[str, int]) -> bool:
        """Whether the recipient has had enough; else the mail is counted. An attempt again is no further mail."""
        limit, key = self._policy.per_recipient, recipient.lower()
        if not limit or mail.by is not None or mail.kind is MailKind.ATTENTION or mail.attempts:
            return False
        if had.get(key, 0) >= limit:
            return True
        had[key] = had.get(key, 0) + 1
        return False

    async def _letters(self, mails: Sequence[Mail]) -> list[Letter | Notice]:
        async with self._database.connection() as connection:
            bookings = await BookingRows(connection).load(list(_bookings_of(mails)))
            events = await EventRows(connection).find({booking.event_id for booking in bookings.values()})
            contents = await ContentRows(connection).find(events.values())
            letters: list[Letter | Notice] = []
            for mail in mails:
                assert mail.recipient is not None
                if mail.booking_id is None:
                    assert mail.endpoint_id is not None
                    endpoint = await WebhookRows(connection).find(mail.endpoint_id)
                    letters.append(Notice(mail, mail.recipient, endpoint=endpoint))
                    continue
                booking = bookings[mail.booking_id]
                event = events.get(booking.event_id)
                if mail.kind is MailKind.ATTENTION:
                    attention = await MailRows(connection).attention(booking.event_id, ATTENTION_MAX)
                    letters.append(Notice(mail, mail.recipient, booking.event_id, event, attention))
                else:
                    content = contents.get(booking.event_id, NOTHING)
                    letters.append(Letter(mail, mail.recipient, booking, event, content))
        return letters

    # --- sending

    async def _send_all(self, smtp: SMTP, letters: Sequence[Letter | Notice]) -> None:
        """Send over several connections at once; mails that were not begun are due again at once."""
        waiting = iter(letters)
        until = asyncio.get_running_loop().time() + PASS_SECONDS
        further = min(self._policy.connections, len(letters)) - 1
        others = (self._send_over_another(waiting, until) for _ in range(further))
        # No task group: what one of them meets must not end a mail that another is just sending.
        for result in await asyncio.gather(self._send_some(smtp, waiting, until), *others, return_exceptions=True):
            if result is not None:
                raise result
        for letter in waiting:
            await self._finish(letter.mail, letter.mail._replace(send_after=self._clock()))

    async def _send_over_another(self, waiting: Iterator[Letter | Notice], until: float) -> None:
        try:
            async with self._server.connection() as smtp:
                await self._send_some(smtp, waiting, until)
        except MailServerUnavailable as error:
            log.info("no further connection to the mail server", error=str(error))

    async def _send_some(self, smtp: SMTP, waiting: Iterator[Letter | Notice], until: float) -> None:
        loop = asyncio.get_running_loop()
        while smtp.is_connected and loop.time() < until and not self._stopping.is_set():
            letter = next(waiting, None)
            if letter is None:
                return
            await self._finish(letter.mail, await self._send(smtp, letter))

    async def _send(self, smtp: SMTP, letter: Letter | Notice) -> Mail:
        """What becomes of the mail."""
        mail, now, give_up = letter.mail, self._clock(), self._policy.give_up
        if (text := nothing_to_say(letter)) is not None:
            return ended(mail, MailStatus.DROPPED, now, text)
        try:
            message = await self._texts.message(letter)
        except ValueError as error:
            return ended(mail, MailStatus.REFUSED, now, str(error)[:255])
        except Outage:
            raise
        except Exception as error:
            # A mistake in a template harms no other mail, and is mended before the mail is given up.
            log.exception("mail not written", exc_info=error, mail=str(mail.id), kind=mail.kind)
            return after_failure(mail, f"not written: {type(error).__name__}", now, give_up, random.random())
        try:
            await self._server.send(
                smtp, message, self._texts.envelope_sender, address_of(letter.recipient).addr_spec
            )
        except MailRefused as refused:
            return ended(mail, MailStatus.REFUSED, now, str(refused))
        except MailNotTaken as failed:
            if failed.ours:
                self._problem = f"the mail server refuses what we send: {failed}"
            return after_failure(mail, str(failed), now, give_up, random.random())
        return ended(mail, MailStatus.SENT, self._clock())

    async def _finish(self, mail: Mail, after: Mail) -> None:
        async with self._database.statement() as connection:
            await MailRows(connection).finish(after)
        self._count(after)
        text = {"error": after.error} if after.error else {}
        level = log.error if after.status is MailStatus.GIVEN_UP else log.info
        level("mail", mail=str(mail.id), kind=mail.kind, status=after.status, attempts=mail.attempts, **text)

    def _count(self, mail: Mail) -> None:
        self._metrics.mails.labels(mail.kind, "retried" if mail.send_after else mail.status).inc()


def nothing_to_say(letter: Letter | Notice) -> str | None:
    """Why the mail is no longer true; None where it is."""
    if isinstance(letter, Notice):
        failing = letter.endpoint is not None and letter.endpoint.disabled_reason == DisabledReason.FAILING
        found = letter.attention is not None and letter.attention.found
        return None if failing or found else "nothing needs a person any more"
    kind, status = letter.mail.kind, letter.booking.status
    if kind is MailKind.CONFIRMATION and status is not CONFIRMED:
        return f"the booking is {status.value} by now"
    if kind is MailKind.CANCELLATION and status is CONFIRMED:
        return "the booking is confirmed again"
    if kind is MailKind.OFFER and (status is not PENDING or letter.booking.closing is not None):
        return "the offer has ended"
    return None


def _bookings_of(mails: Iterable[Mail]) -> set[UUID]:
    return {mail.booking_id for mail in mails if mail.booking_id is not None}
