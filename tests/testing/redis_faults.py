"""The faults that a Redis server can have, for the laws about faults."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from channel_layers.testing.proxy import Proxy
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
