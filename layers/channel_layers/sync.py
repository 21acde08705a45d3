"""``layer.sync``: the verbs of a layer for code that blocks.

For views, signal handlers, tasks, threads and management commands. No event loop is made
and no connection is opened per call, which is what ``async_to_sync`` costs (0.4 ms and a
connection over a broker).
"""

from __future__ import annotations

import time
from asyncio import _get_running_loop
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from channel_layers.codec import Position
from channel_layers.exceptions import SyncInLoopError
from channel_layers.history import History

if TYPE_CHECKING:
    from channel_layers.base import ChannelLayer, Stats

__all__ = ["SyncVerbs"]


class SyncVerbs:
    """The same verbs as the layer's, blocking; the same arguments, results and errors.

    Raises:
        SyncInLoopError: (every verb) called in a thread that runs an event loop, where
            blocking would stop everything: await the layer's own verb there.
    """

    def __init__(self, layer: ChannelLayer) -> None:
        self._layer = layer

    def new_channel(self, prefix: str = "specific") -> str:
        """See :meth:`ChannelLayer.new_channel`."""
        self._require_thread("new_channel")
        return self._layer._run_blocking(self._layer.new_channel(prefix))

    def close_channel(self, channel: str) -> None:
        """See :meth:`ChannelLayer.close_channel`."""
        self._require_thread("close_channel")
        self._layer._run_blocking(self._layer.close_channel(channel))

    def send(self, channel: str, message: dict[str, Any]) -> None:
        """See :meth:`ChannelLayer.send`."""
        self._require_thread("send")
        self._layer._run_blocking(self._layer.send(channel, message))

    def send_many(self, messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """See :meth:`ChannelLayer.send_many`."""
        self._require_thread("send_many")
        self._layer._run_blocking(self._layer.send_many(messages))

    def receive(self, channel: str, *, timeout: float | None = None) -> dict[str, Any]:
        """See :meth:`ChannelLayer.receive`; a thread cannot be cancelled, so it has a time-out.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            TimeoutError: no message came in time; none was taken either.
        """
        self._require_thread("receive")
        return self._layer._receive_blocking(channel, timeout)

    def group_add(self, group: str, channel: str) -> None:
        """See :meth:`ChannelLayer.group_add`."""
        self._require_thread("group_add")
        self._layer._run_blocking(self._layer.group_add(group, channel))

    def group_discard(self, group: str, channel: str) -> None:
        """See :meth:`ChannelLayer.group_discard`."""
        self._require_thread("group_discard")
        self._layer._run_blocking(self._layer.group_discard(group, channel))

    def group_send(self, group: str, message: dict[str, Any]) -> None:
        """See :meth:`ChannelLayer.group_send`."""
        self._require_thread("group_send")
        self._layer._run_blocking(self._layer.group_send(group, message))

    def group_channels(self, group: str) -> list[str]:
        """See :meth:`ChannelLayer.group_channels`."""
        self._require_thread("group_channels")
        return self._layer._run_blocking(self._layer.group_channels(group))

    def history(
        self, group: str, since: Position | None = None, limit: int | None = None
    ) -> History:
        """See :meth:`ChannelLayer.history`."""
        self._require_thread("history")
        return self._layer._run_blocking(self._layer.history(group, since, limit))

    def position(self, group: str) -> Position:
        """See :meth:`ChannelLayer.position`."""
        self._require_thread("position")
        return self._layer._run_blocking(self._layer.position(group))

    def flush(self) -> None:
        """See :meth:`ChannelLayer.flush`."""
        self._require_thread("flush")
        self._layer._run_blocking(self._layer.flush())

    def ping(self) -> float:
        """See :meth:`ChannelLayer.ping`."""
        channel = self.new_channel("ping")
        start = time.perf_counter()
        try:
            self.send(channel, {"type": "ping"})
            self.receive(channel, timeout=self._layer.options.send_timeout)
        except TimeoutError as error:
            raise self._layer._ping_unanswered() from error
        finally:
            self.close_channel(channel)
        return time.perf_counter() - start

    def stats(self) -> Stats:
        """See :meth:`ChannelLayer.stats`."""
        return self._layer.stats()

    def drain(self, timeout: float | None = None) -> int:
        """See :meth:`ChannelLayer.drain`."""
        self._require_thread("drain")
        return self._layer._drain_blocking(timeout)

    def close(self) -> None:
        """See :meth:`ChannelLayer.close`."""
        self._require_thread("close")
        self._layer._run_blocking(self._layer.close())

    @staticmethod
    def _require_thread(verb: str) -> None:
        if _get_running_loop() is not None:
            raise SyncInLoopError(
                f"layer.sync.{verb} would block the event loop that runs in this thread; "
                f"use 'await layer.{verb}(...)' here, or call it in a worker thread "
                "(asgiref's sync_to_async)."
            )
