"""Settings that cannot work are refused at the start; the error has their names and not their values."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from common.contracts.errors import ConfigurationError
from common.runtime.settings import load
from payment.settings import PaymentSettings

GOOD: dict[str, Any] = {
    "payment_database_url": "postgresql://127.0.0.1/payment",
    "stripe_secret_key": "sk_test_1",
    "stripe_webhook_secrets": f"whsec_{'1' * 32}, whsec_{'2' * 32}",
}
SANDBOX = "http://127.0.0.1:12111"


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PaymentSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_defaults_fit_one_another() -> None:
    """A handler outlasts its calls to Stripe, and a claim is more than twice as long as a handler."""
    settings = load(PaymentSettings, **GOOD)

    assert settings.port == 8082
    assert settings.stripe_webhook_secrets == (f"whsec_{'1' * 32}", f"whsec_{'2' * 32}")
    assert settings.stripe_timeout_ms / 1000 < settings.intent_calls_seconds
    assert 3 * settings.command_calls_seconds < settings.handler_timeout_ms / 1000
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
def test_the_key_sets_the_mode_and_its_limits(key: str, livemode: bool, rate: float, slots: int) -> None:
    """Stripe's own default limits, unless another rate is set; at most as many calls at once as get a token
    in a second."""
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
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], named: str) -> None:
    """The error names the variable and shows no secret."""
    with pytest.raises(ConfigurationError, match=named) as refusal:
        load(PaymentSettings, **{**GOOD, **values})
    assert "_live_1" not in str(refusal.value)
    assert "pk_test_1" not in str(refusal.value)


def _published_secrets() -> set[str]:
    """All webhook secrets that stand anywhere in the repository and could be copied from there."""
    root = Path(__file__).parents[2]
    files = [*root.glob("*.*"), root / ".env.example", *root.glob("[a-z]*/**/*.*")]
    texts = (
        file.read_text(errors="ignore") for file in files if file.is_file() and file.suffix not in (".lock", ".pyc")
    )
    return {found for text in texts for found in re.findall(r"whsec_\w+", text)}


@pytest.mark.parametrize("key", ["sk_test_1", "sk_live_1"])
@pytest.mark.parametrize("base", [None, "", "https://api.stripe.com", "https://api.stripe.com/"])
def test_a_live_key_refuses_secrets_that_everybody_knows(key: str, base: str | None) -> None:
    """A reader of such a secret could confirm bookings that are not paid: also if it is one of several."""
    known = _published_secrets()
    assert {"whsec_sandbox", "whsec_races"} <= known
    real = GOOD | {"stripe_secret_key": key, "stripe_api_base": base or None}
    for secret in known:
        with pytest.raises(ConfigurationError, match="STRIPE_"):
            load(PaymentSettings, **{**real, "stripe_webhook_secrets": f"whsec_{'1' * 32},{secret}"})


def test_the_sandbox_accepts_any_secret() -> None:
    settings = load(
        PaymentSettings, **{**GOOD, "stripe_webhook_secrets": "whsec_sandbox", "stripe_api_base": SANDBOX}
    )
    assert settings.stripe_webhook_secrets == ("whsec_sandbox",)


@pytest.mark.parametrize(("characters", "accepted"), [(31, False), (32, True), (70, True)])
def test_a_short_secret_is_refused(characters: int, accepted: bool) -> None:
    secret = "whsec_".ljust(characters, "x")
    with (
        nullcontext() if accepted else pytest.raises(ConfigurationError, match="STRIPE_WEBHOOK_SECRETS") as refusal
    ):
        load(PaymentSettings, **{**GOOD, "stripe_webhook_secrets": secret})
    assert accepted or secret not in str(refusal)


def test_secrets_are_not_shown() -> None:
    """Neither in logs nor in tracebacks."""
    shown = repr(load(PaymentSettings, **GOOD))

    assert "sk_test_1" not in shown
    assert "whsec" not in shown
    assert "postgresql" not in shown
