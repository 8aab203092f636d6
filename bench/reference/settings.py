"""What a process of the reference reads from its environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from gateway.settings import GatewaySettings


class ReferenceSettings(GatewaySettings):
    """The gateway's settings, of which it uses those of tokens, Redis and HTTP, with the database and Stripe."""

    database_url: str = Field(min_length=1, repr=False)
    # Each request that waits for a lock has a connection: more than Holdfast needs.
    database_pool_size: int = Field(default=20, ge=2, le=100)
    # How many consumers a process has; each handles one message at a time.
    consumers: int = Field(default=8, ge=1, le=100)
    hold_seconds: int = Field(default=900, ge=1)

    stripe_secret_key: SecretStr
    stripe_webhook_secrets: str = Field(min_length=1, repr=False)
    stripe_api_base: str
    stripe_concurrency: int = Field(default=64, ge=1, le=1000)
    webhook_tolerance_seconds: int = Field(default=300, ge=1)
