"""What operators may do: the scopes of their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Self


class Scope(StrEnum):
    """One thing that a token allows beyond its subject's own bookings; `meaning` says it to people."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        scope = str.__new__(cls, name)
        scope._value_, scope.meaning = name, meaning
        return scope

    READ = "holdfast:read", "read all that operators see"
    BOX_OFFICE = (
        "holdfast:box-office",
        "read, sell without Stripe, cancel bookings, and set whom they are for",
    )
    FINANCE = "holdfast:finance", "read, refund, and retry refunds"
    ADMIN = "holdfast:admin", "do everything, also with events and tokens"


# What ADMIN was named when it was the only scope. It stays valid.
OPERATOR = "holdfast:operator"
_ALL = frozenset(Scope)
# By the name in a token: what it allows, itself and the scopes that it includes.
_INCLUDED: Mapping[str, frozenset[Scope]] = MappingProxyType(
    {
        Scope.READ: frozenset({Scope.READ}),
        Scope.BOX_OFFICE: frozenset({Scope.READ, Scope.BOX_OFFICE}),
        Scope.FINANCE: frozenset({Scope.READ, Scope.FINANCE}),
        Scope.ADMIN: _ALL,
        OPERATOR: _ALL,
    }
)


def allowed_by(names: Iterable[str]) -> frozenset[Scope]:
    """What a token with these names in its `scope` allows; names that are not ours allow nothing."""
    return frozenset().union(*(_INCLUDED.get(name, ()) for name in names))
