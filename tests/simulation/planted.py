"""Mistakes put in on purpose, each of a kind that could be made. The simulation must find every one of them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from itertools import count
from typing import Any, cast
from uuid import UUID

import booking.admission
import booking.booking_rows
import booking.domain
import booking.door_rows
import booking.fair_share
import booking.mail_sender
import booking.offers
import booking.promo_codes
import booking.unit_of_work
import booking.webhook_sender
import payment.catch_up
import payment.domain
import payment.handlers
import payment.lost
import payment.payment_rows
import payment.refund_commands
import payment.refunds
import payment.reports
import payment.stripe_calls
import payment.stripe_events
import payment.stripe_objects
from booking.announcement_rows import AnnouncementRows
from booking.announcements import announcements, is_announced
from booking.announcer import Announcer
from booking.mail_texts import Letter, MailTexts
from booking.mails import Mail, ended
from booking.rules import Decision
from booking.state import CANCELLED, PENDING, Booking
from booking.triggers import Report, Trigger
from booking.unit_of_work import UnitOfWork
from booking.webhooks import Next
from common.contracts.errors import NotOnSale
from common.contracts.statuses import BookingStatus, MailStatus
from common.contracts.webhooks import DeliveryStatus
from common.messaging import lease
from common.messaging.batch import Worker
from common.messaging.envelope import Delivery
from common.postgres.sql import revision
from common.runtime.clock import Clock
from payment.disputes import Dispute
from payment.orphans import Match
from payment.refunds import Refund, RefundSnapshot, RefundStatus
from payment.state import Payment
from payment.stripe_objects import StripeEvent
from tests.simulation.faults import Fault, Lure
from tests.simulation.mail import DOMAIN
from tests.simulation.process import current

# Seconds between two readings of the clock of a slow machine.
READING_S = 5


def acknowledge_before_commit() -> None:
    """A process that dies between acknowledging and committing loses a message that exists nowhere else."""
    handle = Worker.handle

    async def handled(self: Worker, batch: Any) -> Any:
        await self.publisher.send(self.mailbox.acknowledgement([each.entry for each in batch.deliveries]))
        return await handle(self, batch)

    Worker.handle = handled  # type: ignore[method-assign]


def the_readers_lease_never_expires() -> None:
    """The other consumers wait for ever when the holder of the lease has died."""
    lease.LEASE_MS = 10**12


def notifications_published_once() -> None:
    """What a process committed just before it was killed is in the database, but is never published to gateways."""

    def publish_again(self: UnitOfWork, id: UUID, delivery: Delivery | None = None) -> None:
        return

    UnitOfWork.notify_again = publish_again  # type: ignore[method-assign]


def release_twice() -> None:
    """A late report on a booking that was cancelled gives its seats back once more."""
    moved = booking.domain.seats_moved

    def seats_moved(before: BookingStatus | None, after: BookingStatus) -> tuple[int, int]:
        return (-1, 0) if before is after is CANCELLED else moved(before, after)

    booking.domain.seats_moved = seats_moved


def refund_key_changes() -> None:
    """A refund that Stripe has made is requested again under another idempotency key: Stripe makes a second one."""
    calls: Any = payment.stripe_calls
    calls.numbered_key = lambda id, number: f"{id}-{random.random()}"


def amount_not_compared() -> None:
    """Any amount that was paid confirms the booking."""
    rules = booking.domain.TABLE[PENDING, Trigger.SUCCEEDED]
    booking.domain.TABLE[PENDING, Trigger.SUCCEEDED] = rules[1:]


def nobody_has_asked() -> None:
    """Changes do not name who asked for them."""
    unit: Any = booking.unit_of_work
    cause_of = unit.cause_of
    unit.cause_of = lambda *args: cause_of(*args)._replace(by=None)


def currency_not_compared() -> None:
    """The right number confirms the booking, in any currency."""
    calls, objects = cast(Any, payment.stripe_calls), cast(Any, payment.stripe_objects)
    read = objects.read_intent

    def read_intent(*args: Any, **values: Any) -> Any:
        return replace(read(*args, **values), currency=None)

    calls.read_intent = objects.read_intent = read_intent


def refunds_not_retried() -> None:
    """A refund for which Stripe's answer is missing is not requested again."""
    rows: Any = payment.payment_rows
    rows.DUE = " UNION ".join(each for each in rows.DUE.split(" UNION ") if "refunds" not in each)


def webhooks_in_a_cache() -> None:
    """Each process remembers alone which webhooks have come, and only as long as it lives."""
    caches: dict[object, set[str]] = {}

    async def store_events(_: object, events: Sequence[StripeEvent], now: object) -> set[str]:
        cache = caches.setdefault(current(), set())
        fresh = {event.id for event in events} - cache
        cache |= fresh
        return fresh

    rows: Any = payment.payment_rows.PaymentRows
    rows.store_events = store_events


def refund_made_good_by_an_earlier_one() -> None:
    """A failed refund counts as made good by one that was created before it failed. Then all of the money is
    requested again, without end if the bank refuses each time."""

    def makes_good(later: Refund, failed: Refund) -> bool:
        alive = later.status is not RefundStatus.FAILED
        return alive and later.amount >= failed.amount and later.created_at > failed.created_at

    reports: Any = payment.reports
    reports._makes_good = makes_good


def refunds_before_the_payment() -> None:
    """A refund is applied before its payment is known to be paid: an older snapshot of it may come later."""
    take = payment.stripe_events._apply_event

    def take_event(unit: Any, old: Payment, event: StripeEvent, now: datetime) -> bool:
        known = old.intent_id in (None, event.intent_id)
        if isinstance(event.snapshot, RefundSnapshot) and known and not old.terminal:
            return bool(unit.apply_refunds(old, [event.snapshot], now))
        return take(unit, old, event, now)

    events: Any = payment.stripe_events
    events._apply_event = take_event


def cursor_in_our_own_time() -> None:
    """How far Stripe's event list was read is a time of our own clock."""
    catch_up: Any = payment.catch_up.CatchUp
    read_page = catch_up._page

    async def page(self: Any, after: str | None, deadline: float) -> Any:
        return replace(await read_page(self, after, deadline), at=self._clock())

    catch_up._page = page
    cursor_passes_over_what_is_not_listed_yet()


def cursor_passes_over_what_is_not_listed_yet() -> None:
    """Each pass over Stripe's event list begins where the last one ended."""
    catch_up: Any = payment.catch_up
    catch_up.OVERLAP = catch_up.DEPTH = timedelta(seconds=5)


def disputes_in_one_field() -> None:
    """Of several disputes, the one that was seen last decides how the payment stands."""

    def summary(disputes: Sequence[Dispute]) -> str | None:
        return max(disputes, key=lambda each: each.seen_at).status if disputes else None

    domain: Any = payment.domain
    domain.summary = summary


def unknown_types_are_dead_lettered() -> None:
    """A process of the release before makes a dead letter of a message whose type it does not know."""

    async def move_aside(self: Worker, batch: Any) -> None:
        while batch.unknown:
            entry = batch.unknown.popleft()
            await self.mailbox.dead_letter(entry, "undecodable: missing or unknown", attempts=1)

    Worker._move_aside = move_aside  # type: ignore[method-assign]


def begun_events_are_sold() -> None:
    """Only the flag `on_sale` decides whether an event is sold, not its start."""
    admission: Any = booking.admission
    admission.sale_closed = lambda event, _: None if event.on_sale else NotOnSale()


def an_equal_decline_gives_no_time() -> None:
    """Payment reports only a change that can be seen: so it does not report the second of two equal declines."""
    domain: Any = payment.domain
    visible = domain._visible

    def _visible(of: Payment) -> tuple[object, ...]:
        return tuple(visible(of._replace(failed_attempts=0, last_attempt_at=None)))

    domain._visible = _visible


def a_decline_moves_the_last_moment() -> None:
    """Each decline gives time to try again, even after the last moment of the hold."""
    *before, (always, declined) = booking.domain.TABLE[PENDING, Trigger.DECLINED]

    def moved(of: Booking, report: Report) -> Decision:
        decision = declined(of, report)
        until = report.now + report.policy.extension
        after = decision.booking._replace(expires_at=max(decision.booking.expires_at or until, until))
        return decision if of.closing is not None else decision._replace(booking=after)

    booking.domain.TABLE[PENDING, Trigger.DECLINED] = (*before, (always, moved))


def acts_by_its_own_clock() -> None:
    """A process decides by its own clock what is due, though that may be twenty minutes ahead or behind."""
    clock: Any = Clock
    clock.timestamp = lambda self: self.own()


def a_refusal_is_final() -> None:
    """Every refund that Stripe refuses has failed for good."""

    commands: Any = payment.refund_commands
    after = commands._after

    def after_refusal(old: Refund, answer: Any, of: Payment, now: datetime) -> Refund:
        code = getattr(answer, "code", None)
        return after(old, answer, of, now) if code is None else payment.refunds.failed(old, str(code), now)

    commands._after = after_refusal


def all_that_is_left_is_an_amount() -> None:
    """When less is left than was known, a refund of all that is left fails, as a refund of a fixed amount does."""

    def misfit(refund: Refund, _: int, now: datetime) -> Refund:
        return payment.refunds.failed(refund, "charge_already_refunded", now)

    refunds: Any = payment.refunds
    refunds._misfit = misfit


def same_key_after_a_refusal() -> None:
    """A refused refund is retried under the same idempotency key, for which Stripe repeats its refusal for ever."""

    def with_new_key(refund: Refund, now: datetime) -> Refund:
        return replace(refund, asked_at=now, retry_at=now)

    refunds, commands = cast(Any, payment.refunds), cast(Any, payment.refund_commands)
    refunds.with_new_key = commands.with_new_key = with_new_key


def a_waiting_refund_stays() -> None:
    """The later result of a refund that waits for balance is not applied."""
    refunds: Any = payment.refunds
    applied = refunds._updated

    def still_waiting(old: Refund, *args: Any) -> Any:
        return old if old.pending_reason == "insufficient_funds" else applied(old, *args)

    refunds._updated = still_waiting


def orphan_money_dropped() -> None:
    """What Stripe has for a row that does not exist is stored as handled, and dropped."""
    lost_rows: Any = payment.lost.LostRows
    judge = lost_rows.judge

    def dropped(*args: Any) -> Match:
        found = cast(Match, judge(*args))
        return found if found is Match.ROW else Match.NOWHERE

    lost_rows.judge = dropped
    handlers, refund_commands = cast(Any, payment.handlers), cast(Any, payment.refund_commands)
    handlers.lost_ones = refund_commands.lost_ones = lambda *_: []


def revision_not_checked() -> None:
    """A change decided from memory overwrites what another process has written since."""
    rows: Any = booking.booking_rows
    compared = f" AND new.revision = {revision('b')}"
    rows.SAVE = {kind: statement.replace(compared, "") for kind, statement in rows.SAVE.items()}


def events_move_what_was_remembered() -> None:
    """What Stripe events change in a remembered payment overwrites what another process has written since."""
    rows: Any = payment.payment_rows
    compared = f" AND new.revision = {revision('p')}"
    rows.SAVE = {kind: statement.replace(compared, "") for kind, statement in rows.SAVE.items()}


def terms_token_not_checked() -> None:
    """Seats are sold by the terms that a process remembers, even when an operator has changed them since."""
    rows: Any = booking.booking_rows
    checked = "t.terms_token = b.terms_token AND "
    rows.INSERT = {kind: statement.replace(checked, "") for kind, statement in rows.INSERT.items()}


def holds_are_never_given_back() -> None:
    """A booking that is paid or has ended still counts as an open hold of its buyers."""
    rows: Any = booking.booking_rows
    counted = "WHERE counted <> counted_before"
    rows.SAVE = {kind: statement.replace(counted, "WHERE false") for kind, statement in rows.SAVE.items()}


def uses_of_codes_are_never_given_back() -> None:
    """A booking that is paid or has ended still counts as a held use of its promo code."""
    rows: Any = booking.booking_rows
    counted = "WHERE code_counted <> code_counted_before"
    for name in ("SAVE", "SAVE_GIVEN_BACK"):
        statements = getattr(rows, name).items()
        setattr(rows, name, {kind: each.replace(counted, "WHERE false") for kind, each in statements})


def codes_are_good_without_end() -> None:
    """New bookings are not counted as uses of their promo codes."""
    codes: Any = booking.promo_codes.PromoCodes
    codes.take = lambda self, of: None


def shares_without_end() -> None:
    """An owner may ask Stripe for as much as it likes before others' bookings."""
    share: Any = booking.fair_share.FairShare
    share.left = lambda self, key, times: math.inf


def one_share_for_everybody() -> None:
    """What one owner asks for beyond its share defers the bookings of all others, too."""
    share: Any = booking.fair_share.FairShare
    share.keys = lambda self, of: iter([("owner", 1)])


def a_signed_code_is_enough() -> None:
    """Who shows a ticket is let in, whatever has become of its booking since the code was signed."""
    rows: Any = booking.door_rows
    rows.CHECK_IN = rows.CHECK_IN.replace("WHERE status = 'confirmed' AND seat", "WHERE seat")


def the_box_office_sells_no_tickets() -> None:
    """The door knows the bookings of customers alone."""
    rows: Any = booking.door_rows
    asked = "WHERE b.id IN (SELECT booking_id FROM asked)"
    rows.CHECK_IN = rows.CHECK_IN.replace(asked, f"{asked} AND b.box_office IS NULL")


def scanners_miss_that_bookings_end() -> None:
    """Scanners do not hear that a booking has ended."""
    rows: Any = booking.booking_rows
    given_back = rows.SAVE_GIVEN_BACK.items()
    rows.SAVE_GIVEN_BACK = {kind: each.replace("WHERE sold < 0", "WHERE false") for kind, each in given_back}


def freed_seats_are_free() -> None:
    """Seats that are given back are for those who come first, and not for those who wait."""
    rows: Any = booking.booking_rows
    kept, free = rows._RESERVING, "held = t.held + locked.held"
    rows.SAVE_GIVEN_BACK = {one: text.replace(kept, free) for one, text in rows.SAVE_GIVEN_BACK.items()}
    rows.SAVE = {one: statement.replace(kept, free) for one, statement in rows.SAVE.items()}


def the_small_pass_the_large() -> None:
    """Who wants few seats gets them, while somebody before waits for more."""
    offers: Any = booking.offers
    decide = offers.decide
    offers.decide = lambda event, entries, *rest: decide(
        event, sorted(entries, key=lambda each: each.quantity), *rest
    )


def the_last_message_says_what_stripe_is_asked() -> None:
    """A repeated request for an intent is made from its message, and not from the payment's row."""
    rows: Any = payment.payment_rows
    kept = "ON CONFLICT (booking_id) DO NOTHING"
    changed = """ON CONFLICT (booking_id) DO UPDATE
    SET (description, receipt_email) = (excluded.description, excluded.receipt_email)
    WHERE payments.status = 'creating'"""
    rows.INSERT = {one: statement.replace(kept, changed) for one, statement in rows.INSERT.items()}


def a_webhook_gets_another_id() -> None:
    """A receiver takes a repetition for another change."""
    sender: Any = booking.webhook_sender
    sign = sender.signed

    def signed(_: UUID, *rest: Any) -> Any:
        return sign(UUID(int=random.getrandbits(128)), *rest)

    sender.signed = signed


def a_webhook_is_sent_once() -> None:
    """Whatever the receiver has answered."""
    cast(Any, booking.webhook_sender).after = lambda *_: Next(DeliveryStatus.DELIVERED)


def marks_are_cleared_before_announcing() -> None:
    """A process that dies in between loses what it was to announce."""

    async def announced(self: Announcer, now: datetime, limit: int, taken: list[UUID] | None = None) -> None:
        async with self._database.transaction() as connection:
            rows = AnnouncementRows(connection)
            bookings = await rows.take(limit, self._failed)
            changes = await rows.clear(bookings)
        made = [each for change in changes for each in announcements(bookings[change.booking_id], change)]
        async with self._database.transaction() as connection:
            for announce in self._announce:
                await announce(connection, made, now)

    cast(Any, Announcer)._pass = announced


def a_mail_that_was_not_taken_counts_as_sent() -> None:
    """As if a server that says "not now" had said yes."""

    def sent(mail: Mail, error: str, now: datetime, *_: object) -> Mail:
        return ended(mail, MailStatus.SENT, now)

    cast(Any, booking.mail_sender).after_failure = sent


def a_message_id_for_each_attempt() -> None:
    """Then a mail whose answer was lost comes again as another one."""
    message, numbers = MailTexts.message, count()

    async def numbered(self: MailTexts, letter: Letter) -> EmailMessage:
        made = await message(self, letter)
        if letter.mail.attempts > 1:
            made.replace_header("Message-ID", f"<{next(numbers)}@{DOMAIN}>")
        return made

    cast(Any, MailTexts).message = numbered


def a_later_change_moves_the_mark() -> None:
    """Then what was to be announced before is not."""

    def marked(self: UnitOfWork, before: Booking | None, after: Booking) -> Booking:
        return after._replace(announce_from=after.version) if is_announced(before, after) else after

    cast(Any, UnitOfWork)._marked = marked


PLANTED: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        acknowledge_before_commit,
        the_readers_lease_never_expires,
        notifications_published_once,
        release_twice,
        refund_key_changes,
        amount_not_compared,
        nobody_has_asked,
        currency_not_compared,
        refunds_not_retried,
        webhooks_in_a_cache,
        refund_made_good_by_an_earlier_one,
        refunds_before_the_payment,
        cursor_in_our_own_time,
        cursor_passes_over_what_is_not_listed_yet,
        disputes_in_one_field,
        unknown_types_are_dead_lettered,
        begun_events_are_sold,
        an_equal_decline_gives_no_time,
        a_decline_moves_the_last_moment,
        acts_by_its_own_clock,
        a_refusal_is_final,
        all_that_is_left_is_an_amount,
        same_key_after_a_refusal,
        a_waiting_refund_stays,
        orphan_money_dropped,
        revision_not_checked,
        events_move_what_was_remembered,
        terms_token_not_checked,
        holds_are_never_given_back,
        uses_of_codes_are_never_given_back,
        codes_are_good_without_end,
        shares_without_end,
        one_share_for_everybody,
        a_signed_code_is_enough,
        the_box_office_sells_no_tickets,
        scanners_miss_that_bookings_end,
        the_last_message_says_what_stripe_is_asked,
        freed_seats_are_free,
        the_small_pass_the_large,
        a_webhook_gets_another_id,
        a_webhook_is_sent_once,
        marks_are_cleared_before_announcing,
        a_mail_that_was_not_taken_counts_as_sent,
        a_message_id_for_each_attempt,
        a_later_change_moves_the_mark,
    )
}


def the_machine_is_slow() -> None:
    """Each reading of the system's clock shows READING_S seconds more than the one before."""
    readings, real = count(), time.monotonic()
    for name, first, scale in (("time", time.time(), 1), ("time_ns", time.time_ns(), 10**9)):
        setattr(time, name, lambda first=first, scale=scale: first + next(readings) * READING_S * scale)
    for name in ("monotonic", "perf_counter"):
        setattr(time, name, lambda: real + next(readings) * READING_S)


# These are no mistakes, and must change no story.
HARMLESS: dict[str, Callable[[], None]] = {the_machine_is_slow.__name__: the_machine_is_slow}

# These show only when many things come together, so that only hundreds of seeds are sure to find them. Yet it was
# the simulation that found both in the product.
RARE = frozenset({"refund_made_good_by_an_earlier_one", "refunds_before_the_payment"})

# Without its lure a mistake shows in few schedules; with it, in one of the first.
LURES: dict[str, Lure] = {
    "uses_of_codes_are_never_given_back": Lure(codes=1.0),
    "codes_are_good_without_end": Lure(codes=1.0),
    "shares_without_end": Lure(loops=1.0),
    "one_share_for_everybody": Lure(loops=1.0),
    "a_signed_code_is_enough": Lure(doors=1.0),
    "the_box_office_sells_no_tickets": Lure(doors=1.0),
    "scanners_miss_that_bookings_end": Lure(doors=1.0),
    "freed_seats_are_free": Lure(lines=1.0),
    "the_small_pass_the_large": Lure(lines=1.0),
    "unknown_types_are_dead_lettered": Lure(frozenset({Fault.OLDER_RELEASE})),
    "refund_key_changes": Lure(frozenset({Fault.STRIPE_LOST_ANSWER, Fault.STRIPE_500_KEPT}), refunds=6.0),
    "amount_not_compared": Lure(by_hand=6.0),
    "currency_not_compared": Lure(by_hand=6.0),
    "refunds_not_retried": Lure(frozenset({Fault.STRIPE_500, Fault.STRIPE_REFUSED_CONNECTION}), refunds=6.0),
    "begun_events_are_sold": Lure(begins_soon=1),
    "terms_token_not_checked": Lure(edits=20.0),
    "a_refusal_is_final": Lure(frozenset({Fault.REFUND_REFUSED}), refunds=6.0),
    "all_that_is_left_is_an_amount": Lure(frozenset({Fault.REFUND_BY_HAND}), refunds=6.0),
    "same_key_after_a_refusal": Lure(frozenset({Fault.REFUND_REFUSED, Fault.REFUND_BY_HAND}), refunds=6.0),
    "a_waiting_refund_stays": Lure(frozenset({Fault.REFUND_WAITS}), refunds=6.0),
    "webhooks_in_a_cache": Lure(frozenset({Fault.WEBHOOK_DOUBLED})),
    "cursor_in_our_own_time": Lure(frozenset({Fault.WEBHOOK_LOST, Fault.CLOCKS_APART}), by_hand=6.0),
    "cursor_passes_over_what_is_not_listed_yet": Lure(
        frozenset({Fault.WEBHOOK_LOST, Fault.EVENTS_LISTED_LATE}), by_hand=6.0
    ),
    "disputes_in_one_field": Lure(by_hand=6.0),
    "the_last_message_says_what_stripe_is_asked": Lure(
        frozenset({Fault.STRIPE_500, Fault.STRIPE_500_KEPT, Fault.STRIPE_LOST_ANSWER})
    ),
    "a_mail_that_was_not_taken_counts_as_sent": Lure(frozenset({Fault.MAIL_NOT_NOW})),
    "a_message_id_for_each_attempt": Lure(frozenset({Fault.MAIL_ANSWER_LOST})),
    "orphan_money_dropped": Lure(frozenset({Fault.STANDBY_TOOK_OVER})),
}
