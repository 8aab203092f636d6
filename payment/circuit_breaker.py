"""A circuit breaker in front of Stripe: while Stripe is unavailable, or refuses the key, calls fail at once."""

from __future__ import annotations

import time

from common.runtime.health import Gate

# Stripe counts as unavailable after this many calls in a row without any answer.
SILENT_MAX = 20
# Then one call in this many seconds, a probe, checks whether Stripe is back. Fewer while Stripe refuses the key,
# since only an operator can change that.
SILENT_PROBE_S = 1.0
UNAUTHORIZED_PROBE_S = 5.0


class CircuitBreaker:
    """Counts calls in a row without an answer. `gate` is closed while Stripe refuses the key."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._silent = 0
        # By this process' monotonic clock; used while the breaker is open.
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
        """A call has ended; the time to the next probe starts now. `answered`: whether Stripe has answered, with
        success or an error; None if the call was cancelled."""
        if answered is not None:
            self._silent = 0 if answered else self._silent + 1
        self._next_probe = time.monotonic() + self._probe_s
