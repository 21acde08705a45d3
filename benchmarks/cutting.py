"""A server whose connections break again and again: the surroundings of ``faults``."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from channel_layers.testing.proxy import Proxy

__all__ = ["CutConnections"]

PORTS = {
    "redis": 6379,
    "rediss": 6379,
    "nats": 4222,
    "tls": 4222,
    "postgres": 5432,
    "postgresql": 5432,
}


class CutConnections:
    """Stands before a server and, between :meth:`start` and :meth:`stop`, breaks connections.

    All connections are reset at once, every so often; new ones are accepted at any time. It cuts
    from a thread of its own, so that a layer which blocks its event loop is not spared. A context
    manager.

    Args:
        address: URL of the server.
        every: seconds from one cut to the next.

    Raises:
        ValueError: the URL has no host and port, but the path of a socket say.
    """

    def __init__(self, address: str, every: float) -> None:
        url = urlsplit(address)
        port = url.port or PORTS.get(url.scheme)
        if not url.hostname or port is None:
            raise ValueError(
                f"Connections can be cut only to a host and port; an address {url.scheme}:... "
                "without them does not do. Give one with both."
            )
        self._proxy = Proxy(url.hostname, port)
        self._url = url
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._cut, name="cutting", daemon=True)
        self._failure: Exception | None = None
        self.address = ""
        """Where to connect instead: the same URL with another host and port."""
        self.cuts = 0
        """How often all connections were broken."""

    def __enter__(self) -> Self:
        self._proxy.start()
        who, at, _ = self._url.netloc.rpartition("@")
        place = f"{who}{at}127.0.0.1:{self._proxy.port}"
        self.address = self._url._replace(netloc=place).geturl()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._proxy.close()

    @property
    def accepted(self) -> int:
        """How many connections were made."""
        return self._proxy.accepted

    def start(self) -> None:
        """Begin to cut."""
        self._thread.start()

    def stop(self) -> None:
        """Cut no more: what is connected from now on stays so. Waits for a cut under way.

        Raises:
            Exception: what ended the cutting before.
        """
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _cut(self) -> None:
        due = time.monotonic() + self._every
        try:
            while not self._stopped.wait(max(0.0, due - time.monotonic())):
                self._proxy.cut()
                self.cuts += 1
                due = max(due + self._every, time.monotonic())
        except Exception as error:  # noqa: BLE001  # raised by stop()
            self._failure = error
