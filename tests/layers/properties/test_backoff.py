"""Delays between attempts: they double, have a limit, differ, and begin again at nothing."""

from __future__ import annotations

from channel_layers.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff


def ceilings(count: int) -> list[float]:
    found, ceiling = [0.0], FIRST_SECONDS
    while len(found) < count:
        found.append(min(ceiling, LONGEST_SECONDS))
        ceiling *= 2
    return found


def test_each_delay_lies_below_a_ceiling_that_doubles_up_to_a_limit() -> None:
    for _ in range(200):
        backoff = Backoff()
        for ceiling in ceilings(12):
            assert ceiling / 2 <= backoff.next() <= ceiling


def test_the_first_attempt_is_made_at_once_and_again_after_a_success() -> None:
    backoff = Backoff()
    assert backoff.next() == 0
    assert backoff.next() > 0
    backoff.succeeded()
    assert backoff.next() == 0
    assert backoff.next() <= FIRST_SECONDS


def test_many_that_lost_the_same_broker_do_not_come_at_once() -> None:
    def third() -> float:
        backoff = Backoff()
        return [backoff.next() for _ in range(3)][-1]

    delays = {third() for _ in range(100)}
    assert len(delays) > 90
    assert max(delays) > 1.5 * min(delays)
