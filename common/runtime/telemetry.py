"""Prometheus metrics of a process, in a registry of its own so that several can live in one interpreter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from common.runtime.single_flight import SingleFlight

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """What every process counts. Label values are few and known beforehand: routes, types, outcomes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        # By method, route and status; looking labels up costs more than counting.
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.requests = counter("holdfast_http_requests", "HTTP requests", ("method", "route", "status"))
        self.request_seconds = histogram(
            "holdfast_http_request_seconds", "Time to answer a request", ("route",), buckets=LATENCY_S
        )
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
        self.memory_entries = gauge("holdfast_memory_entries", "Rows that this process remembers", ("kind",))
        self.memory_reads = counter(
            "holdfast_memory_reads", "Rows looked for in memory (found, missing)", ("kind", "outcome")
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        counted = self._answers.get((method, route, status))
        if counted is None:
            counted = self.requests.labels(method, route, status), self.request_seconds.labels(route)
            self._answers[method, route, status] = counted
        counted[0].inc()
        counted[1].observe(seconds)


METRICS = web.AppKey("metrics", Metrics)
SAMPLERS = web.AppKey("samplers", list[Callable[[], Awaitable[None]]])
EXPOSITION = web.AppKey("exposition", SingleFlight[bytes])


def exposition(app: web.Application) -> SingleFlight[bytes]:
    """The registry as text; gauges that are read from elsewhere are sampled for it."""

    async def expose() -> bytes:
        for sample in app[SAMPLERS]:
            await sample()
        return generate_latest(app[METRICS].registry)

    return SingleFlight(expose)


async def metrics(request: web.Request) -> web.Response:
    body = await request.app[EXPOSITION]()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
