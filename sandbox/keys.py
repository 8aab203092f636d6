"""API keys: whether a caller has the secret key, or only the publishable key, as a browser has.

https://docs.stripe.com/keys
"""

import base64
import binascii
import hmac
from collections.abc import Mapping

from sandbox.errors import RefusedError

KEY_MISSING = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer "
    "auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for "
    "details, or we can help at https://support.stripe.com/."
)
NOT_IN_BROWSERS = (
    "This API call cannot be made with a publishable API key. Please use a secret API key. You can find a list of "
    "your API keys at https://dashboard.stripe.com/account/apikeys."
)
CHALLENGE = {"WWW-Authenticate": 'Basic realm="Stripe"'}

SHOWN = 4
"""How many last characters of a wrong key the error shows."""


class Keys:
    """The keys that are accepted: of each kind one, or, if it is empty, every test key of that kind."""

    def __init__(self, secret: str, publishable: str) -> None:
        self._secret = secret
        self._publishable = publishable

    def is_publishable(self, authorization: str | None, form: Mapping[str, str]) -> bool:
        """Whether the caller has only the publishable key. Stripe.js sends it as the parameter `key`.

        Raises:
            RefusedError: 401, the key is missing or wrong.
        """
        key = _read(authorization) if authorization is not None else form.get("key")
        if not key:
            raise RefusedError(401, KEY_MISSING, headers=CHALLENGE)
        if key.startswith(("sk_test_", "rk_test_")) and _fits(key, self._secret):
            return False
        if key.startswith("pk_test_") and _fits(key, self._publishable):
            return True
        message = f"Invalid API Key provided: {_masked(key)}"
        raise RefusedError(401, message, headers=CHALLENGE)


def secret_needed() -> RefusedError:
    """403: this needs the secret key."""
    return RefusedError(403, NOT_IN_BROWSERS, code="secret_key_required")


def _read(authorization: str) -> str | None:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _fits(key: str, accepted: str) -> bool:
    return not accepted or hmac.compare_digest(key.encode(), accepted.encode())


def _masked(key: str) -> str:
    kind = "_".join(key.split("_")[:2]) + "_" if key.count("_") >= 2 else ""
    rest = key[len(kind) :]
    return f"{kind}{'*' * max(len(rest) - SHOWN, 0)}{rest[-SHOWN:]}"
