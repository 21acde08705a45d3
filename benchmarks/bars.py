"""What our layers must reach: the table to change when the goals change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BARS", "Bar", "judge"]


@dataclass(frozen=True)
class Bar:
    """A limit for one figure of one of our rows.

    Attributes:
        rows: names of our rows.
        limit: the value, or for ``of`` the factor.
        at_most: whether it is an upper limit.
        of: the figure of these other rows, the best of which times ``limit`` is the bar.
    """

    scenario: str
    figure: str
    rows: tuple[str, ...]
    limit: float
    at_most: bool
    of: tuple[str, ...] = ()


ALL = ("memory", "ipc", "redis", "nats", "nats-core", "postgres")
FAULTLESS = ("redis", "nats", "postgres")
REDIS_PEERS = ("channels-redis-core", "channels-redis-pubsub")

BARS: tuple[Bar, ...] = (
    Bar("fanout", "delivery", ("memory",), 2.5, at_most=True),
    Bar("fanout", "ratio", ("memory",), 2, at_most=True),
    Bar("fanout", "delivery", ("ipc", "redis", "nats", "nats-core", "postgres"), 3.5, at_most=True),
    Bar("latency", "p50", ("redis",), 0.13, at_most=True),
    Bar("latency", "p50", ("nats",), 0.16, at_most=True),
    Bar("latency", "p50", ("nats-core",), 0.10, at_most=True),
    Bar("latency", "p50", ("postgres",), 0.20, at_most=True),
    Bar("latency", "p50", ("ipc",), 0.08, at_most=True),
    Bar("throughput", "rate", ("redis",), 40_000, at_most=False),
    Bar("throughput", "rate", ("nats",), 45_000, at_most=False),
    Bar("throughput", "rate", ("nats-core", "ipc"), 60_000, at_most=False),
    Bar("throughput", "rate", ("postgres",), 25_000, at_most=False),
    Bar("burst", "rate", ("redis", "ipc"), 1, at_most=False, of=REDIS_PEERS),
    Bar("burst", "rate", ("nats", "nats-core"), 1.5, at_most=False, of=("channels-nats",)),
    Bar("burst", "rate", ("postgres",), 300_000, at_most=False),
    Bar("senders", "rate", ALL, 10_000, at_most=False),
    Bar("join", "one_by_one", ALL, 8_000, at_most=False),
    Bar("join", "gathered", ALL, 30_000, at_most=False),
    Bar("join", "further", ALL, 200_000, at_most=False),
    Bar("idle", "allocated", ALL, 2048, at_most=True),
    Bar("faults", "lost", FAULTLESS, 0, at_most=True),
    Bar("faults", "twice", FAULTLESS, 0, at_most=True),
    Bar("faults", "disordered", FAULTLESS, 0, at_most=True),
)


@dataclass(frozen=True)
class Verdict:
    """A bar beside what was measured."""

    limit: float
    at_most: bool
    reached: bool


def judge(scenario: str, figure: str, row: str, values: Mapping[str, float]) -> Verdict | None:
    """Whether a row reached its bar.

    Args:
        scenario: name.
        figure: name.
        row: name of the row to judge.
        values: this figure of every row that has it, by name of the row: the median, or the
            worst where every run must reach the bar.

    Returns:
        None if there is no bar, or nothing to compare.
    """
    for bar in BARS:
        if (bar.scenario, bar.figure) != (scenario, figure) or row not in bar.rows:
            continue
        others = [values[name] for name in bar.of if name in values]
        if row not in values or (bar.of and not others):
            return None
        limit = bar.limit * max(others) if others else bar.limit
        value = values[row]
        return Verdict(limit, bar.at_most, value <= limit if bar.at_most else value >= limit)
    return None
