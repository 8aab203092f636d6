"""A circuit breaker in front of Stripe: while Stripe is away, or refuses the key, nobody waits for it in vain."""

from __future__ import annotations

import time

from common.runtime.health import Gate

# Calls in a row without any answer, after which Stripe is away.
SILENT_MAX = 20
# Then one call in so many seconds is let through to find out whether it is back; where it refuses the key, fewer.
SILENT_PROBE_S = 1.0
UNAUTHORIZED_PROBE_S = 5.0


class CircuitBreaker:
    """Counts calls in a row that were not answered. `gate` is closed while Stripe refuses the key."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._silent = 0
        # By this process' monotonic clock, while it is open.
        self._next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """Only probes are let through."""
        return self._probe_s > 0

    @property
    def _probe_s(self) -> float:
        if not self._gate.opened.is_set():
            return UNAUTHORIZED_PROBE_S
        return SILENT_PROBE_S if self._silent >= SILENT_MAX else 0.0

    def admits(self) -> bool:
        """Whether a call may be made now."""
        now = time.monotonic()
        if self.is_open and now < self._next_probe:
            return False
        self._next_probe = now + self._probe_s
        return True

    def ended(self, answered: bool | None) -> None:
        """A call has ended, and the next probe counts from now. `answered`: Stripe has said something, good or bad;
        None where nobody waited for that any more."""
        if answered is not None:
            self._silent = 0 if answered else self._silent + 1
        self._next_probe = time.monotonic() + self._probe_s
