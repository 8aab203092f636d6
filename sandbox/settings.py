"""The settings of the stand-in, read once from the environment."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=12111, ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    sandbox_ledger: str = ".holdfast/sandbox.sqlite3"
    """Path of the SQLite file; `:memory:` keeps nothing."""

    sandbox_secret_key: str = ""
    """The one secret key that is accepted; when empty, every `sk_test_` and `rk_test_` key is."""

    sandbox_publishable_key: str = ""
    """The one publishable key that is accepted; when empty, every `pk_test_` key is."""

    sandbox_control_key: str = ""
    """The key of the control beside the API, under `/_sandbox`; when empty, all of it is refused."""

    sandbox_smtp_port: int | None = Field(default=None, ge=0, le=65535)
    """Where mails are taken, to be read at `/_sandbox/mail`; when empty, none are."""

    sandbox_webhook_url: str = ""
    """The URLs of the webhook endpoints, separated by commas. When set, they replace those in the ledger."""

    sandbox_webhook_events: str = "*"
    """The event types that the endpoints receive, separated by commas; `*` is all."""

    sandbox_webhook_secret: str = "whsec_sandbox"  # noqa: S105 - of the stand-in, known to all
    """Signs the webhooks: the signing secret of all these endpoints."""

    sandbox_webhook_retry_seconds: float = Field(default=5.0, gt=0)
    """The pause before the first retry of a delivery; it doubles with each retry, up to an hour."""

    sandbox_settle_seconds: float = Field(default=2.0, ge=0)
    """How long bank debits are processing, and how long a test refund that succeeds or fails later takes."""

    sandbox_rate_limit: float = Field(default=0.0, ge=0)
    """Requests a second before 429; 0 is no limit. Stripe's own default in test mode is 25."""
