"""Settings that all processes share. Each process adds its own and reads them once, at its start."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from common.contracts.errors import ConfigurationError
from common.runtime.urls import RedisUrl


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
# RFC 7518, section 3.2: an HS256 key has at least as many bits as the hash.
SECRET_BYTES_MIN = 32


def _none_empty(value: Any) -> Any:
    """Where one of them was not filled in, another than the one that was meant would sign."""
    if isinstance(value, str) and not all(part.strip() for part in value.split(",")):
        raise ValueError("one of them is empty")
    return value


def _long_and_different(secrets: tuple[str, ...]) -> tuple[str, ...]:
    if any(len(secret.encode()) < SECRET_BYTES_MIN for secret in secrets):
        raise ValueError(f"each must have at least {SECRET_BYTES_MIN} bytes")
    if len(set(secrets)) < len(secrets):
        raise ValueError("one of them is there twice")
    return secrets


# Secrets of HMAC-SHA256, which rotate: the first signs, each is accepted.
SigningSecrets = Annotated[
    CommaSeparated, BeforeValidator(_none_empty), AfterValidator(_long_and_different), Field(repr=False)
]


def _instance() -> str:
    """A name that no other process has: the host says where it runs, the random part changes with each start."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class ProcessSettings(BaseSettings):
    """What every Holdfast process reads from its environment; `.env.example` explains each."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, allow_inf_nan=False)

    # Former names of settings, each with the name that it has now. They are read for one release.
    RENAMED: ClassVar[Mapping[str, str]] = {}

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    reuse_port: bool = False
    # Where the process serves its metrics and the detailed readiness, for operators alone: unless it is set
    # otherwise, only this machine reaches it, and the system chooses the port (the line `listening` has it).
    admin_host: str = "127.0.0.1"
    admin_port: int = Field(default=0, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    instance: str = Field(default_factory=_instance, min_length=1, max_length=200)
    # How many seconds a process still answers after SIGTERM, so that load balancers remove it and clients that keep
    # connections open new ones elsewhere. Three checks of a balancer that checks every two seconds, and a little
    # less than the 10 s after which `docker stop` kills.
    drain_seconds: float = Field(default=7.0, ge=0, le=300)
    # How many seconds requests, messages and all else under way may take to finish after that, together.
    shutdown_seconds: float = Field(default=30.0, gt=0, le=300)
    # How many seconds a connection may be idle, take to send a request's headers, or leave unread what was sent to
    # it. Longer than the 60 s of most load balancers, so that none sends a request over one that is being closed.
    idle_seconds: float = Field(default=75.0, gt=0, le=3600)
    # How many seconds a request's body may take to arrive.
    body_seconds: float = Field(default=30.0, gt=0, le=300)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but the environment: to look into files that are not there takes as long once more."""
        return init_settings, env_settings


class ActorSettings(ProcessSettings):
    """Settings of a process that communicates over Redis Streams."""

    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    # The most entries in one batch, new and reclaimed; about here one more entry stops making a batch cheaper.
    batch_max: int = Field(default=256, ge=1, le=2000)
    # How many rows of each kind a process keeps in memory, some 2 KB each: more than are open at once in most
    # sales. With 0 it reads from the database all that it decides by.
    memory_max: int = Field(default=10_000, ge=0, le=1_000_000)
    # A handler that runs longer than this is cancelled; its entries are retried.
    handler_timeout_ms: int = Field(default=10_000, ge=10)
    # An entry that one consumer has had for longer than this may be claimed by another. It must outlast a handler
    # twice: once for the batch, once for an entry of it on its own.
    claim_idle_ms: int = Field(default=25_000, ge=20)
    # An entry that failed this many times on its own becomes a dead letter.
    attempts_max: int = Field(default=5, ge=1, le=100)
    # Consumers that were idle for this long and have no pending entries are removed.
    consumer_idle_ms: int = Field(default=3_600_000, ge=1000)
    # A process whose own clock differs by more than this from Postgres' or Redis' reports it. It acts by theirs.
    clock_skew_max_seconds: float = Field(default=5.0, gt=0)
    # How long XREADGROUP waits for new entries; a stop may have to wait as long for a consumer.
    block_ms: int = Field(default=1000, ge=10, le=10_000)

    @model_validator(mode="after")
    def _claims_outlast_handlers(self) -> Self:
        if self.claim_idle_ms <= 2 * self.handler_timeout_ms:
            raise ValueError(
                f"CLAIM_IDLE_MS ({self.claim_idle_ms}) must be more than twice HANDLER_TIMEOUT_MS "
                f"({self.handler_timeout_ms}): a slower handler's entries would be taken from it"
            )
        return self


S = TypeVar("S", bound=ProcessSettings)


def _environment() -> dict[str, str]:
    """The variables that are set, as pydantic reads them: in any case, and not the empty ones."""
    return {name.lower(): value for name, value in os.environ.items() if value}


def former_names(kind: type[ProcessSettings]) -> dict[str, str]:
    """The former names of settings that the environment has, each with the name that it has now."""
    environment = _environment()
    return {former: name for former, name in kind.RENAMED.items() if former in environment}


def load(kind: type[S], **overrides: Any) -> S:
    """Read `kind` from the environment. A variable with a former name counts unless the one of now is set, too.

    Raises ConfigurationError, which names each variable that is missing or wrong, without its value.
    """
    environment = _environment()
    read_as = {name: former for former, name in former_names(kind).items() if name not in environment | overrides}
    formerly: dict[str, Any] = {name: environment[former] for name, former in read_as.items()}
    try:
        return kind(**formerly, **overrides)
    except ValidationError as invalid:
        errors = invalid.errors(include_input=False, include_url=False)
        paths = [[str(part) for part in error["loc"]] for error in errors]
        lines = [
            f"{'.'.join(read_as.get(part, part) for part in path).upper() or 'settings'}: {error['msg']}"
            for path, error in zip(paths, errors, strict=True)
        ]
        raise ConfigurationError("; ".join(lines)) from None
    except SettingsError as unreadable:  # its text names the field only
        raise ConfigurationError(str(unreadable)) from None
