"""Every error of the client is a HoldfastError."""

from __future__ import annotations

from holdfast_client.types import Problem

# Statuses that say nothing of an earlier attempt whose answer was lost.
_UNDECIDED_STATUSES = frozenset({401, 408, 429})


class HoldfastError(Exception):
    """`code`: the problem's stable code, as `sold_out`. The client's own: `unreachable` (no answer came), `queued`
    (it is still not known whether there are seats), `http_502` and the like (an answer that is no problem
    document), `closed` (the client was closed), `refused` (the gateway closed the socket because of what was sent).

    `status`: the HTTP status; 0 where there was no answer. `problem`: the whole problem document, if there was one.
    `retry_after_s`: in seconds, where the gateway said so. `retryable`: the same can succeed later.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 0,
        problem: Problem | None = None,
        retry_after_s: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s
        self.retryable = retryable

    @property
    def final(self) -> bool:
        """Whether the request certainly has no other outcome, so that its key is not needed again."""
        return 400 <= self.status < 500 and self.status not in _UNDECIDED_STATUSES


def unauthorized() -> HoldfastError:
    return HoldfastError("unauthorized", "There is no valid token", status=401)
