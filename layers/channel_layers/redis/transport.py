"""The transport over Redis: messages, groups and history as scripts, and what they answer."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from channel_layers.codec import Position
from channel_layers.history import Entry as LogEntry
from channel_layers.history import Limits
from channel_layers.redis.answers import as_bytes, as_int, as_list, as_text, as_texts
from channel_layers.redis.link import Reply
from channel_layers.redis.partition import Partition
from channel_layers.redis.plain import PlainChannels
from channel_layers.redis.scripts import script
from channel_layers.redis.settings import GROUP_TTL_MS, SILENT_MS
from channel_layers.transport import Log, Outcome

__all__ = ["RedisTransport"]

INBOX_LIMIT: Final = 10_000
"""Entries that wait in an inbox; a process that is so far behind is told that it lost some."""
SCAN_COUNT: Final = 500
FORGOTTEN_SECONDS: Final = 0.05

_SEND: Final = script("send")
_FAN_OUT: Final = script("fan_out")
_ADD_MEMBER: Final = script("add_member")


class RedisTransport(PlainChannels):
    """One Redis, several, or a cluster; see :class:`Partitions` for the arguments."""

    # Messages

    async def to_channel(self, channel: str, process: str, frame: bytes) -> Outcome:
        """See :class:`Transport`."""
        partition = self._of(channel)
        keys = partition.keys
        inbox = keys.inbox(process)
        done = await partition.run(_SEND, inbox, process, frame, INBOX_LIMIT)
        if done == 1:
            return "sent"
        if done == -1:
            return "full"
        if process == self._process:
            partition.check()
        return "gone"

    async def to_group(self, group: str, frame: bytes, limits: Limits | None) -> None:
        """See :class:`Transport`."""
        partition = self._of(group)
        answer = await partition.run(
            _FAN_OUT,
            partition.keys.group(group),
            group,
            frame,
            INBOX_LIMIT,
            self._expiry_ms,
            int(self.partitions > 1),
            self._process,
            0,
            self._settings.number_ttl_ms,
            limits.size if limits else 0,
            self._kept_ms(limits) if limits else 0,
            secrets.token_urlsafe(6) if limits else "",
            numbered=6,
        )
        reached, full, full_plain, expired, *forward = as_list(answer)
        if full or full_plain:
            self._arrivals.overflowed(group, as_int(full) + as_int(full_plain))
        if expired:
            self._arrivals.expired(group, as_int(expired))
        for member in as_texts(forward):
            capacity, _, channel = member.partition(":")
            if not await self.push(channel, frame, int(capacity)):
                self._arrivals.overflowed(channel, 1)
        if not reached and group in self._arrivals.joined():
            partition.check()

    def _kept_ms(self, limits: Limits) -> int:
        return max(self._keep_ms, int(limits.seconds * 1000))

    # Groups

    async def leave(self, group: str) -> None:
        """See :class:`Transport`."""
        await self._of(group).leave(group)

    async def add_member(self, group: str, process: str, frame: bytes) -> None:
        """See :class:`Transport`."""
        await self._add(self._of(group), group, process, frame, b"")

    async def add_myself(self, group: str, frame: bytes, *, ordered: bool) -> bool:
        """See :class:`Transport`."""
        while True:
            partition = self._of(group)
            read = b"" if ordered else partition.read
            outcome = await self._add(partition, group, self._process, frame, read)
            if outcome:
                return outcome == 2
            # The server has forgotten this very process: once more when that is mended.
            partition.check()
            await asyncio.sleep(FORGOTTEN_SECONDS)

    def _add(
        self, partition: Partition, group: str, process: str, frame: bytes, read: bytes
    ) -> asyncio.Future[Reply]:
        ttl = self._settings.ttl_ms
        key = partition.keys.group(group)
        return partition.run(_ADD_MEMBER, key, group, process, frame, GROUP_TTL_MS, ttl, read)

    async def tell(self, group: str, process: str, frame: bytes) -> None:
        """See :class:`Transport`."""
        partition = self._of(group)
        keys = partition.keys
        inbox = keys.inbox(process)
        # No limit: what the layers say to each other is little, and others wait for it.
        await partition.run(_SEND, inbox, process, frame, 10 * INBOX_LIMIT)

    async def ask(self, group: str, frame: bytes) -> list[str]:
        """See :class:`Transport`."""
        partition = self._of(group)
        key = partition.keys.group(group)
        answer = await partition.run(script("ask"), key, frame, SILENT_MS)
        return as_texts(answer)

    async def announce(self, frame: bytes) -> list[str]:
        """See :class:`Transport`."""
        found = await asyncio.gather(
            *(self._announce_in(partition, frame) for partition in self._partitions)
        )
        return [process for processes in found for process in processes]

    async def _announce_in(self, partition: Partition, frame: bytes) -> list[str]:
        keys, outbox = partition.keys, partition.outbox
        cursor = b"0"
        while True:
            answer = await outbox.command("SCAN", cursor, "MATCH", keys.all, "COUNT", SCAN_COUNT)
            next_cursor, found = as_list(answer)
            if forgotten := [key for key in map(as_bytes, as_list(found)) if keys.is_content(key)]:
                await outbox.command("UNLINK", *forgotten)
            cursor = as_bytes(next_cursor)
            if cursor == b"0":
                break
        answer = await partition.run(script("announce"), keys.processes, frame, SILENT_MS)
        return as_texts(answer)

    async def fence(self, partition: int, token: str) -> None:
        """See :class:`Transport`."""
        where = self._at(partition)
        inbox = where.keys.inbox(self._process)
        words = ("XADD", inbox, "NOMKSTREAM", "*", "fence", token)
        if await where.outbox.command(*words) is None:
            where.check()  # the server has forgotten this process

    # History

    async def log(self, group: str, limits: Limits) -> Log:
        """See :class:`Transport`."""
        partition = self._of(group)
        keys = partition.keys
        answer = await partition.run(
            script("log"),
            keys.log(group),
            group,
            self._kept_ms(limits),
            secrets.token_urlsafe(6),
        )
        epoch, offset, now, found = as_list(answer)
        entries = []
        for entry_id, entry in map(as_list, as_list(found)):
            _, sent, _, frame = as_list(entry)
            forget_at = as_int(sent) / 1000 + limits.seconds
            number = int(as_bytes(entry_id).partition(b"-")[0])
            entries.append(LogEntry(number, forget_at, as_bytes(frame)))
        return Log(entries, Position(as_text(epoch), as_int(offset)), as_int(now) / 1000)
