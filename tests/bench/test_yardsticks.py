"""The yardsticks do the work that they count."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from bench import yardsticks
from bench.errors import BenchError
from bench.parts import Sample
from bench.progress import shown
from bench.yardsticks import Yardsticks, rate, ratios


def test_a_rate_is_the_median_of_its_rounds() -> None:
    """The median of the rounds' rates; CPU of all rounds over all operations."""
    samples = [Sample(100, 1.0, 0.1, 0.2), Sample(300, 1.0, 0.1, 0.2), Sample(100, 0.5, 0.3, 0.6)]
    found = rate(samples)
    assert (found.per_second, found.client_us, found.server_us) == pytest.approx((200.0, 1000.0, 2000.0))


def test_a_yardstick_without_operations_is_an_error() -> None:
    """A yardstick that did nothing measures nothing."""
    with pytest.raises(BenchError):
        rate([Sample(0, 1.0, 0.1, 0.2)])


def test_the_drained_rate_is_shown_as_a_share_of_each_yardstick() -> None:
    """The drained rate is shown as a share of each yardstick below it."""
    figures = {field.name: {"per_second": 1.0, "client_us": 1.0, "server_us": 1.0} for field in fields(Yardsticks)}
    figures["bookings_batched"]["per_second"] = 50_000.0
    figures["xadd"]["per_second"] = 5_000.0
    found = Yardsticks.read(figures)
    assert asdict(found) == figures
    by_name = ratios(found, 10_000.0)
    assert (by_name["of raw batches of 256 bookings"], by_name["of XADDs, one by one"]) == (0.2, 2.0)


async def test_every_part_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """In short rounds each yardstick has something to count, and the seats in the database are right."""
    monkeypatch.setattr(yardsticks, "ROUNDS", 1)
    monkeypatch.setattr(yardsticks, "ROUND_SECONDS_MIN", 0.05)
    with shown() as steps:
        findings = await yardsticks.run(0.0, steps)
    found = Yardsticks.read(findings.figures)
    assert all(getattr(found, field.name).per_second > 0 for field in fields(Yardsticks))
    assert [row[0] for row in findings.tables[0].rows] == list(yardsticks.NAMES.values())
