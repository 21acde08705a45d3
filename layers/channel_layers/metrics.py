"""The figures of channel layers for Prometheus (extra ``metrics``).

::

    from channel_layers.metrics import LayerCollector

    LayerCollector().register()   # once per process, in an AppConfig.ready() say

Every process shows its own figures: scrape each worker, or let ``prometheus_client`` push them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from channels.layers import BaseChannelLayer, channel_layers

from channel_layers.base import ChannelLayer

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        'channel_layers.metrics needs prometheus_client: pip install "channel-layers[metrics]"'
    ) from error

__all__ = ["LayerCollector"]

_GAUGES = {
    "channels": "Channels with a mailbox in this process.",
    "groups": "Groups with members in this process.",
    "members": "Memberships of channels of this process.",
    "waiting": "Messages in mailboxes of this process, not read yet.",
}


class LayerCollector(Collector):
    """Asks layers for ``stats()`` at every scrape; no I/O.

    Args:
        layers: by the name that the label ``layer`` shall have; by default the layers of
            ``CHANNEL_LAYERS`` that this process has made and that keep figures.
    """

    def __init__(self, layers: Mapping[str, BaseChannelLayer] | None = None) -> None:
        self._layers = layers

    def register(self, registry: CollectorRegistry = REGISTRY) -> LayerCollector:
        """Have a registry ask this collector.

        Raises:
            ValueError: the registry has such a collector already.
        """
        registry.register(self)
        return self

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples, by which a registry notices duplicates."""
        return [GaugeMetricFamily("channel_layer_connected", "Whether the broker is reached.")]

    def collect(self) -> Iterator[Metric]:
        """The metrics of all layers, as they are now."""
        layers = channel_layers.backends if self._layers is None else self._layers
        stats = {
            name: layer.stats() for name, layer in layers.items() if isinstance(layer, ChannelLayer)
        }
        info = InfoMetricFamily("channel_layer", "What the layer is.", labels=["layer"])
        connected = GaugeMetricFamily(
            "channel_layer_connected", "Whether the broker is reached.", labels=["layer"]
        )
        dropped = CounterMetricFamily(
            "channel_layer_dropped", "Messages not delivered.", labels=["layer", "reason"]
        )
        counters: dict[str, CounterMetricFamily] = {}
        for name, figures in stats.items():
            about = {key: str(figures[key]) for key in ("version", "mode")}
            info.add_metric([name], {**about, "class": figures["layer"]})
            connected.add_metric([name], float(figures["connected"]))
            for reason, count in figures["dropped"].items():
                dropped.add_metric([name, reason], count)
            for counted, count in figures["counters"].items():
                if counted not in counters:
                    counters[counted] = CounterMetricFamily(
                        f"channel_layer_{counted}", f"Total of {counted}.", labels=["layer"]
                    )
                counters[counted].add_metric([name], count)
        yield from (info, connected, dropped, *counters.values())
        for key, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"channel_layer_{key}", text, labels=["layer"])
            for name, figures in stats.items():
                gauge.add_metric([name], figures[key])  # type: ignore[literal-required]
            yield gauge
