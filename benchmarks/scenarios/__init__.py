"""The scenarios, one file each. A new one is one more file and one more word here."""

from __future__ import annotations

from benchmarks.cases import Scenario
from benchmarks.scenarios import (
    burst,
    fanout,
    faults,
    idle,
    join,
    latency,
    plain,
    senders,
    throughput,
)

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (fanout, latency, throughput, plain, burst, senders, join, idle, faults)
}
"""By name, in the order of the reports."""
