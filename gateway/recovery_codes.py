"""Recovery codes: only the guest has one. What is sent on and kept is a hash, from which nobody finds the code."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256

# Without letters that are taken for digits, or for each other: https://www.crockford.com/base32.html
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# 140 bits: nobody guesses one, so that its hash needs no salt. Groups of four are easy to copy.
LENGTH, GROUP = 28, 4
CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")
# What people write for a digit, and between the groups.
_AS_READ = str.maketrans("OIL", "011", "- ")


def new_code() -> str:
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(drawn[begin : begin + GROUP] for begin in range(0, LENGTH, GROUP))


def code_hash(code: str) -> str | None:
    """The SHA-256 of a code, however it is written; None for what can be no code."""
    read = code.upper().translate(_AS_READ)
    return sha256(read.encode()).hexdigest() if CODE.fullmatch(read) else None


def request_hash(hashed: str, key: str) -> str:
    """By what a repeated request to use this code is recognized. The Idempotency-Key, too, is not kept as it is."""
    return sha256(f"{hashed}\0{key}".encode()).hexdigest()
