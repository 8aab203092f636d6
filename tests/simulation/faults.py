"""What can go wrong, where a process can be stopped or killed, and how likely each is in one schedule."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum


class Point(Enum):
    """Where a process can stop until the scheduler lets it continue, or be killed."""

    BEFORE_BEGIN = "before a transaction"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"
    BEFORE_STRIPE = "before a Stripe call"
    AFTER_STRIPE = "after a Stripe call"
    BEFORE_PUBLISH = "before publish"
    AFTER_PUBLISH = "after publish"
    AROUND_MAIL = "before or after a mail is sent"


class Fault(Enum):
    """What can go wrong, other than a crash."""

    DATABASE_OUTAGE = "database unavailable before a transaction"
    COMMIT_FAILED = "commit failed"
    COMMIT_UNKNOWN = "committed, and the answer lost"
    PUBLISH_FAILED = "Redis unavailable before publish"
    PUBLISH_HALF = "Redis unavailable in the middle of publish"
    PUBLISH_UNKNOWN = "published, and the answer lost"
    ENTRY_LOST = "Redis forgot an entry"
    ENTRY_DOUBLED = "an entry came twice"
    OUT_OF_ORDER = "entries delivered out of order"
    FLUSHED = "Redis forgot everything"
    STRIPE_REFUSED_CONNECTION = "Stripe not reached"
    STRIPE_LOST_ANSWER = "Stripe did it, and the answer was lost"
    STRIPE_500 = "Stripe answered 500 and did nothing"
    STRIPE_500_KEPT = "Stripe did it, answered 500, and keeps that answer"
    STRIPE_429 = "Stripe answered 429"
    STRIPE_BUSY = "Stripe answered 409: the key is in use"
    REFUND_BY_HAND = "somebody gave money back at Stripe as a refund was asked for"
    REFUND_REFUSED = "Stripe refused a refund for want of balance, and keeps that answer"
    REFUND_WAITS = "Stripe made a refund that waits for balance"
    WEBHOOK_LOST = "Stripe forgot a webhook"
    WEBHOOK_DOUBLED = "a webhook came twice"
    WEBHOOK_OUT_OF_ORDER = "a webhook overtook another"
    WEBHOOK_FORGED = "a forged webhook came"
    WEBHOOK_STALE = "a stale webhook came"
    OLDER_RELEASE = "a process of the release before started"
    REDIS_OUTAGE = "Redis unavailable for a while"
    BOOKING_DATABASE_OUTAGE = "the database booking unavailable for a while"
    PAYMENT_DATABASE_OUTAGE = "the database payment unavailable for a while"
    STRIPE_OUTAGE = "Stripe unavailable for a while"
    CLOCKS_APART = "our clocks and Stripe's minutes apart"
    EVENTS_LISTED_LATE = "Stripe's list of events lags"
    MAIL_SERVER_UNAVAILABLE = "the mail server not reached"
    MAIL_NOT_NOW = "the mail server took a mail not now"
    MAIL_ANSWER_LOST = "the mail server took a mail, and the answer was lost"
    STANDBY_TOOK_OVER = "a standby that lagged took over from a database"


# The probability of each fault each time it could strike; for faults of the world, roughly that at each choice of
# the scheduler. The schedule's own factor multiplies it.
CHANCES = {
    Fault.DATABASE_OUTAGE: 0.01,
    Fault.COMMIT_FAILED: 0.01,
    Fault.COMMIT_UNKNOWN: 0.015,
    Fault.PUBLISH_FAILED: 0.015,
    Fault.PUBLISH_HALF: 0.06,
    Fault.PUBLISH_UNKNOWN: 0.02,
    Fault.ENTRY_LOST: 0.02,
    Fault.ENTRY_DOUBLED: 0.03,
    Fault.OUT_OF_ORDER: 0.1,
    Fault.FLUSHED: 0.0015,
    Fault.STRIPE_REFUSED_CONNECTION: 0.03,
    Fault.STRIPE_LOST_ANSWER: 0.1,
    Fault.STRIPE_500: 0.03,
    Fault.STRIPE_500_KEPT: 0.06,
    Fault.STRIPE_429: 0.02,
    Fault.STRIPE_BUSY: 0.02,
    Fault.REFUND_BY_HAND: 0.15,
    Fault.REFUND_REFUSED: 0.1,
    Fault.REFUND_WAITS: 0.08,
    Fault.WEBHOOK_LOST: 0.06,
    Fault.WEBHOOK_DOUBLED: 0.08,
    Fault.WEBHOOK_OUT_OF_ORDER: 0.3,
    Fault.WEBHOOK_FORGED: 0.006,
    Fault.WEBHOOK_STALE: 0.006,
    Fault.OLDER_RELEASE: 0.15,
    Fault.REDIS_OUTAGE: 0.001,
    Fault.BOOKING_DATABASE_OUTAGE: 0.001,
    Fault.PAYMENT_DATABASE_OUTAGE: 0.001,
    Fault.STRIPE_OUTAGE: 0.004,
    Fault.MAIL_SERVER_UNAVAILABLE: 0.05,
    Fault.MAIL_NOT_NOW: 0.05,
    Fault.MAIL_ANSWER_LOST: 0.08,
}
# The share of schedules with a standby that takes over, and the chance of that fault in them, as in CHANCES. Most
# schedules have none, because after it not all promises can be checked.
LAGGING_SHARE = 0.3
STANDBY_CHANCE = 0.001
# How far our clocks may be ahead of Stripe's: Holdfast allows five minutes in either direction.
SKEWS_S = (0.0, 0.0, 0.0, 14.0, -14.0, 299.0, -299.0)
LAGS_S = (0.0, 0.0, 3.0, 45.0, 240.0)
OUTAGES = (Fault.REDIS_OUTAGE, Fault.BOOKING_DATABASE_OUTAGE, Fault.PAYMENT_DATABASE_OUTAGE, Fault.STRIPE_OUTAGE)


@dataclass(frozen=True)
class Lure:
    """What a schedule that looks for one planted mistake is full of, so that the mistake shows."""

    faults: frozenset[Fault] = frozenset()
    # The least weight of operators' refunds; the weight of acts by hand at Stripe, usually 1.
    refunds: float = 0.0
    by_hand: float = 1.0
    # One event of this many begins while it is sold.
    begins_soon: int = 6
    # The weight of operators' changes to events, usually 1.
    edits: float = 1.0
    # The share of schedules in which an owner books and cancels in a loop.
    loops: float = 0.2
    # The share of schedules in which bookings are made by promo codes.
    codes: float = 0.4
    # The share of schedules in which tickets are shown at a door.
    doors: float = 0.3


@dataclass(frozen=True)
class Profile:
    """The chances of one schedule. No schedule has all faults, so that each fault also occurs alone."""

    chances: dict[Fault, float]
    crash: float
    park: float
    # The weight of operators' refunds, at least 1.
    refunds: float
    # The weight of acts by hand at Stripe, usually 1.
    by_hand: float
    # How many seconds all our clocks are ahead of Stripe's.
    skew_s: float
    # How many seconds late Stripe events appear in Stripe's list, and which share of them is late.
    lag_s: float
    lag_share: float
    # One event of this many begins while it is sold.
    begins_soon: int
    # The weight of operators' changes to events, usually 1.
    edits: float

    @classmethod
    def draw(cls, chance: random.Random, apart: random.Random, lure: Lure) -> Profile:
        """`apart` draws what only few schedules have, so that it does not change what `chance` draws."""
        factors = (0.0, 0.0, 1.0, 1.0, 3.0)
        chances = {fault: often * chance.choice(factors) for fault, often in CHANCES.items()}
        chances |= {
            fault: max(chances[fault], CHANCES[fault] * factors[-1]) for fault in lure.faults & CHANCES.keys()
        }
        factor = factors[-1] if Fault.STANDBY_TOOK_OVER in lure.faults else float(apart.random() < LAGGING_SHARE)
        chances[Fault.STANDBY_TOOK_OVER] = STANDBY_CHANCE * factor
        skew_s, lag_s = chance.choice(SKEWS_S), chance.choice(LAGS_S)
        return cls(
            chances,
            crash=chance.choice((0.0, 0.003, 0.01)),
            park=chance.choice((0.05, 0.15, 0.3)),
            refunds=max(lure.refunds, chance.choice((1.0, 2.0, 6.0))),
            by_hand=lure.by_hand,
            skew_s=min(SKEWS_S) if Fault.CLOCKS_APART in lure.faults else skew_s,
            lag_s=max(LAGS_S) if Fault.EVENTS_LISTED_LATE in lure.faults else lag_s,
            lag_share=chance.choice((0.3, 1.0)),
            begins_soon=lure.begins_soon,
            edits=lure.edits,
        )
