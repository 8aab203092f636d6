"""Stripe's time, estimated from the `Date` of its answers, which is exact to the second.

Times of Stripe's objects and events are compared with it, never with our own clock, which may differ by minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from prometheus_client import Gauge

from common.runtime.clock import Bounds

# The skew in seconds above which a warning is logged: a synchronised clock is within milliseconds, and signatures
# of webhooks are refused only at WEBHOOK_TOLERANCE_SECONDS (300).
LOUD_S = 10.0
# `Date` has whole seconds.
DATE_STEP_S = 1.0

log = structlog.get_logger()


def measured(sent: datetime, took_s: float, date: datetime) -> Bounds:
    """How far our clock is ahead of Stripe's, which showed `date` at some time between request and answer."""
    sent_ahead = (sent - date).total_seconds()
    return Bounds(sent_ahead - DATE_STEP_S, sent_ahead + took_s)


class StripeClock:
    """Compares Stripe's clock with `clock`, our own; sets the skew metric, and logs once when it becomes large."""

    def __init__(self, clock: Callable[[], datetime], skew_seconds: Gauge) -> None:
        self._clock = clock
        self._skew_seconds = skew_seconds
        self._bounds: Bounds | None = None
        # The monotonic time of the last answer.
        self._answered_at = 0.0
        # The skew of the last warning; None while the skew is small.
        self._warned_skew: float | None = None

    def now(self) -> datetime:
        """Stripe's time; ours until Stripe has answered for the first time."""
        ahead = 0.0 if self._bounds is None else self._bounds.middle
        return self._clock() - timedelta(seconds=ahead)

    def answered(self, sent: datetime, took_s: float, date: datetime) -> None:
        """An answer with this `Date` came `took_s` seconds after its request, sent at `sent` by our clock."""
        answered_at = time.monotonic()
        new = measured(sent, took_s, date)
        self._bounds = (
            new if self._bounds is None else self._bounds.after(answered_at - self._answered_at).narrowed(new)
        )
        self._answered_at = answered_at
        self._skew_seconds.set(self._bounds.middle)
        self._warn(self._bounds)

    def _warn(self, bounds: Bounds) -> None:
        skew = min(max(0.0, bounds.low), bounds.high)  # the smallest that is possible
        if abs(skew) > LOUD_S and (self._warned_skew is None or abs(skew - self._warned_skew) > LOUD_S):
            self._warned_skew = skew
            log.warning("clock differs from Stripe's", ahead_seconds=round(bounds.middle, 1), limit_seconds=LOUD_S)
        elif self._warned_skew is not None and abs(bounds.middle) < LOUD_S / 2:
            self._warned_skew = None
            log.info("clock agrees with Stripe's again", ahead_seconds=round(bounds.middle, 1))
