"""Where the databases, Stripe and Redis are: from the environment, else those of the local stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.audit.databases import SourceUnavailable
from ops.errors import StartError
from ops.layout import HOST, read_ports, redis_url
from ops.secrets import read_secrets

NEEDED = ("BOOKING_DATABASE_URL", "PAYMENT_DATABASE_URL", "STRIPE_SECRET_KEY")


@dataclass(frozen=True)
class Sources:
    """`stripe_base` is None for the real Stripe, `redis_url` if it is not known."""

    booking_url: str
    payment_url: str
    stripe_key: str
    stripe_base: str | None
    redis_url: str | None


def find_sources(data_dir: Path, environment: Mapping[str, str]) -> Sources:
    """Raises SourceUnavailable when neither the environment nor a local stack says where one of them is."""
    local = _Local(data_dir)
    key, base = environment.get("STRIPE_SECRET_KEY"), environment.get("STRIPE_API_BASE")
    try:
        return Sources(
            booking_url=environment.get("BOOKING_DATABASE_URL") or local.database_url("booking"),
            payment_url=environment.get("PAYMENT_DATABASE_URL") or local.database_url("payment"),
            stripe_key=key or read_secrets(data_dir).stripe_secret_key,
            stripe_base=base or (None if key else f"http://{HOST}:{local.ports.sandbox}"),
            redis_url=environment.get("REDIS_URL") or local.redis_url,
        )
    except StartError as error:
        missing = ", ".join(name for name in NEEDED if not environment.get(name))
        raise SourceUnavailable(f"no local stack in {data_dir}, and {missing} not set") from error


class _Local:
    """The stack that `holdfast up` keeps in a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.ports = read_ports(data_dir)

    def database_url(self, name: str) -> str:
        # Imported here, as production images do not have the embedded server.
        try:
            from ops.postgres import Postgres
        except ImportError as error:
            raise StartError(f"{name.upper()}_DATABASE_URL is not set ({error})") from None
        return Postgres(self._data_dir / "postgres", self.ports.postgres).url(name)

    @property
    def redis_url(self) -> str | None:
        """None where no local stack has run."""
        if not (self._data_dir / "redis").exists():
            return None
        return redis_url(self.ports.redis, read_secrets(self._data_dir).redis_password)
