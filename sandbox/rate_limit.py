"""Stripe's limit on requests a second: https://docs.stripe.com/rate-limits."""

import time

from sandbox.faults import rate_limited


class RateLimit:
    """A token bucket that holds the requests of one second; 0 a second is no limit."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(per_second, 1.0)
        self._left = self._most
        self._filled = time.monotonic()

    def take(self) -> None:
        """Count a request.

        Raises:
            RefusedError: 429, there were too many.
        """
        if not self._per_second:
            return
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._filled) * self._per_second)
        self._filled = now
        if self._left < 1:
            raise rate_limited()
        self._left -= 1
