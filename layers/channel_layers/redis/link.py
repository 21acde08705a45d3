"""One pipelined connection to a Redis server.

redis-py connects: addresses, TLS, passwords and their providers, databases. Then the link takes the
transport over and speaks the protocol by itself with hiredis. Commands that are given in one
turn of the event loop leave in one write, and replies call their handlers in order, which costs a
fourteenth of the CPU of redis-py's calls (``docs/architecture.md``). Nothing else of the layer
knows of sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import hiredis

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

__all__ = ["Link", "Reply", "ReplyHandler", "Word", "pack"]

Reply = int | bytes | list["Reply"] | None | Exception
"""What Redis answers, in RESP2; an error is a :class:`hiredis.ReplyError`."""

ReplyHandler = Callable[[Reply], None]

Word = bytes | str | int

pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub says a tuple of one
"""A command as bytes: ``pack(("XLEN", key))``."""


class Link(asyncio.Protocol):
    """A connection on which commands are pipelined.

    Args:
        connection: connected and logged in; it is of no use afterwards.
        lost: called once with the reason when the connection has ended, but for :meth:`close`.
    """

    def __init__(self, connection: AbstractConnection, lost: Callable[[str], None]) -> None:
        # redis-py has no public way to hand its socket over; these two attributes are its own.
        writer = connection._writer
        if writer is None:
            raise TypeError(f"{connection!r} is not connected.")
        connection._writer = connection._reader = None
        self._writer = writer
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, writer.transport)
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._parser = hiredis.Reader()
        self._handlers: deque[ReplyHandler] = deque()
        self._unwritten: list[bytes] = []
        self._scheduled = False
        self._last_turn = 0
        """How many commands waited for the end of the last turn of the event loop."""
        self._closed = False
        self._paused = False
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def execute(self, command: bytes, handler: ReplyHandler) -> None:
        """Send a packed command; ``handler`` gets its reply unless the connection ends first."""
        self._handlers.append(handler)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end_turn)
            if self._last_turn <= 1 and not self._paused and not self._closed:
                # Commands come one by one: to wait for more would only cost time.
                self._transport.write(command)
                return
        self._unwritten.append(command)

    def expect(self, handler: ReplyHandler) -> None:
        """The command given last was two in one: ``handler`` gets the reply to the second."""
        self._handlers.append(handler)

    def close(self) -> None:
        """End the connection at once; handlers that have had no reply are forgotten."""
        if not self._closed:
            self._closed = True
            self._handlers.clear()
            self._unwritten.clear()
            self._transport.abort()

    def abandon(self, *, forked: bool) -> None:
        """Let go of a connection whose event loop has been closed.

        Args:
            forked: in a child process, whose parent goes on using the connection.
        """
        self._closed = True
        if forked:
            # Neither the connection nor the parent's selector may be touched, and an object
            # that is collected would do so.
            _parents.append(self)
        else:
            with contextlib.suppress(RuntimeError):  # "Event loop is closed", after all else
                self._transport.abort()
        # asyncio has no way to close a transport without its loop.
        if (socket := getattr(self._transport, "_sock", None)) is not None:
            socket.close()
            self._transport._sock = None  # type: ignore[attr-defined]  # asyncio's own

    def _end_turn(self) -> None:
        self._scheduled = False
        self._last_turn = len(self._unwritten)
        self._write()

    def _write(self) -> None:
        if self._unwritten and not self._closed and not self._paused:
            commands = self._unwritten
            self._transport.write(commands[0] if len(commands) == 1 else b"".join(commands))
            self._unwritten = []

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        """Replies, or parts of them."""
        parser = self._parser
        parser.feed(data)
        handlers = self._handlers
        try:
            while (reply := parser.gets()) is not False and not self._closed:
                if not handlers:
                    self._end(f"it answered {reply!r:.100} to no question")
                    return
                handlers.popleft()(reply)
        except hiredis.ProtocolError as error:
            self._end(f"it does not speak the Redis protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side closed it, or it broke."""
        self._end(str(exc) if exc else "the server closed the connection")

    def pause_writing(self) -> None:
        """The socket takes no more for now: hold commands back."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._paused = False
        self._write()

    def _end(self, reason: str) -> None:
        if not self._closed:
            self.close()
            self._lost(reason)


_parents: list[Link] = []
