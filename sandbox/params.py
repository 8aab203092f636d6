"""Stripe's form encoding: `metadata[booking_id]=x`, `expand[0]=latest_charge`, `types[]=charge.refunded`."""

import re
from urllib.parse import parse_qsl

from sandbox.errors import ParameterError

Raw = str | dict[str, "Raw"]
"""A parameter as it was sent: text, or a hash of parameters. An array is a hash whose keys are its indexes."""

FIELDS_MAX = 1000
"""The most parameters in one request: far more than the largest of Stripe's calls has."""

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
PART = re.compile(r"\[([^\[\]]*)\]")


def pairs_of(text: str) -> list[tuple[str, str]]:
    """The names and values of a query string or form body, in their order.

    Raises:
        ParameterError: it is not a form, or has too many parameters.
    """
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise ParameterError(f"Invalid request body: {error}") from error


def nested(pairs: list[tuple[str, str]]) -> dict[str, Raw]:
    """Parameters nested as the brackets in their names say.

    Raises:
        ParameterError: a name is malformed, or is a value in one place and a hash in another.
    """
    root: dict[str, Raw] = {}
    for name, value in pairs:
        if "[" not in name:
            path = [name]
        elif (match := NAME.fullmatch(name)) is None:
            raise ParameterError(f"Invalid parameter name: {name}", name)
        else:
            path = [match[1], *PART.findall(match[2])]
        _place(root, path, value, name)
    return root


def _place(root: dict[str, Raw], path: list[str], value: str, name: str) -> None:
    hash_ = root
    for part in path[:-1]:
        inner = hash_.setdefault(part or str(len(hash_)), {})
        if isinstance(inner, str):
            raise ParameterError(f"Invalid hash: {name} is given both as a value and as a hash", path[0])
        hash_ = inner
    last = path[-1] or str(len(hash_))
    if isinstance(hash_.get(last), dict):
        raise ParameterError(f"Invalid hash: {name} is given both as a value and as a hash", path[0])
    hash_[last] = value
