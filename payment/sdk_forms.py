"""The forms that Stripe's SDK sends, with each text quoted once.

The SDK quotes every name and value of every request anew: for a new intent some sixty, of which all but a few are
the same each time (the names, the methods offered, the currency). It was a third of what the SDK costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

import stripe._api_requestor

# More than there are names and values that repeat; ids, of which each comes once or twice, pass through.
TEXTS_MAX = 2048

_quoted = lru_cache(maxsize=TEXTS_MAX)(quote_plus)
_SDK: Any = stripe._api_requestor


def quote_each_text_once() -> None:
    """Once or more often, for the whole process."""
    _SDK.urlencode = form


def form(pairs: Iterable[tuple[str, Any]]) -> str:
    """What `urllib.parse.urlencode` makes of the same pairs."""
    return "&".join([f"{_quoted(name)}={_quoted(str(value))}" for name, value in pairs])
