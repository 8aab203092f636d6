"""The log of Stripe's SDK, without the lines that nobody reads.

The SDK formats a line for each request and another one for each whole answer before it asks the logger whether
anybody wants them: a quarter of what a call costs. Nothing is changed for those who do want them, by `STRIPE_LOG`,
`stripe.log` or the logger's level (https://github.com/stripe/stripe-python#logging).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import stripe._api_requestor
import stripe._util

Write = Callable[..., None]

_MARK = "only_if_read"
_SDK: Any = stripe._util


def write_only_lines_that_are_read() -> None:
    """Once or more often, for the whole process."""
    for name, level in (("log_info", logging.INFO), ("log_debug", logging.DEBUG)):
        write = getattr(stripe._api_requestor, name)
        if not hasattr(write, _MARK):
            setattr(stripe._api_requestor, name, _only_if_read(write, level))


def _only_if_read(write: Write, level: int) -> Write:
    @wraps(write)
    def write_if_read(message: str, **params: Any) -> None:
        if _SDK.logger.isEnabledFor(level) or _SDK._console_log_level() is not None:
            write(message, **params)

    setattr(write_if_read, _MARK, True)
    return write_if_read
