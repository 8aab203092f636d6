"""`holdfast init`: a file of settings for compose, with secrets that nobody else has."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from ops.environment import FORMER_NAMES
from ops.errors import StartError
from ops.private import FILE, write_private
from ops.secrets import new_password, new_secrets

ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Z][A-Z0-9_]*)=")
HEAD = """\
# Settings for compose.yaml, made by `holdfast init`: for the owner of this file alone, and in no repository.
# Every other setting is in .env.example, with its default.
"""
STRIPE = """
# The sandbox stands in for Stripe. For the real one: empty COMPOSE_PROFILES, STRIPE_API_BASE and STRIPE_JS_URL, and
# set the two keys of your account and the secret of its webhook endpoint.
"""
CHOSEN_WITH_STRIPE = {
    *("COMPOSE_PROFILES", "STRIPE_API_BASE", "STRIPE_JS_URL", "STRIPE_PUBLISHABLE_KEY", "STRIPE_WEBHOOK_SECRETS"),
    *("SANDBOX_SECRET_KEY", "SANDBOX_PUBLISHABLE_KEY", "SANDBOX_WEBHOOK_URL", "SANDBOX_WEBHOOK_SECRET"),
}
ADDED = """
# Added by `holdfast init --missing`.
"""


def settings() -> dict[str, str]:
    """Every setting that the file has, with new secrets."""
    made = new_secrets()
    passwords = [
        *("POSTGRES_PASSWORD", "POSTGRES_BOOKING_PASSWORD", "POSTGRES_PAYMENT_PASSWORD"),
        *("REDIS_PASSWORD", "REDIS_GATEWAY_PASSWORD", "REDIS_BOOKING_PASSWORD", "REDIS_PAYMENT_PASSWORD"),
    ]
    return {
        **{name: new_password() for name in passwords},
        "AUTH_JWT_SECRETS": made.auth_jwt_secret,
        "TICKET_SIGNING_KEYS": made.ticket_signing_key,
        "COMPOSE_PROFILES": "sandbox",
        "STRIPE_API_BASE": "http://sandbox:12111",
        # For browsers, which are outside of compose's networks.
        "STRIPE_JS_URL": "http://127.0.0.1:12111/stripe.js",
        "STRIPE_SECRET_KEY": made.stripe_secret_key,
        "STRIPE_PUBLISHABLE_KEY": made.stripe_publishable_key,
        "STRIPE_WEBHOOK_SECRETS": made.webhook_secret,
        "SANDBOX_SECRET_KEY": made.stripe_secret_key,
        "SANDBOX_PUBLISHABLE_KEY": made.stripe_publishable_key,
        "SANDBOX_WEBHOOK_URL": "http://payment:8082/payment/webhook",
        "SANDBOX_WEBHOOK_SECRET": made.webhook_secret,
        "SANDBOX_CONTROL_KEY": made.sandbox_control_key,
    }


def text() -> str:
    lines = {name: f"{name}={value}\n" for name, value in settings().items()}
    stripe = [line for name, line in lines.items() if "STRIPE" in name or "SANDBOX" in name or "COMPOSE" in name]
    own = [line for line in lines.values() if line not in stripe]
    return "".join((HEAD, "\n", *own, STRIPE, *stripe))


def init(path: Path, *, force: bool = False, missing: bool = False) -> str:
    """Write the file, for its owner only; returns what was done.

    An existing one is left alone; with `force` it is kept under another name, with `missing` it gets the settings
    that it lacks. Raises StartError when it exists or cannot be written.
    """
    try:
        if not path.exists():
            write_private(path, text())
            return f"wrote {path}"
        if missing:
            return _complete(path)
        if force:
            kept = _keep(path)
            write_private(path, text())
            return f"wrote {path}; the old one is {kept}"
    except OSError as error:
        raise StartError(f"{path} cannot be written: {error.strerror}") from None
    raise StartError(
        f"{path} is there already, and its secrets may be in use: --missing adds what it lacks, --force writes "
        "a new one and keeps this one under another name"
    )


def _complete(path: Path) -> str:
    """Only what has no line, nor one with its former name, counts as missing: an empty value may be meant."""
    before = path.read_text()
    assigned = {found[1] for line in before.splitlines() if (found := ASSIGNMENT.match(line))}
    known = assigned | {FORMER_NAMES[name] for name in assigned & FORMER_NAMES.keys()}
    lacking = {name: value for name, value in settings().items() if name not in known}
    if "STRIPE_SECRET_KEY" in known:
        # Stripe is chosen already: its keys belong together.
        lacking = {name: value for name, value in lacking.items() if name not in CHOSEN_WITH_STRIPE}
    if not lacking:
        path.chmod(FILE)
        return f"{path} lacks nothing"
    kept = _keep(path)
    added = "".join(f"{name}={value}\n" for name, value in lacking.items())
    write_private(path, before.rstrip("\n") + "\n" + ADDED + added)
    return f"added to {path}: {', '.join(lacking)}; the old one is {kept}"


def _keep(path: Path) -> Path:
    """Copy the file under a name that says when, for its owner only; returns that name."""
    kept = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    write_private(kept, path.read_text())
    return kept
