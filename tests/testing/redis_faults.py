"""The faults that Redis servers can have, for the laws about faults."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from channel_layers.testing.proxy import Proxy
from channel_layers.testing.redis_servers import RedisCluster, RedisSentinel
from channel_layers.testing.servers import RedisServer


class RedisFaults:
    """All faults of the kit, for a server that is reached through a proxy."""

    forgets = True

    def __init__(self, server: RedisServer, proxy: Proxy, direct: Mapping[str, object]) -> None:
        self._server = server
        self._proxy = proxy
        self.direct = direct

    def cut(self) -> None:
        """See :class:`channel_layers.testing.faults.Cuts`."""
        self._proxy.cut()

    def part(self) -> None:
        """See :class:`channel_layers.testing.faults.Cuts`."""
        self._proxy.part()

    def heal(self) -> None:
        """See :class:`channel_layers.testing.faults.Cuts`."""
        self._proxy.heal()

    def restart(self) -> None:
        """See :class:`channel_layers.testing.faults.Restarts`."""
        self._server.restart()

    def pause(self) -> None:
        """See :class:`channel_layers.testing.faults.Pauses`."""
        self._server.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """See :class:`channel_layers.testing.faults.Pauses`."""
        self._server.signal(signal.SIGCONT)


class ClusterFaults:
    """All nodes of a cluster are killed and started again, empty."""

    forgets = True

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster

    def restart(self) -> None:
        """See :class:`channel_layers.testing.faults.Restarts`."""
        for node in self._cluster.nodes:
            node.kill()
        for node in self._cluster.nodes:
            node.start_again()
        self._cluster.wait_until_well()


class SentinelFaults:
    """The master is killed, and a replica takes over."""

    forgets = False

    def __init__(self, group: RedisSentinel) -> None:
        self._group = group

    def restart(self) -> None:
        """See :class:`channel_layers.testing.faults.Restarts`."""
        self._group.kill_master()
