"""The layer without a broker: everything stays in this process."""

from __future__ import annotations

import secrets
from collections.abc import Coroutine
from typing import Any, TypeVar

from channel_layers.base import ChannelLayer
from channel_layers.codec import Message, Position, decode
from channel_layers.exceptions import ChannelFull
from channel_layers.history import Histories, History
from channel_layers.mailbox import Item, Mailbox
from channel_layers.names import process_of

__all__ = ["InMemoryChannelLayer"]

T = TypeVar("T")


class InMemoryChannelLayer(ChannelLayer):
    """A channel layer for one process: development, tests, and sites that have one process.

    It keeps all promises of the other layers among the threads and event loops of its
    process. Messages do not leave the process: another one, a second uvicorn worker say,
    does not see them, and ``symmetric_encryption_keys`` has nothing to seal.
    """

    mode = "in-process"

    @property
    def channels(self) -> dict[str, int]:
        """Channel -> unread messages; a copy, for tests that look into channels' own layer."""
        with self._lock:
            boxes = self._hub.boxes
            return {name: len(box.items) for name, box in boxes.items() if box.process or box.items}

    @property
    def groups(self) -> dict[str, list[str]]:
        """Group -> its channels; a copy, for tests that look into channels' own layer."""
        with self._lock:
            now = self._clock()
            groups = {group: self._hub.members(group, now) for group in tuple(self._hub.groups)}
            return {group: members for group, members in groups.items() if members}

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self._histories = Histories(
            self.options.history,
            new_epoch=lambda: secrets.token_urlsafe(6),
            keep_seconds=self.options.group_expiry,
        )

    async def _send(self, channel: str, body: bytes) -> None:
        with self._lock:
            now = self._clock()
            self._put(channel, body, now)
            self._tick(now)

    async def _send_many(self, messages: list[tuple[str, bytes]]) -> list[str]:
        full = []
        with self._lock:
            now = self._clock()
            for channel, body in messages:
                try:
                    self._put(channel, body, now)
                except ChannelFull:
                    full.append(channel)
            self._tick(now)
        return full

    async def _group_send(self, group: str, body: bytes) -> None:
        hub = self._hub
        with self._lock:
            now = self._clock()
            position = None
            if self._histories.enabled:
                position = self._histories.append(group, body, now)
            item = Item(now + hub.expiry, body, shared=True, group=group, position=position)
            woken = hub.fan_out(group, item, now)
            if woken:
                self._waker.wake(woken)
            hub.counters.group_sent += 1
            self._tick(now)

    async def _group_add(self, group: str, channel: str) -> None:
        with self._lock:
            now = self._clock()
            box = self._hub.boxes.get(channel)
            if box is None:
                process = process_of(channel)
                if process is not None and process != self._process:
                    return  # another process can only be one that is gone, its memberships too
                box = self._hub.open(channel, now, process=process is not None)
            self._hub.add(group, box, now)
            self._tick(now)

    async def _group_discard(self, group: str, channel: str) -> None:
        with self._lock:
            self._hub.discard(group, channel)

    async def _group_channels(self, group: str) -> list[str]:
        with self._lock:
            return self._hub.members(group, self._clock())

    async def _history(self, group: str, since: Position | None, limit: int | None) -> History:
        with self._lock:
            found = self._histories.read(group, since, limit, self._clock())
        epoch = found.position.epoch
        return History(
            [Message(decode(e.body), group, Position(epoch, e.offset)) for e in found.entries],
            found.position,
            found.recovered,
        )

    async def _position(self, group: str) -> Position:
        with self._lock:
            return self._histories.position(group, self._clock())

    async def _flush(self) -> None:
        with self._lock:
            self._hub.flush()
            self._histories.clear()

    def _run_blocking(self, verb: Coroutine[Any, Any, T]) -> T:
        # No verb but receive ever waits here: it runs to its end where it is called.
        try:
            verb.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        verb.close()
        raise RuntimeError(f"{verb!r} waited where nothing can wait.")

    def _put(self, channel: str, body: bytes, now: float) -> None:
        """Put one message into a mailbox and wake its reader (locked)."""
        hub = self._hub
        box: Mailbox | None = hub.boxes.get(channel)
        if box is None:
            if process_of(channel) is not None:
                hub.drops.add("gone", channel)
                return
            box = hub.open(channel, now, process=False)
        hub.put(box, Item(now + hub.expiry, body), now)
        hub.counters.sent += 1
        if box.waiters:
            self._waker.wake((box,))
