"""Tokens for the local stack: what an identity provider would issue."""

from __future__ import annotations

import time
from collections.abc import Mapping

import jwt

from common.contracts.ids import uuid7

OPERATOR_SCOPE = "holdfast:operator"


def signing_secret(settings: Mapping[str, str]) -> str | None:
    """The first of AUTH_JWT_SECRETS, or of its former name, which is read for one release; None where neither is
    set."""
    secrets = settings.get("AUTH_JWT_SECRETS") or settings.get("AUTH_JWT_SECRET") or ""
    return secrets.split(",")[0].strip() or None


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
        "jti": str(uuid7()),
    }
    if operator:
        claims["scope"] = OPERATOR_SCOPE
    return jwt.encode(claims, secret, algorithm="HS256")
