from __future__ import annotations

from dataclasses import dataclass

from channel_layers.redis.locating import Locator


@dataclass
class PartitionPlan:
    index: int
    tag: str
    locator: object


def plans(hosts, prefix, **k):
    hosts = hosts or ["redis://localhost:6379"]
    return [PartitionPlan(i, prefix, Locator(h)) for i, h in enumerate(hosts)]


HostForm = object
