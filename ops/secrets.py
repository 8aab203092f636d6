"""The local stack's secrets: made once, so that tokens and webhooks are still valid after a restart."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.errors import StartError


@dataclass(frozen=True)
class Secrets:
    auth_jwt_secret: str
    webhook_secret: str
    stripe_secret_key: str
    stripe_publishable_key: str


def read_secrets(data_dir: Path) -> Secrets:
    """The secrets kept in `data_dir`. Raises StartError when there are none or they cannot be read."""
    path = data_dir / "secrets.json"
    try:
        return Secrets(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise StartError(f"{path} is not there yet: run `holdfast up` first, or set AUTH_JWT_SECRET") from None
    except (OSError, ValueError, TypeError) as error:
        raise StartError(f"{path} cannot be read ({error}): delete it for new secrets") from None


def ensure_secrets(data_dir: Path) -> Secrets:
    """The secrets kept in `data_dir`, made now if there are none; only the file's owner may read them."""
    path = data_dir / "secrets.json"
    if not path.exists():
        made = Secrets(
            auth_jwt_secret=secrets.token_urlsafe(48),
            webhook_secret=f"whsec_{secrets.token_hex(24)}",
            stripe_secret_key=f"sk_test_{secrets.token_hex(24)}",
            stripe_publishable_key=f"pk_test_{secrets.token_hex(24)}",
        )
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(made), file, indent=2)
        draft.rename(path)
    return read_secrets(data_dir)
