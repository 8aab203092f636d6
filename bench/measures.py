"""Figures from samples: percentiles, medians, and Prometheus histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, inf
from statistics import median

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Histogram", "middle", "percentile", "scrape"]


def percentile(samples: Sequence[float], share: float) -> float | None:
    """The smallest sample that at least `share` (0 to 1) of all samples do not exceed; None without samples."""
    if not samples:
        return None
    return sorted(samples)[max(ceil(share * len(samples)) - 1, 0)]


def middle(samples: Sequence[float | None]) -> float | None:
    """The median of the samples that are not None; None if there are none."""
    known = [sample for sample in samples if sample is not None]
    return median(known) if known else None


@dataclass(frozen=True)
class Histogram:
    """A Prometheus histogram, or its growth: upper bounds, each with how many samples do not exceed it."""

    count: float = 0.0
    total: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict)

    def since(self, before: Histogram) -> Histogram:
        buckets = {bound: number - before.buckets.get(bound, 0.0) for bound, number in self.buckets.items()}
        return Histogram(self.count - before.count, self.total - before.total, buckets)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def median(self) -> float | None:
        """Interpolated within its bucket, so only as exact as the buckets are narrow."""
        half = self.count / 2
        for (low, below), (high, upto) in pairwise([(0.0, 0.0), *sorted(self.buckets.items())]):
            if upto >= half and upto > below:
                return low if high == inf else low + (high - low) * (half - below) / (upto - below)
        return None


async def scrape(url: str, name: str, labels: Mapping[str, str]) -> Histogram:
    """The histogram `name` with `labels` from /metrics of a process, at its admin port. Empty without samples."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        response.raise_for_status()
        text = await response.text()
    count = total = 0.0
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        if family.name != name:
            continue
        for sample in family.samples:
            if any(sample.labels.get(label) != value for label, value in labels.items()):
                continue
            if sample.name.endswith("_bucket"):
                buckets[float(sample.labels["le"])] = sample.value
            elif sample.name.endswith("_count"):
                count = sample.value
            elif sample.name.endswith("_sum"):
                total = sample.value
    return Histogram(count, total, buckets)
