"""What must hold at every moment, and what must hold when the faults have stopped and all work is finished.

The rules are those of `ops/audit`. At every moment, work that is only under way breaks none of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from common.contracts.statuses import Reason
from common.runtime.health import Gate
from ops.audit import money
from ops.audit.databases import BOOKING_COLUMNS, BUYERS, PAYMENT_COLUMNS, PROMO_CODES, SEATS, Databases
from ops.audit.ledger import Ledger
from ops.audit.records import Booking, Buyer, Case, Intent, Payment, PromoCode, Refund, Seats, StripeRefund
from ops.audit.rules import judge_buyer, judge_promo_code, judge_seats
from ops.audit.runner import Audit, AuditResult
from ops.repair.command import plan
from ops.repair.plan import Action
from payment.disputes import DROPPED
from payment.stripe_api import StripeApi
from payment.stripe_objects import BOOKING_ID, REFUND_ID
from tests.simulation.holds import Holds
from tests.simulation.mail import check_mails
from tests.simulation.processes import BOOKING_SETTINGS, NoQueue
from tests.simulation.requesters import check_requesters
from tests.simulation.world import World

BOOKINGS = f"SELECT {BOOKING_COLUMNS}, reason, expires_at, owner, deferred FROM bookings ORDER BY id"
PAYMENTS = f"SELECT {PAYMENT_COLUMNS} FROM payments ORDER BY booking_id"
REFUNDS = """
SELECT booking_id::text, id::text, amount, status, stripe_refund_id, drive_after, pending_reason FROM refunds
ORDER BY created_at, id
"""
TRANSITIONS = """
SELECT booking_id, version, from_status, to_status, reason, payment_status FROM booking_transitions
ORDER BY booking_id, version
"""
LAST_CHANGES = "SELECT id, version, updated_at FROM bookings"
DISPUTES = "SELECT id, status FROM disputes"
ADDRESSES = "SELECT booking_id::text FROM payments WHERE receipt_email IS NOT NULL"
# Seats that were sold, sold again or cancelled by a customer after the start of an event that does not allow it.
AFTER_THE_START = """
SELECT t.booking_id, t.version FROM booking_transitions t
JOIN bookings b ON b.id = t.booking_id JOIN events e ON e.id = b.event_id
WHERE b.box_office IS NULL AND (
    t.at >= e.starts_at AND NOT e.sell_after_start AND t.to_status <> 'failed'
    AND (t.from_status IS NULL OR (t.from_status = 'cancelled' AND t.to_status = 'confirmed'))
    OR t.at > e.starts_at AND NOT e.cancel_after_start
    AND t.from_status = 'confirmed' AND t.to_status = 'cancelled' AND t.reason = 'by_customer'
)
"""
# Work that waits for a person: who gives the money back.
FOR_PEOPLE = "refund owed at the box office"
# Terms of events that are not on sale, with the bookings of these events that hold or have seats.
NOT_ON_SALE = """
SELECT e.id || ' v' || e.version AS terms, b.id::text FROM events e
LEFT JOIN bookings b ON b.event_id = e.id AND b.status <> 'failed' WHERE NOT e.on_sale
"""
# How wrong a process' measured clock may be.
CLOCK_ERROR = timedelta(seconds=1)


@dataclass(frozen=True)
class Row:
    """A booking as the audit reads it, and its reason."""

    facts: Booking
    reason: str | None
    owner: str
    deferred: bool


class Promises:
    """Reads only what has changed since the check before."""

    def __init__(self, world: World, tampered: set[str]) -> None:
        self._world = world
        self._holds = Holds(world)
        self._tampered = tampered
        self.rows: dict[str, Row] = {}
        self.payments: dict[str, Payment] = {}
        self.refunds: dict[str, list[Refund]] = {}
        self._intents: dict[str, list[Intent]] = {}
        self._given: dict[str, list[StripeRefund]] = {}
        # Bookings whose charge was disputed: Stripe refuses to refund it.
        self._disputed: set[str] = set()
        # Terms of events that were not on sale at the check before.
        self._not_on_sale: set[str] = set()
        # Databases that have come back older than they were: see `standby.py`.
        self.lost: set[str] = set()
        # Booking's database alone has: a payment whose report it had applied may be of a booking that is gone.
        self._acknowledged_is_lost = False

    def forget(self, lost: Collection[str]) -> None:
        """These databases have come back older than they were."""
        self.lost |= set(lost)
        self._acknowledged_is_lost |= "payment" not in lost
        if "booking" in lost:
            self.rows = {}
            self._not_on_sale = set()
            self._holds.forget()
            self._world.door.forget()

    async def check(self) -> None:
        """Check what must hold at every moment."""
        world = self._world
        booking, payment, ledger = world.lasting.booking, world.lasting.payment, world.stripe.ledger
        if not (booking.changed or payment.changed or ledger.changed):
            return
        if booking.changed:
            await self._read_bookings()
            await self._holds.check()
        if payment.changed:
            await self._read_payments()
        if ledger.changed:
            self._read_stripe()
        if (booking.changed or payment.changed) and not self.lost:
            await self._holds.check_reported()
        booking.changed = payment.changed = ledger.changed = False
        if not self.lost:
            # A payment that was made anew for a lost row may have another customer by now. Stripe refuses that.
            for key in sorted(world.stripe.differed):
                world.story.violate("3 one request under a key", key)
        for case in self.cases():
            for promise, text in self._judge(case):
                world.story.violate(promise, f"{case.id}: {text}")

    async def _read_bookings(self) -> None:
        raw = self._world.lasting.booking.raw
        before = self.rows
        self.rows = {}
        for record in await raw.fetch(BOOKINGS):
            columns = dict(record)
            reason, expires_at = columns.pop("reason"), columns.pop("expires_at")
            owner, deferred = columns.pop("owner"), columns.pop("deferred")
            columns.pop("items")
            row = Row(Booking(items_amount=columns["amount"], **columns), reason, owner, deferred)
            self.rows[row.facts.id] = row
            self._check_hold(before.get(row.facts.id), row.facts, expires_at)
        self._check_fair()
        for id, old in before.items():
            new = self.rows.get(id)
            if new is None or new.facts.version < old.facts.version:
                self._world.story.violate("6 nothing lost", f"{id} was at v{old.facts.version}")
        for id, version in await raw.fetch(AFTER_THE_START):
            self._world.story.violate("dates bind", f"{id} v{version}: sold or cancelled after the start")
        for terms, id in (off := await raw.fetch(NOT_ON_SALE)):
            if id is not None and id not in before and terms in self._not_on_sale:
                self._world.story.violate("terms bind", f"{id}: event {terms} is not on sale")
        self._not_on_sale = {terms for terms, _ in off}
        for record in await raw.fetch(SEATS.format(part="true")):
            for finding in judge_seats(Seats(**record)):
                self._world.story.violate("1 never oversold", f"{finding.id}: {finding.text}")
        await self._world.door.check(raw)
        for record in await raw.fetch(BUYERS.format(part="true")):
            for finding in judge_buyer(Buyer(**record)):
                self._world.story.violate("10 a share for each", f"{finding.id}: {finding.text}")
        for record in await raw.fetch(PROMO_CODES.format(part="true")):
            for finding in judge_promo_code(PromoCode(**record)):
                self._world.story.violate("codes are counted", f"{finding.id}: {finding.text}")

    def _check_fair(self) -> None:
        """Each process asks for no more than an owner's share before others' intents: so few calls others wait for.
        And who asks for little is not deferred."""
        world, share = self._world, BOOKING_SETTINGS.share
        begun = world.clock.monotonic() - share.seconds
        recent = Counter(row.owner for id, row in self.rows.items() if world.redis.asked.get(id, -math.inf) > begun)
        most = world.booking_processes * (share.calls + 1)
        for owner, calls in recent.items():
            if calls > most:
                world.story.violate("10 fair at Stripe", f"{owner} got {calls} calls, more than {most}")
        owners = Counter(row.owner for row in self.rows.values())
        for id, row in self.rows.items():
            if row.deferred and owners[row.owner] == 1 and not self.lost:
                world.story.violate("10 fair at Stripe", f"{id} is deferred, and all that {row.owner} asked for")

    def _check_hold(self, before: Row | None, now: Booking, expires_at: datetime | None) -> None:
        """A hold that has just ended has lasted until its `expires_at`."""
        ended = now.closing == Reason.HOLD_EXPIRED and before is not None and before.facts.closing is None
        if ended and expires_at is not None and expires_at - self._world.now() > CLOCK_ERROR:
            early = expires_at - self._world.now()
            self._world.story.violate("2 holds last", f"{now.id} expired {early} before its time")

    async def _read_payments(self) -> None:
        raw = self._world.lasting.payment.raw
        self.payments = {row["booking_id"]: Payment(**row) for row in await raw.fetch(PAYMENTS)}
        self.refunds = {}
        for booking_id, *columns in await raw.fetch(REFUNDS):
            self.refunds.setdefault(booking_id, []).append(Refund(*columns))

    def _read_stripe(self) -> None:
        stripe = self._world.stripe
        self._intents, self._given = {}, {}
        of: dict[str, str] = {}
        for each in stripe.objects("payment_intent"):
            booking_id = each["metadata"].get(BOOKING_ID, "")
            of[each["id"]] = booking_id
            intent = Intent(
                each["id"],
                booking_id,
                each["status"],
                each["amount"],
                each["amount_received"],
                each["currency"],
            )
            self._intents.setdefault(booking_id, []).append(intent)
        for each in stripe.objects("refund"):
            given = StripeRefund(
                each["id"],
                each["payment_intent"],
                each["metadata"].get(REFUND_ID),
                each["amount"],
                each["status"],
            )
            self._given.setdefault(of[given.intent_id], []).append(given)
        self._disputed = {of[each["payment_intent"]] for each in stripe.objects("dispute")}

    def count(self, *statuses: str) -> int:
        """How many intents have one of these statuses at Stripe."""
        return sum(each.status in statuses for of_one in self._intents.values() for each in of_one)

    def cases(self) -> Iterator[Case]:
        for id in dict.fromkeys((*self.rows, *self._intents)):
            row = self.rows.get(id)
            yield Case(
                id,
                row.facts if row is not None else None,
                self.payments.get(id),
                tuple(self.refunds.get(id, ())),
                tuple(self._intents.get(id, ())),
                tuple(self._given.get(id, ())),
            )

    def _judge(self, case: Case) -> Iterator[tuple[str, str]]:
        """What the audit finds wrong about money, without work that is only under way."""
        now = self._world.now()
        yield from (("3 no double refund", text) for text in money.refunds_once(case, now))
        if self.lost:
            return  # the rest is checked at the end
        yield from (("3 one live intent", text) for text in money.one_intent(case, now))
        for text in money.captured(case, now):
            if not self._excused(case, text):
                yield "3 money is matched", text

    def _excused(self, case: Case, text: str) -> bool:
        booking, payment = case.booking, case.payment
        assert booking is not None
        if text.endswith(" kept"):
            # Payment does not know this money yet, or an operator is notified of it.
            received = sum(intent.received for intent in case.intents)
            not_received = payment is None or payment.amount_captured < received
            # A refund that Stripe refuses to make is retried without an operator; one that failed is not.
            failed_at_stripe = any(each.status == "failed" for each in case.stripe_refunds)
            return not_received or failed_at_stripe or case.id in self._disputed or booking.payment == "disputed"
        if "given back or owed" in text:
            # Somebody may have refunded by hand what the booking owes; then it is not refunded again.
            return booking.refund_amount is not None or any(each.status == "requested" for each in case.refunds)
        if "was given back" in text:
            known = payment is not None and payment.amount_refunded >= payment.amount_captured
            return not known
        return False

    # --- when all is finished

    async def check_finished(self) -> None:
        """Nothing is owed, nothing waits, and the audit finds nothing."""
        story = self._world.story
        await self.check()
        if "booking" not in self.lost:
            await self._check_history()
            await self._world.receivers.check(self._world.lasting.booking.raw)
        self._check_answered()
        await check_requesters(self._world, lost=bool(self.lost))
        if not self.lost:
            await check_mails(self._world)
            await self._check_sent()
            await self._world.door.check_finished(self._world.lasting.booking.raw)
            await self._holds.check_finished()
        await self._check_disputes()
        await self._check_addresses()
        result, _ = await self._audit()
        for finding in result.mismatches:
            if not self._known(finding.rule, finding.id, finding.text):
                story.violate("3 rows are clean", f"{finding.rule}: {finding.id}: {finding.text}")
        for kind, under_way in result.under_way.items():
            if kind == FOR_PEOPLE:
                continue
            story.violate("2 every booking ends", f"{kind}: {' '.join(under_way.examples)}")
        for mailbox, fields, error in self._world.redis.dead:
            if error.startswith("undecodable"):
                story.violate("9 an upgrade loses nothing", f"dead in {mailbox}: {fields[b'type']!r}: {error}")
        for stream in self._world.redis.streams.values():
            for fields in stream.entries.values():
                story.violate("2 every booking ends", f"not handled: {fields[b'type']!r} {fields[b'subject']!r}")

    async def check_healed(self) -> None:
        """Money whose rows are gone is matched again, without an operator."""
        if self._acknowledged_is_lost:
            return
        for case in self.cases():
            for text in self._unmatched(case):
                self._world.story.violate("3 lost rows heal", f"{case.id}: {text}")

    def _unmatched(self, case: Case) -> Iterator[str]:
        """Money that Stripe has for this case, without a confirmed booking and not refunded."""
        booking = case.booking
        if self._refused(case):
            return
        for intent in case.intents:
            given = [each for each in case.stripe_refunds if each.intent_id == intent.id]
            left = intent.received - sum(each.amount for each in given if each.status not in money.VOID)
            paid = booking is not None and (booking.intent_id, booking.amount) == (intent.id, intent.received)
            if left > 0 and not (paid and booking is not None and booking.status == "confirmed"):
                yield f"{left} of {intent.id} kept, {booking.status if booking is not None else 'no booking'}"

    def _refused(self, case: Case) -> bool:
        """Stripe refuses to refund its money, or the refund failed: an operator is notified."""
        return case.id in self._disputed or any(each.status == "failed" for each in case.stripe_refunds)

    async def to_repair(self) -> list[Action]:
        """What `holdfast repair` would do now."""
        result, actions = await self._audit()
        # One booking may have both a mismatch that can be repaired and one that cannot.
        off = {each.id for each in result.mismatches if not self._known(each.rule, each.id, each.text)}
        return [action for action in actions if action.id in off]

    async def _audit(self) -> tuple[AuditResult, list[Action]]:
        """What the audit finds, and what `holdfast repair` would do about it."""
        world = self._world
        gate_free = StripeApi(
            world.stripe.client, NoQueue(), world.lasting.stripe_metrics, _open_gate(), 5.0, world.now
        )
        ledger = Ledger(gate_free, _open_gate())
        databases = Databases(world.lasting.booking.raw, world.lasting.payment.raw)
        try:
            result = await Audit(databases, ledger, wait_seconds=0.0, clock=world.now).run()
            return result, await plan(databases, ledger, result)
        finally:
            ledger.close()

    def _known(self, rule: str, id: str, text: str) -> bool:
        """Whether the audit is right to report this to an operator, though no promise is broken by it."""
        row = self.rows.get(id)
        if rule == "captured" and text.endswith(" kept"):
            return any(self._excused(case, text) for case in self.cases() if case.id == id)
        if rule == "summary" and text.endswith("no such booking"):
            return any(self._refused(case) for case in self.cases() if case.id == id)
        if rule == "intent" and ("amount" in text or "currency" in text):
            payment = self.payments.get(id)
            there = row is not None or bool(self.lost)
            # A database lost the booking, and its idempotency key made another one since: its money cannot go back.
            reused = bool(self.lost) and row is not None and row.reason == Reason.PAYMENT_MISMATCH
            return payment is not None and ((payment.intent_id in self._tampered and there) or reused)
        return False

    async def _check_history(self) -> None:
        """Postgres has each version that a client was shown, as it was shown."""
        story = self._world.story
        kept = {}
        for id, version, _, status, _, payment in await self._world.lasting.booking.raw.fetch(TRANSITIONS):
            kept[id, version] = (status, payment)
        for (id, version), shown in self._world.people.shown.items():
            found = kept.get((id, version))
            if found != shown:
                story.violate("2 what was shown is there", f"{id} v{version}: {shown}, kept {found}")

    async def _check_disputes(self) -> None:
        """Payment knows each dispute as Stripe has it, and a booking shows when one of them is open or lost."""
        story, stripe = self._world.story, self._world.stripe
        intents = {each["id"]: each["metadata"].get(BOOKING_ID, "") for each in stripe.objects("payment_intent")}
        known = {row["id"]: row["status"] for row in await self._world.lasting.payment.raw.fetch(DISPUTES)}
        standing: set[str] = set()
        for each in stripe.objects("dispute"):
            booking_id = intents[each["payment_intent"]]
            payment = self.payments.get(booking_id)
            if payment is None or payment.intent_id != each["payment_intent"]:
                continue
            if each["status"] not in DROPPED:
                standing.add(booking_id)
            if known.get(each["id"]) != each["status"]:
                text = f"{booking_id}: {each['id']} is {each['status']}, known as {known.get(each['id'])}"
                story.violate("3 disputes are shown", text)
        for id, row in self.rows.items():
            if (row.facts.payment == "disputed") is not (id in standing):
                story.violate("3 disputes are shown", f"{id}: {row.facts.payment}, disputed: {id in standing}")

    async def _check_addresses(self) -> None:
        """When Stripe has answered everything, payment has no customer's address any more."""
        for (id,) in await self._world.lasting.payment.raw.fetch(ADDRESSES):
            self._world.story.violate("an address is not kept", id)

    async def _check_sent(self) -> None:
        """Open sockets were sent the newest version of each booking. When Redis forgets, sockets open anew."""
        people = self._world.people
        for id, version, at in await self._world.lasting.booking.raw.fetch(LAST_CHANGES):
            if people.sent.get(id, 0) < version and at > people.opened_at:
                text = f"{id}: v{version}, sent v{people.sent.get(id)}"
                self._world.story.violate("4 sockets miss nothing", text)

    def _check_answered(self) -> None:
        """Each request that Redis did not forget was done and answered, whichever process was killed."""
        redis = self._world.redis
        dead_lettered = {fields[b"id"] for _, fields, _ in redis.dead}
        for request in self._world.people.requests.values():
            id = request.id.encode()
            if request.id not in self._world.people.answered and id not in redis.forgotten | dead_lettered:
                self._world.story.violate("6 nothing lost", f"never answered: {request.message!r}")


def _open_gate() -> Gate:
    gate = Gate("stripe")
    gate.open()
    return gate
