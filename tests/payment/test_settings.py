"""Settings that cannot work are refused at the start, by name and without their value."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import ConfigurationError
from common.settings import load
from payment.settings import PaymentSettings

GOOD: dict[str, Any] = {
    "payment_database_url": "postgresql://127.0.0.1/payment",
    "stripe_secret_key": "sk_test_1",
    "stripe_webhook_secrets": "whsec_1, whsec_2",
}


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PaymentSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_defaults_fit_one_another() -> None:
    """A handler outlasts its Stripe calls, and a claim outlasts a handler twice."""
    settings = load(PaymentSettings, **GOOD)

    assert settings.port == 8082
    assert settings.stripe_webhook_secrets == ("whsec_1", "whsec_2")
    assert settings.stripe_timeout_ms / 1000 < settings.intents_asking_seconds
    assert 3 * settings.commands_asking_seconds < settings.handler_timeout_ms / 1000
    assert settings.claim_idle_ms > 2 * settings.handler_timeout_ms


@pytest.mark.parametrize(
    ("key", "livemode", "rate", "slots"),
    [
        ("sk_test_1", False, 25, 25),
        ("rk_test_1", False, 25, 25),
        ("sk_live_1", True, 100, 64),
        ("rk_live_1", True, 100, 64),
    ],
)
def test_the_key_tells_the_mode_and_its_limits(key: str, livemode: bool, rate: float, slots: int) -> None:
    """Stripe's own default limits, unless told; no more in hand than gets its turn within a second."""
    settings = load(PaymentSettings, **{**GOOD, "stripe_secret_key": key})

    assert (settings.livemode, settings.requests_per_second, settings.stripe_slots) == (livemode, rate, slots)
    slow = load(PaymentSettings, **{**GOOD, "stripe_requests_per_second": 2.5})
    assert (slow.requests_per_second, slow.stripe_slots) == (2.5, 3)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"stripe_secret_key": "sk_live_1", "stripe_api_base": "http://127.0.0.1:12111"}, "STRIPE_API_BASE"),
        ({"stripe_secret_key": "rk_live_1", "stripe_api_base": "http://127.0.0.1:12111"}, "STRIPE_API_BASE"),
        ({"stripe_secret_key": "pk_test_1"}, "STRIPE_SECRET_KEY"),
        ({"stripe_webhook_secrets": ""}, "STRIPE_WEBHOOK_SECRETS"),
        ({"payment_database_url": ""}, "PAYMENT_DATABASE_URL"),
        ({"handler_timeout_ms": 5500}, "HANDLER_TIMEOUT_MS"),
        ({"claim_idle_ms": 20_000}, "CLAIM_IDLE_MS"),
        ({"stripe_api_base": "nonsense"}, "STRIPE_API_BASE"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], named: str) -> None:
    """The message names the variable and keeps the secrets."""
    with pytest.raises(ConfigurationError, match=named) as refusal:
        load(PaymentSettings, **{**GOOD, **values})
    assert "_live_1" not in str(refusal.value)
    assert "pk_test_1" not in str(refusal.value)


def test_secrets_are_not_shown() -> None:
    """Neither in logs nor in tracebacks."""
    shown = repr(load(PaymentSettings, **GOOD))

    assert "sk_test_1" not in shown
    assert "whsec" not in shown
    assert "postgresql" not in shown
