"""Reading this process's inbox of one partition: one XREAD for everything that comes.

The read blocks in the server, on a connection of its own. Each is followed by TIME, so that an
entry's age is judged by the clock that wrote its id. After a broken connection reading goes on
behind the last entry that came; it never starts at ``$``, which would skip what came meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, cast

from channel_layers.redis.answers import as_int, as_list
from channel_layers.redis.link import Link, Reply, pack

__all__ = ["Entry", "Inbox", "order_of"]

BLOCK_MS: Final = 5000
COUNT: Final = 250
READ_BYTES: Final = 8 * 1024 * 1024
"""About as much is read at once, going by the size of the entries before."""
TRIM_ENTRIES: Final = 250
TRIM_BYTES: Final = 256 * 1024
"""What has been read may lie in the server until it is so much."""

BUSY_SECONDS: Final = 0.001
BUSY_READERS: Final = 16
"""Who wakes so many readers, so soon after the last time, reads on a moment later."""

logger = logging.getLogger("channel_layers")

Entry = list[bytes]
"""Field, value, field, value..."""

_TIME: Final = pack(("TIME",))


class Inbox:
    """The stream of one process in one partition.

    Args:
        key: of the stream.
        arrived: called with the fields of each entry and its age in seconds.
        woken: how many readers of this process have been woken so far.
        failed: called with an error of the server.
    """

    def __init__(
        self,
        key: str,
        *,
        arrived: Callable[[Entry, float], None],
        woken: Callable[[], int],
        failed: Callable[[str], None],
    ) -> None:
        self.last: bytes | None = None
        """Id of the last entry that was read; None before the inbox was first registered."""
        self.answered_at = 0.0
        """When the server last said anything, by the loop's clock."""
        self._key = key
        self._arrived = arrived
        self._woken = woken
        self._read_at = 0.0
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._entries: list[tuple[bytes, Entry]] = []
        self._milestone: tuple[tuple[int, int], Callable[[], None]] | None = None
        self._count = COUNT
        self._untrimmed = 0
        self._untrimmed_bytes = 0

    def attach(self, link: Link, last: bytes) -> None:
        """Begin to read what came after ``last``."""
        self._link = link
        self.last = last
        self.answered_at = self._loop.time()
        self._entries = []
        self._read()

    def when_read(self, entry_id: bytes, then: Callable[[], None]) -> None:
        """Call a function as soon as all up to an entry has been handed on, perhaps at once."""
        self._milestone = (order_of(entry_id), then)
        self._pass_milestone()

    def detach(self) -> None:
        """The connection is gone."""
        self._link = None

    @property
    def overdue(self) -> bool:
        """Whether the server has been silent for longer than a read may block."""
        silent = self._loop.time() - self.answered_at
        return self._link is not None and silent > BLOCK_MS / 1000 + 2

    def _read(self) -> None:
        link = self._link
        if link is None or self.last is None:
            return
        if self._untrimmed >= TRIM_ENTRIES or self._untrimmed_bytes >= TRIM_BYTES:
            self._trim(link, self.last)
        words = ("XREAD", "COUNT", self._count, "BLOCK", BLOCK_MS, "STREAMS", self._key, self.last)
        link.execute(pack(words) + _TIME, self._take_entries)
        link.expect(self._take_time)

    def _trim(self, link: Link, last: bytes) -> None:
        self._untrimmed = self._untrimmed_bytes = 0
        link.execute(pack(("XTRIM", self._key, "MINID", last)), _ignore)

    def _take_entries(self, reply: Reply) -> None:
        self.answered_at = self._loop.time()
        if isinstance(reply, list):
            # [[key, [[id, [field, value, ...]], ...]]]; to look at each would cost too much
            self._entries = cast(list[tuple[bytes, Entry]], as_list(reply[0])[1])
        elif isinstance(reply, Exception):
            self._link = None
            self._failed(str(reply))

    def _take_time(self, reply: Reply) -> None:
        entries, self._entries = self._entries, []
        link = self._link
        if link is None or not isinstance(reply, list):
            return
        if not entries:
            if self._untrimmed and self.last is not None:
                self._trim(link, self.last)
            self._read()
            return
        self.last = entries[-1][0]
        size = sum(len(fields[1]) for _, fields in entries)
        self._untrimmed += len(entries)
        self._untrimmed_bytes += size
        self._count = max(1, min(COUNT, READ_BYTES * len(entries) // (size + 1)))
        woken = self._woken()
        now_ms = as_int(reply[0]) * 1000 + as_int(reply[1]) // 1000
        for entry_id, fields in entries:
            age_ms = now_ms - int(entry_id.partition(b"-")[0])
            try:
                self._arrived(fields, age_ms / 1000 if age_ms > 0 else 0.0)
            except Exception:  # whatever one entry holds, the others are delivered
                logger.exception("Dropped an entry of %s.", self._key)
        self._pass_milestone()
        # Not at once: the readers of these messages go first.
        now = self._loop.time()
        if now - self._read_at < BUSY_SECONDS and self._woken() - woken >= BUSY_READERS:
            # They have work for longer than this, and what comes meanwhile is read in one go.
            self._loop.call_later(BUSY_SECONDS, self._read_on, link)
        else:
            self._loop.call_soon(self._read_on, link)
        self._read_at = now

    def _pass_milestone(self) -> None:
        if self._milestone is not None and self.last is not None:
            goal, then = self._milestone
            if order_of(self.last) >= goal:
                self._milestone = None
                then()

    def _read_on(self, link: Link) -> None:
        if link is self._link:
            self._read()


def order_of(entry_id: bytes) -> tuple[int, int]:
    """Where an entry stands in its stream: ids compare by their numbers, not as text."""
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


def _ignore(_reply: Reply) -> None:
    """What is not needed any more."""
