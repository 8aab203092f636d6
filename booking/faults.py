"""Values that an event cannot have, and the one error that names them all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from common.contracts import errors


class Fault(NamedTuple):
    """A value that an event cannot have: where it is in the request's body, the rule that it breaks (stable, part
    of the API), the rule in words, and the limit that it breaks."""

    field: tuple[str | int, ...]
    rule: str
    text: str
    limit: int | datetime | None = None


def refuse(faults: Sequence[Fault]) -> None:
    """Raises InvalidRequest, which names every fault, if there are any."""
    found = [
        {"loc": ["body", *fault.field], "msg": fault.text, "type": fault.rule, "limit": fault.limit}
        for fault in faults
    ]
    if found:
        raise errors.InvalidRequest("; ".join(fault.text for fault in faults), errors=found)


def text_faults(field: tuple[str | int, ...], value: str, most: int) -> list[Fault]:
    """What is wrong with a text of which the column holds `most` characters."""
    if 0 < len(value) <= most and "\0" not in value:
        return []
    return [Fault(field, "text_invalid", f"{field[-1]} has 1 to {most} characters, and no NUL", most)]
