"""Secrets that Holdfast makes itself. Those of the local stack are made once, so that tokens and webhooks are still
valid after a restart."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ops.errors import StartError
from ops.private import write_private


@dataclass(frozen=True)
class Secrets:
    """Those with a default came later: a data folder of an earlier release does not have them."""

    auth_jwt_secret: str
    webhook_secret: str
    stripe_secret_key: str
    stripe_publishable_key: str
    sandbox_control_key: str = ""
    redis_password: str = ""
    ticket_signing_key: str = ""
    link_secret: str = ""


def new_password() -> str:
    """For a database or Redis: letters and digits, which mean the same in URLs and in every file of settings."""
    return secrets.token_hex(24)


def new_signing_key() -> str:
    """A private key for the codes of tickets (Ed25519): any 32 bytes are one."""
    return secrets.token_urlsafe(32)


def new_secrets() -> Secrets:
    return Secrets(
        auth_jwt_secret=secrets.token_urlsafe(48),
        webhook_secret=f"whsec_{secrets.token_hex(24)}",
        stripe_secret_key=f"sk_test_{secrets.token_hex(24)}",
        stripe_publishable_key=f"pk_test_{secrets.token_hex(24)}",
        sandbox_control_key=secrets.token_urlsafe(32),
        redis_password=new_password(),
        ticket_signing_key=new_signing_key(),
        link_secret=secrets.token_urlsafe(48),
    )


def read_secrets(data_dir: Path) -> Secrets:
    """The secrets kept in `data_dir`. Raises StartError when there are none or they cannot be read."""
    path = data_dir / "secrets.json"
    names = {field.name for field in fields(Secrets)}
    try:
        kept = json.loads(path.read_text())
        return Secrets(**{name: kept[name] for name in kept if name in names})  # a later release may keep more
    except FileNotFoundError:
        raise StartError(f"{path} is not there yet: run `holdfast up` first, or set AUTH_JWT_SECRETS") from None
    except (OSError, ValueError, TypeError) as error:
        raise StartError(f"{path} cannot be read ({error}): delete it for new secrets") from None


def ensure_secrets(data_dir: Path) -> Secrets:
    """The secrets kept in `data_dir`; those that are missing are made now. Only the file's owner may read them."""
    path = data_dir / "secrets.json"
    kept = asdict(read_secrets(data_dir)) if path.exists() else {}
    known = {name: value for name, value in kept.items() if value}
    made = Secrets(**asdict(new_secrets()) | known)
    if asdict(made) != kept:
        write_private(path, json.dumps(asdict(made), indent=2))
    return made
