"""When a message of a plain channel has been dealt with, for ``delivery="at_least_once"``.

There is no verb for it in channels, so it is seen from what the reader does: a message is
acknowledged when the same task (or thread) asks the channel for the next one, or ends without
an error. If the task fails or is cancelled, the message goes back; if the process dies, other
processes take back what it had not acknowledged.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable

from channel_layers.pulling import PulledItem

__all__ = ["Acknowledgements"]


class Acknowledgements:
    """What the readers of this process have not dealt with yet.

    Args:
        done: called with the channel and the message that has been dealt with.
        failed: called with those whose reader came to grief.
    """

    def __init__(
        self,
        *,
        done: Callable[[str, PulledItem], None],
        failed: Callable[[str, PulledItem], None],
    ) -> None:
        self._done = done
        self._failed = failed
        self._held: dict[Hashable, dict[str, PulledItem]] = {}
        """Reader -> channel -> message."""
        self._lock = threading.Lock()

    def asks(self, channel: str) -> None:
        """The running task or thread wants the next message of a channel."""
        with self._lock:
            held = self._held.get(_reader())
            item = held.pop(channel, None) if held else None
        if item is not None:
            self._done(channel, item)

    def reads(self, channel: str, item: PulledItem) -> None:
        """The running task or thread got a message."""
        self.asks(channel)
        reader = _reader()
        with self._lock:
            known = reader in self._held
            self._held.setdefault(reader, {})[channel] = item
        if not known and isinstance(reader, asyncio.Task):
            reader.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        with self._lock:
            held = self._held.pop(task, {})
        well = not task.cancelled() and task.exception() is None
        for channel, item in held.items():
            (self._done if well else self._failed)(channel, item)


def _reader() -> Hashable:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task if task is not None else threading.get_ident()
