"""The scenarios, one file each. A new one is one more file and one more line here.

The one that is missing, a connection killed each 100 ms, needs a TCP proxy between layer and
server: ``Case.address`` is where it would be put in.
"""

from __future__ import annotations

from benchmarks.cases import Scenario
from benchmarks.scenarios import burst, fanout, idle, join, latency, senders, throughput

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (fanout, latency, throughput, burst, senders, join, idle)
}
"""By name, in the order of the reports."""
