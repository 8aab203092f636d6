"""What a process of the reference reads from its environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from gateway.settings import GatewaySettings


class ReferenceSettings(GatewaySettings):
    """The gateway's, of which tokens, Redis and HTTP are needed, with the database and Stripe."""

    database_url: str = Field(min_length=1, repr=False)
    # Requests that wait for a lock each have a connection: more than Holdfast needs.
    database_pool_size: int = Field(default=20, ge=2, le=100)
    # So many messages are in hand at once, each by a consumer that takes one at a time.
    consumers: int = Field(default=8, ge=1, le=100)
    hold_seconds: int = Field(default=900, ge=1)

    stripe_secret_key: SecretStr
    stripe_webhook_secrets: str = Field(min_length=1, repr=False)
    stripe_api_base: str
    stripe_concurrency: int = Field(default=64, ge=1, le=1000)
    webhook_tolerance_seconds: int = Field(default=300, ge=1)
