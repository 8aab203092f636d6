"""Rate limits of clients. Each gateway decides in memory; once a second all share through Redis what they have let
through, and each takes the others' requests out of its own buckets, too."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from heapq import nlargest
from random import uniform
from typing import NamedTuple

# Clients that one limit counts; beyond it the one longest without a request is forgotten.
BUCKETS_MAX = 100_000  # of about 250 bytes each
# A bucket holds what the rate allows in this many seconds: so much a client may send at once, as a page that opens.
BURST_SECONDS = 2.0
# Retry-After is as long as the queue of those who were refused before, but for this many seconds of it at most, as
# one of them may have been refused very often.
QUEUE_SECONDS = 30.0
# What a refusal must wait in the queue beyond this, it waits before it is sent, up to PAUSE_MAX_S: a client that
# does not wait for Retry-After would otherwise have a gateway refuse requests as fast as it can.
UNPAUSED_S = 1.0
PAUSE_MAX_S = 5.0  # shorter than clients wait for an answer
# The least part of its pause that a refusal waits.
PAUSE_LEAST = 0.5
# A client floods whose queue is longer and has at least so many refusals: no office of honest people does.
FLOOD_SECONDS, FLOOD_REFUSALS = 5.0, 50
# The part of a limit, its rate and its burst, that all gateways together may let through without sharing it. The
# counts of clients below one gateway's part of it stay there: nearly all are.
UNSHARED_PART = 0.2
# A gateway shares what a client may have sent in this many seconds at most: what was let through in an outage of
# Redis is not counted afterwards.
SHARED_SECONDS = 2.0
# Clients of one limit whose counts a gateway shares at a time, those with the most requests first: 100 KB at most.
SHARED_MAX = 1000
# Forgotten at a time: buckets that are full again.
FORGOTTEN_MAX = 1000


class Refusal(NamedTuple):
    """`retry_after` in whole seconds, counted from when the refusal is sent: after `pause_s` seconds."""

    retry_after: int
    pause_s: float


class Bucket:
    """One client's tokens, by the generic cell rate algorithm: what is kept is when the bucket is full again.

    `queued_until`: when the last of those that were refused may come again. `count`: requests that were not shared
    with other gateways; `unshared_until`: when they need not be any more. Times are of the limit's clock.
    """

    __slots__ = ("count", "full_at", "queued_until", "unshared_until")

    def __init__(self, now: float) -> None:
        self.full_at = now
        self.queued_until = 0.0
        self.count = 0
        self.unshared_until = now


class RateLimit:
    """One limit: the same rate for each of its clients, by whatever tells them apart."""

    def __init__(
        self,
        per_second: float,
        burst: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        most: int = BUCKETS_MAX,
    ) -> None:
        """`per_second` 0: no limit. `burst`: how many tokens a bucket holds; None: what the rate allows in
        BURST_SECONDS, and one at least."""
        self.limits = per_second > 0
        self._rate = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS if burst is None else burst)
        self._token_s = 1 / per_second if self.limits else 0.0
        # Times are sums of many tokens' times: a millionth of a token more is none.
        self._burst_s = (self._burst + 1e-6) * self._token_s
        self._flood_s = max(FLOOD_SECONDS, FLOOD_REFUSALS * self._token_s)
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        # Clients that have sent more than may remain unshared.
        self._busy: dict[str, Bucket] = {}
        self.divide_unshared(1)

    def divide_unshared(self, gateways: int) -> None:
        """So many gateways divide among them what may remain unshared."""
        self._unshared_s = self._token_s * gateways / UNSHARED_PART

    def take(self, client: str) -> Refusal | None:
        """Take a token of `client`; returns why not when there is none."""
        if not self.limits:
            return None
        now = self._clock()
        bucket = self._bucket(client, now)
        if self._is_empty(bucket, now):
            return self._refused(bucket, now)
        self._take(client, bucket, now)
        return None

    def check(self, client: str) -> Refusal | None:
        """Like `take`, and takes nothing: `spend` does so once it is known that a token is due."""
        if not self.limits:
            return None
        now = self._clock()
        bucket = self._buckets.get(client)
        return self._refused(bucket, now) if bucket is not None and self._is_empty(bucket, now) else None

    def spend(self, client: str) -> None:
        """Take a token of `client`, if there is one: of many requests at once that found a token each, those that
        come last find none, and there is no debt."""
        if not self.limits:
            return
        now = self._clock()
        bucket = self._bucket(client, now)
        if not self._is_empty(bucket, now):
            self._take(client, bucket, now)

    def _is_empty(self, bucket: Bucket, now: float) -> bool:
        return max(bucket.full_at, now) + self._token_s - now > self._burst_s

    def _take(self, client: str, bucket: Bucket, now: float) -> None:
        bucket.full_at = max(bucket.full_at, now) + self._token_s
        if bucket.unshared_until <= now:
            bucket.unshared_until, bucket.count = now, 0
        bucket.unshared_until += self._unshared_s
        bucket.count += 1
        if bucket.unshared_until - now > self._burst_s:
            self._busy[client] = bucket

    def _bucket(self, client: str, now: float) -> Bucket:
        bucket = self._buckets.get(client)
        if bucket is not None:
            self._buckets.move_to_end(client)
            return bucket
        bucket = self._buckets[client] = Bucket(now)
        if len(self._buckets) > self._most:
            self._busy.pop(self._buckets.popitem(last=False)[0], None)
        return bucket

    def _refused(self, bucket: Bucket, now: float) -> Refusal:
        """A refusal takes no token: who comes when it was told to is let in, unless others come before."""
        next_token = bucket.full_at + self._token_s - self._burst_s
        due = max(bucket.queued_until, next_token)
        bucket.queued_until = min(due + self._token_s, next_token + QUEUE_SECONDS)
        # A crowd that was refused at once is not answered at once, which would keep all others waiting.
        pause_s = min(max(0.0, due - next_token - UNPAUSED_S), PAUSE_MAX_S) * uniform(PAUSE_LEAST, 1)
        return Refusal(max(1, math.ceil(due - now - pause_s)), pause_s)

    def floods(self, client: str) -> bool:
        """Whether so many requests of `client` were refused that it is no use to receive more."""
        bucket = self._buckets.get(client)
        return bucket is not None and bucket.queued_until - self._clock() > self._flood_s

    # --- what gateways share ------------------------------------------------------------------------------

    def to_share(self) -> dict[str, int]:
        """By client, the requests let through since they were shared last, where they are more than may remain
        unshared: from now on they count as shared."""
        now = self._clock()
        busy, self._busy = self._busy, {}
        sharing = [(client, each) for client, each in busy.items() if each.unshared_until - now > self._burst_s]
        if len(sharing) > SHARED_MAX:
            sharing = nlargest(SHARED_MAX, sharing, key=lambda item: item[1].count)
        most = math.ceil(self._burst + self._rate * SHARED_SECONDS)
        found = {client: min(bucket.count, most) for client, bucket in sharing}
        for _, bucket in sharing:
            bucket.unshared_until, bucket.count = now, 0
        self._forget(now)
        return found

    def count_others(self, counts: Mapping[str, int]) -> None:
        """Take the tokens of requests that another gateway let through, also tokens that are not there yet."""
        if not self.limits:
            return
        now = self._clock()
        for client, count in counts.items():
            bucket = self._bucket(client, now)
            bucket.full_at = max(bucket.full_at, now) + count * self._token_s

    def _forget(self, now: float) -> None:
        """Forget clients of whom there is nothing left to know, those longest without a request first."""
        for _ in range(FORGOTTEN_MAX):
            client, bucket = next(iter(self._buckets.items()), ("", None))
            if bucket is None or max(bucket.full_at, bucket.queued_until, bucket.unshared_until) > now:
                return
            del self._buckets[client]
