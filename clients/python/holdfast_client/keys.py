"""Idempotency keys of requests whose outcome is not known. Until it is, a request with the same content has the
same key: after a lost answer, or when the process was started again, it is the same booking."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from holdfast_client.platform import Platform, Storage, parsed

# For how long the key of a request whose outcome is not known is used again: longer than a hold.
KEY_S = 24 * 3600


class Keys:
    """The keys of one client. Names in the storage are hashes, so that no personal data stands in them."""

    def __init__(self, storage: Storage, platform: Platform, prefix: str) -> None:
        self._storage = storage
        self._platform = platform
        self._prefix = prefix

    def take(self, *content: Any) -> str:
        """The key of a request with this content."""
        name, now = self._name(content), self._platform.now()
        kept = parsed(self._storage.get(name))
        if isinstance(kept, dict) and now - kept.get("made_at", 0) < KEY_S:
            return str(kept["key"])
        key = secrets.token_hex(16)
        self._storage.set(name, json.dumps({"key": key, "made_at": now}))
        return key

    def forget(self, key: str, *content: Any) -> None:
        """The outcome of the request with this key is known."""
        name = self._name(content)
        kept = parsed(self._storage.get(name))
        if isinstance(kept, dict) and kept["key"] == key:
            self._storage.remove(name)

    def _name(self, content: tuple[Any, ...]) -> str:
        text = json.dumps(content, default=str, sort_keys=True)
        return f"{self._prefix}{hashlib.sha256(text.encode()).hexdigest()}"
