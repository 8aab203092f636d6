"""Prometheus metrics of a process, in a registry of its own so that several can live in one interpreter."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache, partial
from itertools import accumulate
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as CounterMetric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common.runtime.single_flight import SingleFlight

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Former(NamedTuple):
    """What a metric was called in the release before: its name, and those of its labels that had another name."""

    name: str
    labels: Mapping[str, str] = {}

    def copy(self, metric: Metric) -> Metric:
        """The same samples under the former names."""
        former = Metric(self.name, f"Deprecated: use {metric.name}", metric.type, metric.unit)
        former.samples = [
            sample._replace(
                name=self.name + sample.name.removeprefix(metric.name),
                labels={self.labels.get(label, label): value for label, value in sample.labels.items()},
            )
            for sample in metric.samples
        ]
        return former


# Renamed metrics, by the name that they have now. Under their former names they are exposed for one release.
RENAMED_METRICS: Mapping[str, Former] = {
    "holdfast_booking_slots_waiting": Former("holdfast_waiting_turns"),
    "holdfast_stripe_token_wait_seconds": Former("holdfast_stripe_turn_seconds", {"priority": "lane"}),
}


class _Registry(CollectorRegistry):
    """Exposes renamed metrics under both names. A lookup of labels costs more than the count itself: each is done
    once."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            yield metric
            if former := RENAMED_METRICS.get(metric.name):
                yield former.copy(metric)

    def register(self, collector: Collector) -> None:
        super().register(collector)
        if isinstance(collector, MetricWrapperBase):
            collector.labels = cache(collector.labels)  # type: ignore[method-assign]


class RequestMetrics(Collector):
    """HTTP requests, counted and timed in plain numbers: the library's own metrics take locks, and cost three times
    as much."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        # By route: how many took at most each of LATENCY_S, how many longer, and the sum of the seconds.
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        self._counts[method, route, status] += 1
        if (buckets := self._buckets.get(route)) is None:
            buckets = self._buckets[route] = [0] * (len(LATENCY_S) + 1)
            self._seconds[route] = 0.0
        buckets[bisect_left(LATENCY_S, seconds)] += 1
        self._seconds[route] += seconds

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily(
            "holdfast_http_requests", "HTTP requests", labels=("method", "route", "status")
        )
        for (method, route, status), number in self._counts.items():
            counts.add_metric((method, route, str(status)), number)
        yield counts
        name, text = "holdfast_http_request_seconds", "Time to answer a request"
        times = HistogramMetricFamily(name, text, labels=("route",))
        bounds = [*(str(bound) for bound in LATENCY_S), "+Inf"]
        for route, buckets in self._buckets.items():
            upto = list(zip(bounds, accumulate(buckets), strict=True))
            times.add_metric((route,), buckets=upto, sum_value=self._seconds[route])
        yield times


class Metrics:
    """The metrics of every process. Label values are few and known beforehand: routes, types, outcomes."""

    def __init__(self) -> None:
        self.registry = _Registry()
        # Called before the metrics are shown: they set the gauges whose values come from elsewhere.
        self.samplers: list[Callable[[], Awaitable[None]]] = []
        self.exposition = SingleFlight(self._expose)
        counter, gauge = partial(CounterMetric, registry=self.registry), partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.requests = RequestMetrics()
        self.registry.register(self.requests)
        self.messages = counter(
            "holdfast_messages",
            "Messages by type and outcome (done, failed, dead, undecodable, unknown)",
            ("mailbox", "type", "outcome"),
        )
        self.batch_size = histogram("holdfast_batch_size", "Entries handled together", ("mailbox",), buckets=BATCH)
        self.handler_seconds = histogram(
            "holdfast_handler_seconds",
            "Time to handle a batch, from read to acknowledged",
            ("mailbox",),
            buckets=LATENCY_S,
        )
        self.mailbox_length = gauge(
            "holdfast_mailbox_length", "Entries not yet acknowledged: the outstanding work", ("mailbox",)
        )
        self.unknown_messages = gauge(
            "holdfast_unknown_messages",
            "Messages set aside until a process comes that knows their type",
            ("mailbox",),
        )
        self.unknown_oldest = gauge(
            "holdfast_unknown_oldest_seconds", "Since when the first of them has waited", ("mailbox",)
        )
        self.clock_offset = gauge(
            "holdfast_clock_offset_seconds",
            "How far this process' own clock is ahead of the server's, by which it acts; below 0 it is behind",
            ("source",),
        )
        self.unexpected = counter(
            "holdfast_unexpected", "Messages that no row of the state table expects", ("type", "status")
        )
        self.orphans = counter(
            "holdfast_orphans",
            "What was found at Stripe or between the databases without its other half (adopted, no_booking, stray,"
            " other_intent, unmarked, foreign, foreign_account)",
            ("kind",),
        )
        self.announcements = counter(
            "holdfast_announcements", "Changes of bookings that were announced by mail or webhook", ("kind",)
        )
        self.announcements_failed = counter(
            "holdfast_announcements_failed", "Attempts to announce a booking's changes that a mistake has ended"
        )
        self.mails = counter("holdfast_mails", "Mails and attempts to send them, by outcome", ("kind", "outcome"))
        self.mail_server_failures = counter(
            "holdfast_mail_server_failures", "Connections to the mail server that were not made"
        )
        self.memory_entries = gauge("holdfast_memory_entries", "Rows that this process remembers", ("kind",))
        self.memory_reads = counter(
            "holdfast_memory_reads", "Rows looked for in memory (found, missing)", ("kind", "outcome")
        )

    async def _expose(self) -> bytes:
        for sample in self.samplers:
            await sample()
        return generate_latest(self.registry)


METRICS = web.AppKey("metrics", Metrics)


async def metrics(request: web.Request) -> web.Response:
    body = await request.app[METRICS].exposition()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
