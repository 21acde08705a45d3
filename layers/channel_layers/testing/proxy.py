"""A TCP proxy that misbehaves on request: between a layer and its broker.

It runs an event loop of its own in a thread, so that its methods can be called from anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Final, Self, TypeVar

__all__ = ["Proxy"]

T = TypeVar("T")

CHUNK: Final = 65536
CALL_SECONDS: Final = 10.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to a server, and breaks, delays or swallows them.

    Args:
        host: of the server.
        port: of the server.

    Use it as a context manager; ``proxy.port`` (on 127.0.0.1) is where clients connect.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._parted = False
        self._delay = 0.0
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0
        """Where it listens."""
        self.accepted = 0
        """How many connections it has taken."""

    # Faults

    def cut(self) -> None:
        """Break all connections at once with a reset; new ones are forwarded."""
        self._call(self._cut())

    def part(self) -> None:
        """Break all connections and reset each new one, until :meth:`heal`."""
        self._call(self._set_parted(parted=True))

    def heal(self) -> None:
        """Forward everything again, at once: ends part, delay and black hole."""
        self._call(self._heal())

    def delay(self, seconds: float) -> None:
        """Hold each piece of data back for so long, both ways."""
        self._delay = seconds

    def black_hole(self) -> None:
        """Accept and hold connections, and carry nothing, as a lost route does.

        What is sent meanwhile is carried on after :meth:`heal`.
        """
        self._call(self._set_flow(flows=False))

    # Lifetime

    def start(self) -> Self:
        """Listen on a free port."""
        self._thread.start()
        self._call(self._listen())
        return self

    def close(self) -> None:
        """Break all connections and stop listening."""
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # On the proxy's loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._flows.set()
        await self._cut()

    async def _set_parted(self, *, parted: bool) -> None:
        self._parted = parted
        await self._cut()

    async def _set_flow(self, *, flows: bool) -> None:
        if flows:
            self._flows.set()
        else:
            self._flows.clear()

    async def _heal(self) -> None:
        self._parted = False
        self._delay = 0.0
        self._flows.set()

    async def _cut(self) -> None:
        links = list(self._links)
        for link in links:
            link.is_cut = True
            link.reset()
            link.task.cancel()
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        link = _Link(task, [writer])
        if self._parted:
            link.reset()
            return
        self._links.add(link)
        try:
            await self._carry(reader, writer, link)
        except asyncio.CancelledError:
            if not link.is_cut:  # else the stream server would report it as an error
                raise

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link
    ) -> None:
        try:
            await self._flows.wait()
            to_reader, to_writer = await asyncio.open_connection(*self._target)
            link.writers.append(to_writer)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, to_writer))
                pumps.create_task(self._pump(to_reader, writer))
        except* (OSError, EOFError):
            pass  # either end is gone: the other one is reset below
        finally:
            self._links.discard(link)
            link.reset()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            with contextlib.suppress(OSError):
                writer.write_eof()


class _Link:
    """One connection through the proxy: both sockets and the task that carries data."""

    def __init__(self, task: asyncio.Task[object], writers: list[asyncio.StreamWriter]) -> None:
        self.task = task
        self.writers = writers
        self.is_cut = False

    def reset(self) -> None:
        """End both sides with a reset."""
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and not writer.transport.is_closing():
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
