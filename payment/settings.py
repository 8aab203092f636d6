"""The settings of the payment process, read from environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from math import ceil
from typing import Annotated, ClassVar, Self

from pydantic import Field, HttpUrl, SecretStr, model_validator

from common.runtime.settings import ActorSettings, CommaSeparated
from common.runtime.urls import PostgresUrl
from payment.orphans import OrphanTerms
from payment.rate_limiter import DEFERRED_SHARE

# Stripe's default limits: https://docs.stripe.com/rate-limits.
LIVE_REQUESTS_PER_SECOND = 100.0
TEST_REQUESTS_PER_SECOND = 25.0
# The time that a handler keeps for the transaction that saves the answers of its Stripe calls.
RECORDING_MS = 1000
# A batch of payment.commands can hold three kinds (cancels, syncs and refunds), which share one handler's time.
COMMAND_KINDS = 3
# And one of payment.deferred two: new intents and cancels.
DEFERRED_KINDS = 2

# Stripe's own secrets have at least 38 characters: `whsec_`, and 32 random ones.
WEBHOOK_SECRET_MIN = 32
# The sandbox's default secret: it is public, because everybody can read it here.
PUBLISHED_WEBHOOK_SECRETS = frozenset({"whsec_sandbox"})
REAL_STRIPE_HOST = "api.stripe.com"

TEST_KEYS = ("sk_test_", "rk_test_")
LIVE_KEYS = ("sk_live_", "rk_live_")


class PaymentSettings(ActorSettings):
    """Settings of the payment process; `.env.example` explains them."""

    RENAMED: ClassVar[Mapping[str, str]] = {"event_catch_up_seconds": "stripe_events_catch_up_seconds"}

    port: int = Field(default=8082, ge=0, le=65535)
    # Time for one Stripe call that times out (5 s), for a second one, and for saving.
    handler_timeout_ms: int = Field(default=12_000, ge=10)
    payment_database_url: PostgresUrl = Field(repr=False)
    database_pool_size: int = Field(default=10, ge=2, le=100)

    stripe_secret_key: SecretStr
    stripe_webhook_secrets: Annotated[CommaSeparated, Field(min_length=1, repr=False)]
    stripe_api_base: HttpUrl | None = None
    stripe_requests_per_second: float | None = Field(default=None, gt=0, le=10_000)
    stripe_concurrency: int = Field(default=64, ge=1, le=1000)
    stripe_timeout_ms: int = Field(default=5000, ge=50)
    webhook_body_max_bytes: int = Field(default=512 * 1024, ge=1024, le=16 * 1024 * 1024)
    # The greatest age of a signature; Stripe's own default: https://docs.stripe.com/webhooks#replay-attacks.
    webhook_tolerance_seconds: int = Field(default=300, ge=1)
    stripe_events_catch_up_seconds: float = Field(default=10.0, gt=0, le=3600)
    orphan_grace_seconds: int = Field(default=600, ge=0, le=30 * 86_400)
    orphans_max: int = Field(default=20, ge=0, le=1_000_000)

    @property
    def orphan_terms(self) -> OrphanTerms:
        return OrphanTerms(timedelta(seconds=self.orphan_grace_seconds), self.orphans_max)

    @property
    def livemode(self) -> bool:
        return self.stripe_secret_key.get_secret_value().startswith(LIVE_KEYS)

    @property
    def requests_per_second(self) -> float:
        default = LIVE_REQUESTS_PER_SECOND if self.livemode else TEST_REQUESTS_PER_SECOND
        return self.stripe_requests_per_second or default

    @property
    def stripe_slots(self) -> int:
        """How many entries that need a Stripe call are handled at once: no more than get a token within a second,
        so that none waits here that another process could handle."""
        return min(self.stripe_concurrency, ceil(self.requests_per_second))

    @property
    def deferred_slots(self) -> int:
        """The same for deferred entries: no more than get a token within half of the time that they wait for one,
        by their share alone."""
        in_time = self.requests_per_second * DEFERRED_SHARE * self.deferred_calls_seconds / 2
        return max(1, min(self.stripe_concurrency, int(in_time)))

    @property
    def intent_calls_seconds(self) -> float:
        """How long a batch of new intents waits for tokens and Stripe's answers; then its retry times take over."""
        return (self.handler_timeout_ms - RECORDING_MS) / 1000

    @property
    def command_calls_seconds(self) -> float:
        """The same for each kind of command."""
        return (self.handler_timeout_ms / COMMAND_KINDS - RECORDING_MS) / 1000

    @property
    def deferred_calls_seconds(self) -> float:
        """The same for each kind of deferred message."""
        return (self.handler_timeout_ms / DEFERRED_KINDS - RECORDING_MS) / 1000

    @model_validator(mode="after")
    def _key_is_known(self) -> Self:
        key = self.stripe_secret_key.get_secret_value()
        if not re.fullmatch(r"[!-~]+", key):
            raise ValueError("STRIPE_SECRET_KEY must be visible ASCII characters")
        if not key.startswith(TEST_KEYS + LIVE_KEYS):
            raise ValueError("STRIPE_SECRET_KEY must begin with sk_test_, rk_test_, sk_live_ or rk_live_")
        if self.livemode and self.stripe_api_base is not None:
            raise ValueError("STRIPE_API_BASE must not be set together with a live STRIPE_SECRET_KEY")
        return self

    @model_validator(mode="after")
    def _webhooks_cannot_be_forged(self) -> Self:
        stand_in = self.stripe_api_base is not None and self.stripe_api_base.host != REAL_STRIPE_HOST
        if stand_in and not self.livemode:
            return self  # a forged webhook of a stand-in moves no real money
        for secret in self.stripe_webhook_secrets:
            if secret in PUBLISHED_WEBHOOK_SECRETS:
                raise ValueError(
                    "STRIPE_WEBHOOK_SECRETS: the sandbox's secret is known to everybody and goes only with the "
                    "sandbox, to which STRIPE_API_BASE leads: take the one of your webhook endpoint at Stripe"
                )
            if len(secret) < WEBHOOK_SECRET_MIN:
                raise ValueError(
                    f"STRIPE_WEBHOOK_SECRETS: each needs at least {WEBHOOK_SECRET_MIN} characters, as Stripe's"
                )
        return self

    @model_validator(mode="after")
    def _handlers_outlast_stripe(self) -> Self:
        least = max(self.stripe_timeout_ms + RECORDING_MS, 2 * COMMAND_KINDS * RECORDING_MS)
        if self.handler_timeout_ms < least:
            raise ValueError(
                f"HANDLER_TIMEOUT_MS ({self.handler_timeout_ms}) must be at least {least}: it has to outlast "
                f"STRIPE_TIMEOUT_MS ({self.stripe_timeout_ms}), and answers have to be recorded, too"
            )
        return self
