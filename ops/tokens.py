"""Tokens for the local stack: what an identity provider would issue."""

from __future__ import annotations

import time
from collections.abc import Mapping

import jwt

OPERATOR_SCOPE = "holdfast:operator"


def make_token(
    secret: str, settings: Mapping[str, str], subject: str, *, operator: bool = False, seconds: int = 86_400
) -> str:
    """An HS256 token that a gateway with the same AUTH_ISSUER and AUTH_AUDIENCE accepts for `seconds`."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": settings.get("AUTH_ISSUER") or "holdfast",
        "aud": settings.get("AUTH_AUDIENCE") or "holdfast",
        "sub": subject,
        "iat": now,
        "exp": now + seconds,
    }
    if operator:
        claims["scope"] = OPERATOR_SCOPE
    return jwt.encode(claims, secret, algorithm="HS256")
