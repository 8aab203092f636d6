"""Recovery codes: only the guest has one. What is sent on and kept is a hash, from which nobody finds the code."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256

from common.contracts.codes import ALPHABET, as_read, grouped

LENGTH = 28  # 140 bits: nobody guesses one, so that its hash needs no salt
CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


def new_code() -> str:
    return grouped("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))


def code_hash(code: str) -> str | None:
    """The SHA-256 of a code, however it is written; None for what can be no code."""
    read = as_read(code)
    return sha256(read.encode()).hexdigest() if CODE.fullmatch(read) else None


def request_hash(hashed: str, key: str) -> str:
    """By what a repeated request to use this code is recognized. The Idempotency-Key, too, is not kept as it is."""
    return sha256(f"{hashed}\0{key}".encode()).hexdigest()
