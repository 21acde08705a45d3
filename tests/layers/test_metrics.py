"""The Prometheus collector over ``layer.stats()``."""

from __future__ import annotations

import subprocess
import sys

import pytest
from channels.layers import InMemoryChannelLayer as PlainInMemoryChannelLayer
from channels.layers import channel_layers
from prometheus_client import CollectorRegistry, generate_latest

from channel_layers.memory import InMemoryChannelLayer
from channel_layers.metrics import LayerCollector


async def test_figures_of_several_layers() -> None:
    one, two = InMemoryChannelLayer(capacity=2), InMemoryChannelLayer()
    channel = await one.new_channel()
    await one.group_add("room", channel)
    for _ in range(5):
        await one.group_send("room", {"type": "x"})
    await two.send("jobs", {"type": "x"})
    registry = CollectorRegistry()
    LayerCollector({"one": one, "two": two, "other": PlainInMemoryChannelLayer()}).register(
        registry
    )

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"channel_layer_{name}", labels)

    assert value("connected", layer="one") == 1
    assert value("group_sent_total", layer="one") == 5
    assert value("dropped_total", layer="one", reason="capacity") == 3
    assert value("waiting", layer="one") == 2
    assert value("members", layer="one") == 1
    assert value("groups", layer="two") == 0
    assert value("sent_total", layer="two") == 1
    assert value("connected", layer="other") is None
    text = generate_latest(registry).decode()
    assert 'class="channel_layers.memory.InMemoryChannelLayer"' in text
    await one.close()
    assert value("connected", layer="one") == 0


async def test_by_default_the_layers_that_the_process_has_made() -> None:
    registry = CollectorRegistry()
    LayerCollector().register(registry)
    channel_layers.set("measured", InMemoryChannelLayer())
    try:
        assert registry.get_sample_value("channel_layer_connected", {"layer": "measured"}) == 1
    finally:
        channel_layers.backends.pop("measured")
    assert registry.get_sample_value("channel_layer_connected", {"layer": "measured"}) is None


def test_a_second_collector_in_one_registry_is_refused() -> None:
    registry = CollectorRegistry()
    LayerCollector({}).register(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        LayerCollector({}).register(registry)


def test_without_prometheus_it_says_what_to_install() -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; sys.modules['prometheus_client'] = None\n"
        "import channel_layers.metrics"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert 'pip install "channel-layers[metrics]"' in done.stderr
