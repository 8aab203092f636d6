"""Idempotency keys: the first answer is saved, and returned again for the same request.

https://docs.stripe.com/api/idempotent_requests
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import orjson

from sandbox.errors import ParameterError, RefusedError
from sandbox.ledger import Ledger
from sandbox.params import Raw

KEY_MAX = 255
KEPT_SECONDS = 24 * 3600


class Kept(NamedTuple):
    """The first answer for a key, and the id of the request that got it."""

    request_id: str
    status: int
    body: bytes


class Attempt(NamedTuple):
    """A request with a key."""

    key: str
    path: str
    fingerprint: bytes


def attempt(key: str, path: str, raw: dict[str, Raw]) -> Attempt:
    """The request's key, with its path and a hash of its parameters, to detect another request with the same key.

    Raises:
        ParameterError: the key is empty or too long.
    """
    if not 0 < len(key) <= KEY_MAX:
        raise ParameterError(f"Idempotency keys must have 1 to {KEY_MAX} characters.")
    content = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
    return Attempt(key, path, hashlib.blake2b(content, digest_size=16).digest())


class IdempotencyKeys:
    """The keys of the account."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._under_way: set[str] = set()

    @contextmanager
    def under_way(self, made: Attempt | None) -> Iterator[None]:
        """No other request may use the key inside this block.

        Raises:
            RefusedError: 409, another request is using it.
        """
        if made is None:
            yield
            return
        if made.key in self._under_way:
            raise RefusedError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {made.key}. Try again once it is "
                "done.",
                type="idempotency_error",
                code="idempotency_key_in_use",
            )
        self._under_way.add(made.key)
        try:
            yield
        finally:
            self._under_way.discard(made.key)

    def find(self, made: Attempt, now: int) -> Kept | None:
        """The saved answer for the key, or None.

        Raises:
            RefusedError: 400, the key was used for another request.
        """
        row = self._ledger.read(
            "SELECT path, fingerprint, request, status, body FROM idempotency_keys WHERE key = ? AND created > ?",
            (made.key, now - KEPT_SECONDS),
        ).fetchone()
        if row is None:
            return None
        path, fingerprint, request_id, status, body = row
        if path != made.path:
            raise _misused(f"endpoint they were first used for ('{path}')", made.key)
        if fingerprint != made.fingerprint:
            raise _misused("parameters they were first used with", made.key)
        return Kept(request_id, status, body)

    def keep(self, made: Attempt, kept: Kept, now: int) -> None:
        """Save the answer, in the same transaction as the work."""
        self._ledger.write(
            "INSERT OR REPLACE INTO idempotency_keys (key, path, fingerprint, created, request, status, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (made.key, made.path, made.fingerprint, now, kept.request_id, kept.status, kept.body),
        )

    def forget(self, now: int) -> None:
        """Delete keys that are older than KEPT_SECONDS."""
        self._ledger.write("DELETE FROM idempotency_keys WHERE created <= ?", (now - KEPT_SECONDS,))


def _misused(same: str, key: str) -> RefusedError:
    message = (
        f"Keys for idempotent requests can only be used with the same {same}. Try using a key other than '{key}' "
        "if you meant to execute a different request."
    )
    return RefusedError(400, message, type="idempotency_error")
