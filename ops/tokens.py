"""Tokens for the local stack: what an identity provider would issue."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import jwt

from common.contracts.ids import uuid7


def signing_secret(settings: Mapping[str, str]) -> str | None:
    """The first of AUTH_JWT_SECRETS, or of its former name, which is read for one release; None where neither is
    set."""
    secrets = settings.get("AUTH_JWT_SECRETS") or settings.get("AUTH_JWT_SECRET") or ""
    return secrets.split(",")[0].strip() or None


def make_token(
    secret: str, settings: Mapping[str, str], subject: str, *, scopes: Collection[str] = (), seconds: int = 86_400
) -> str:
    """An HS256 token that a gateway with the same AUTH_ISSUER and AUTH_AUDIENCE accepts for `seconds`."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": settings.get("AUTH_ISSUER") or "holdfast",
        "aud": settings.get("AUTH_AUDIENCE") or "holdfast",
        "sub": subject,
        "jti": str(uuid7()),
        "iat": now,
        "exp": now + seconds,
    }
    if scopes:
        claims["scope"] = " ".join(scopes)
    return jwt.encode(claims, secret, algorithm="HS256")
