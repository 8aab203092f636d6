"""The pauses before a retry."""

from __future__ import annotations

from datetime import timedelta

from common.runtime.backoff import Backoff, Retry

FIRST, MOST = timedelta(seconds=2), timedelta(seconds=20)


def test_a_pause_doubles_with_each_attempt_up_to_the_limit() -> None:
    retry = Retry(FIRST, MOST)
    assert [retry.pause(attempts) for attempts in (0, 1, 2, 1000)] == [FIRST, 2 * FIRST, 4 * FIRST, MOST]


def test_jitter_draws_a_pause_from_its_upper_half() -> None:
    assert Retry(FIRST, MOST).pause(1, 0.0) == FIRST
    assert Retry(FIRST, MOST).pause(1, 0.5) == 1.5 * FIRST


def test_pauses_grow_to_their_limit_and_start_over() -> None:
    backoff = Backoff(first=1.0, most=5.0)
    for about in (1, 2, 4, 5, 5):
        assert about / 2 <= backoff.next() <= about
    backoff.reset()
    assert 0.5 <= backoff.next() <= 1


def test_pauses_differ_so_that_clients_do_not_retry_at_once() -> None:
    assert len({Backoff().next() for _ in range(20)}) > 10
