"""A server of the demo's own, where the layer's URL names none: ``redis://`` and the like."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from channel_layers.testing.servers import RedisServer, Server

OWN_SERVERS: Final[dict[str, type[Server]]] = {
    "redis": RedisServer,
}
"""What to start for a URL of this scheme without a host; schemes that need no server are absent."""


@contextmanager
def with_server(url: str) -> Iterator[str]:
    """The URL to use while this lasts: with the address of a new server if ``url`` has none.

    The server keeps its data in a temporary directory and ends with the block.

    Raises:
        ServerError: there is none to start, or it did not start.
    """
    parts = urlsplit(url)
    kind = OWN_SERVERS.get(parts.scheme)
    if kind is None or parts.netloc:
        yield url
        return
    server = kind()
    with _deaf_to_interrupts():
        server.__enter__()
    try:
        _, mark, options = url.partition("?")
        yield f"{server.address}{mark}{options}"
    finally:
        server.__exit__()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal: one started in here does not hear it.

    It would be gone before the site's processes have taken leave of it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
