"""Object ids in Stripe's format: a prefix, then 24 letters and digits."""

import secrets
import time


def new_id(prefix: str) -> str:
    """An id that sorts by the time when it was made, so that the ledger's indexes grow at one end only."""
    return f"{prefix}_{time.time_ns() // 1000:013x}{secrets.token_hex(6)[:11]}"


def new_client_secret(intent_id: str) -> str:
    """The secret that lets a browser confirm this one intent."""
    return f"{intent_id}_secret_{secrets.token_hex(13)[:25]}"
