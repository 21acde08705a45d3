"""A worker's queue: one plain channel, 50 messages in flight, each of another sender."""

from __future__ import annotations

import secrets

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Result, Scenario
from benchmarks.flight import SENDERS, rate_in_flight
from benchmarks.layers import Row

__all__ = ["SCENARIO"]


async def plain(bench: Bench) -> Result:
    """As ``throughput``, to a channel that any process may read."""
    receiving, sending = bench.open(), bench.open()
    # A plain channel outlives its readers: a server that is not ours may have an older one.
    return await rate_in_flight(bench, receiving, sending, f"bench.plain.{secrets.token_hex(4)}")


def _not_applicable(row: Row) -> str | None:
    return None if row.queues else "the readers of its plain channels do not share the messages"


SCENARIO = Scenario(
    name="plain",
    title=f"one plain channel (a worker's queue), {SENDERS} messages in flight",
    figures=(Figure("rate", "messages", "/s", lower_is_better=False),),
    run=plain,
    not_applicable=_not_applicable,
)
