"""The difference between our clock and Stripe's: measured by each answer, shown, and logged once if it is large."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from structlog.testing import capture_logs

from common.runtime.clock import Bounds
from payment.stripe_api import asked_at
from payment.stripe_clock import LOUD_S, StripeClock, measured
from tests.payment.rows import bank
from tests.payment.stage import Stage, booking
from tests.payment.wire import Call

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LARGE = "clock differs from Stripe's"


def answer(ahead_s: float, sent_s: float, there_s: float, back_s: float) -> Bounds:
    """The bounds by a request sent at `sent_s` of Stripe's time, `there_s` on the way there and `back_s` back."""
    date = NOON + timedelta(seconds=int(sent_s + there_s))
    return measured(NOON + timedelta(seconds=sent_s + ahead_s), there_s + back_s, date)


@pytest.mark.parametrize("ahead_s", [-300.0, -0.4, 0.0, 14.0, 300.0])
def test_the_true_skew_is_within_the_bounds_and_they_become_narrow(ahead_s: float) -> None:
    """However long answers take, and whatever part of a second `Date` leaves out."""
    chance, bounds, at = random.Random(7), Bounds(-1000, 1000), 0.0
    for _ in range(200):
        at += 1.37
        there, back = chance.expovariate(8), chance.expovariate(8)
        bounds = bounds.after(1.37).narrowed(answer(ahead_s, at, there, back))
        assert bounds.low <= ahead_s <= bounds.high
    assert bounds.high - bounds.low < 0.3


def test_a_clock_that_was_set_is_measured_again() -> None:
    bounds = answer(0, 10, 0.1, 0.1).after(1.0).narrowed(answer(60, 11, 0.1, 0.1))
    assert bounds.low <= 60 <= bounds.high


class Skewed:
    """Our clock, set ahead, and the measured one; answers take 0.1 s."""

    def __init__(self) -> None:
        self.gauge = Gauge("skew", "", registry=CollectorRegistry())
        self.ahead_s = 0.0
        self.clock = StripeClock(self.ours, self.gauge)

    def ours(self) -> datetime:
        return NOON + timedelta(seconds=self.ahead_s)

    def warnings(self, ahead_s: float) -> list[str]:
        self.ahead_s = ahead_s
        with capture_logs() as logs:
            for _ in range(3):
                self.clock.answered(self.ours(), 0.1, NOON)
        return [line["event"] for line in logs if line["log_level"] == "warning"]


def test_a_large_skew_is_logged_once_per_change() -> None:
    """Not with each call; again when it has changed by as much, or had become small."""
    skewed = Skewed()
    steps = [(0, 0), (LOUD_S - 1, 0), (14, 1), (14, 0), (16, 0), (-14, 1), (0, 0), (14, 1), (300, 1), (300, 0)]
    for ahead_s, times in steps:
        assert skewed.warnings(ahead_s) == [LARGE] * times, ahead_s
        (metric,) = skewed.gauge.collect()
        shown = metric.samples[0].value
        assert abs(shown - ahead_s) <= 1
        assert abs((skewed.clock.now() - NOON).total_seconds()) <= 1


@pytest.mark.parametrize("ahead_s", [-300, 14])
async def test_every_answer_measures_the_skew(stage: Stage, ahead_s: int) -> None:
    """Also the answer to a call that has nothing to do with clocks."""
    stage.clock.ahead = timedelta(seconds=ahead_s)
    with capture_logs() as logs:
        for _ in range(3):
            await stage.do(booking().create)
    assert [line["event"] for line in logs].count(LARGE) == 1
    assert abs((stage.clock() - stage.stripe.clock.now()).total_seconds() - ahead_s) < 5


@pytest.mark.parametrize(("took_s", "since_s"), [(0.0, 0), (0.01, -1), (0.99, -1), (1.0, -1), (1.2, -2), (4.9, -5)])
def test_an_answer_may_be_as_old_as_its_request(took_s: float, since_s: int) -> None:
    """In whole seconds, like Stripe's events: one of that second may have come after Stripe read the object."""
    assert asked_at(NOON, took_s) == NOON + timedelta(seconds=since_s)


async def test_an_event_between_stripes_reading_and_its_answer_is_younger(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is dated when it leaves Stripe: by then a dispute that it shows as open may have been won."""
    of = booking()
    paid = await stage.paid(of)
    dispute = await bank(stage, f"payment_intents/{paid.payment.intent_id}/dispute")

    async def slowly(call: Call, answer: dict[str, Any]) -> None:
        if call.path == "/v1/disputes":
            await bank(stage, f"disputes/{dispute['id']}/won")
        # Stripe read it at once, and dated it four seconds later; `perf_counter` here advances by four
        # with each call.
        later = datetime.now(UTC) + timedelta(seconds=4)
        stage.wire.date = format_datetime(later, usegmt=True)

    ticks = count(0, 4)
    monkeypatch.setattr(
        "payment.stripe_api.time", SimpleNamespace(perf_counter=lambda: next(ticks), monotonic=monotonic)
    )
    stage.wire.after = slowly
    (open_,) = await stage.do(of.sync)
    closed = await stage.events("charge.dispute.closed", of=dispute["id"])
    (report,) = await stage.webhooks(*closed)
    stage.wire.date = None
    assert (open_.payment.disputed, report.payment.disputed) == (True, False)
