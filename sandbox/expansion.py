"""`expand[]`: ids in an answer are replaced by their objects.

https://docs.stripe.com/api/expanding_objects
"""

from typing import Any

from sandbox import objects
from sandbox.errors import ParameterError
from sandbox.objects import Object
from sandbox.work import Work

DEPTH_MAX = 4

EXPANDABLE: dict[str, dict[str, str | None]] = {
    "payment_intent": {
        "application": None,
        "customer": None,
        "latest_charge": "charge",
        "on_behalf_of": None,
        "payment_method": "payment_method",
        "review": None,
    },
    "charge": {
        "application": None,
        "application_fee": None,
        "balance_transaction": "balance_transaction",
        "customer": None,
        "failure_balance_transaction": "balance_transaction",
        "on_behalf_of": None,
        "payment_intent": "payment_intent",
        "refunds": "refunds",
        "review": None,
    },
    "refund": {
        "balance_transaction": "balance_transaction",
        "charge": "charge",
        "failure_balance_transaction": "balance_transaction",
        "payment_intent": "payment_intent",
        "payment_method": "payment_method",
    },
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
    "balance_transaction": {"source": "source"},
    "payment_method": {"customer": None},
    "refunds": {"data": "refund"},
}
"""For each kind the fields that can be expanded, and the kind of their objects; None if a field is always null."""

SOURCES = {"ch": "charge", "py": "charge", "re": "refund", "pyr": "refund", "dp": "dispute"}
"""The kind of a balance transaction's source, by the prefix of the source's id."""

REFUNDS_MAX = 10


def check(paths: list[str], kind: str, *, listed: bool) -> None:
    """Refuse, before the work, paths that cannot be expanded.

    Raises:
        ParameterError: a path has a field that cannot be expanded, or too many levels.
    """
    for path in paths:
        parts = path.split(".")
        if len(parts) - listed > DEPTH_MAX:
            message = f"You cannot expand more than {DEPTH_MAX} levels of a property. (Property: {path})"
            raise ParameterError(message, "expand")
        if listed and parts.pop(0) != "data":
            message = (
                f"This property cannot be expanded ({path}). You may want to try expanding 'data.{path}' instead."
            )
            raise ParameterError(message, "expand")
        known: str | None = kind
        for part in parts:
            fields = EXPANDABLE.get(known or "", {})
            if known != "source" and part not in fields:
                raise ParameterError(f"This property cannot be expanded ({path}).", "expand")
            known = fields.get(part)


def expand(work: Work, body: Object, paths: list[str], *, listed: bool) -> None:
    """Put the objects into the answer; the ledger is not changed."""
    for path in paths:
        parts = path.split(".")
        for obj in body["data"] if listed else [body]:
            _follow(work, obj, parts[1:] if listed else parts)


def _follow(work: Work, obj: Object, parts: list[str]) -> None:
    if not parts:
        return
    name, *rest = parts
    if obj["object"] == "list":
        for element in obj["data"]:
            _follow(work, element, rest)
        return
    kind = EXPANDABLE.get(obj["object"], {}).get(name)
    if kind == "refunds":
        obj.setdefault(name, _refunds(work, obj))
    value: Any = obj.get(name)
    if isinstance(value, str) and kind is not None:
        kind = SOURCES[value.partition("_")[0]] if kind == "source" else kind
        value = obj[name] = work.get(kind, value)
    if isinstance(value, dict):
        _follow(work, value, rest)


def _refunds(work: Work, charge: Object) -> Object:
    found = work.ledger.of_charge("refund", charge["id"])
    url = f"/v1/charges/{charge['id']}/refunds"
    return objects.page(found[:REFUNDS_MAX], url, len(found) > REFUNDS_MAX)
