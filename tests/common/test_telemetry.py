"""A renamed metric is exposed under both names, with the same values."""

from __future__ import annotations

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from common.runtime.telemetry import METRICS, RENAMED_METRICS, Metrics
from gateway.app import build_app
from gateway.settings import GatewaySettings
from payment.stripe_api import StripeMetrics

Samples = dict[str, list[tuple[str, dict[str, str], float]]]


async def exposed(metrics: Metrics) -> tuple[Samples, dict[str, str]]:
    """The samples and the HELP texts, by metric."""
    families = list(text_string_to_metric_families((await metrics.exposition()).decode()))
    samples: Samples = {
        family.name: [(sample.name, sample.labels, sample.value) for sample in family.samples]
        for family in families
    }
    return samples, {family.name: family.documentation for family in families}


@pytest.fixture
def metrics() -> Metrics:
    """Of a gateway and of a payment process, together."""
    app: web.Application = build_app(GatewaySettings(auth_jwt_secrets=("telemetry" * 4,)))
    stripe = StripeMetrics(app[METRICS].registry)
    for priority, waits in stripe.token_wait_seconds.items():
        waits.observe(0.02 if priority == "money" else 7)
    return app[METRICS]


async def test_every_renamed_metric_is_exposed_under_both_names(metrics: Metrics) -> None:
    samples, help_of = await exposed(metrics)
    for name, former in RENAMED_METRICS.items():
        now = [
            (
                sample.removeprefix(name),
                {former.labels.get(label, label): of for label, of in labels.items()},
                value,
            )
            for sample, labels, value in samples[name]
        ]
        before = [
            (sample.removeprefix(former.name), labels, value) for sample, labels, value in samples[former.name]
        ]
        assert now == before != []
        assert help_of[former.name] == f"Deprecated: use {name}"
        assert not help_of[name].startswith("Deprecated")


async def test_a_renamed_histogram_keeps_its_former_labels_and_buckets(metrics: Metrics) -> None:
    text = (await metrics.exposition()).decode().splitlines()
    assert "# TYPE holdfast_stripe_turn_seconds histogram" in text
    for line in (
        'holdfast_stripe_token_wait_seconds_bucket{le="0.025",priority="money"} 1.0',
        'holdfast_stripe_token_wait_seconds_count{priority="intents"} 1.0',
        'holdfast_stripe_turn_seconds_bucket{lane="money",le="0.025"} 1.0',
        'holdfast_stripe_turn_seconds_sum{lane="intents"} 7.0',
    ):
        assert line in text


async def test_a_metric_that_was_not_renamed_is_exposed_once(metrics: Metrics) -> None:
    metrics.unexpected.labels("payment.succeeded", "failed").inc()
    text = (await metrics.exposition()).decode()
    assert [line for line in text.splitlines() if line.endswith(" 1.0") and "payment.succeeded" in line] == [
        'holdfast_unexpected_total{status="failed",type="payment.succeeded"} 1.0'
    ]
