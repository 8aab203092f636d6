"""The traces that messages and requests belong to: https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import secrets


def new_traceparent() -> str:
    """A new W3C trace (https://www.w3.org/TR/trace-context/), marked as sampled."""
    ids = secrets.token_hex(24)
    return f"00-{ids[:32]}-{ids[32:]}-01"
