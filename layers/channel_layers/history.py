"""The last messages of groups, and where each stands: what a client that was away asks for.

The rules of recovery are those of Centrifugo: messages of a group are numbered from 1 within
an epoch, a position can be resumed if the epoch is the same and nothing after it has been
forgotten, and a recovery that is not whole says so. Pure: the time is passed in (seconds).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from channel_layers.codec import Message, Position
from channel_layers.patterns import Patterns

__all__ = ["Entry", "Histories", "History", "Limits", "Recovery", "recover"]


class Limits(NamedTuple):
    """How much history a group keeps."""

    size: int
    """The most messages."""
    seconds: float
    """The oldest message, in seconds."""


class Entry(NamedTuple):
    """One message in the log of a group."""

    offset: int
    forget_at: float
    body: bytes


class Recovery(NamedTuple):
    """What a log has after a position, as bytes."""

    entries: list[Entry]
    position: Position
    recovered: bool


@dataclass(frozen=True, slots=True)
class History:
    """The answer of ``layer.history()``."""

    messages: list[Message]
    """Oldest first, each with its ``position``."""
    position: Position
    """Where the answer ends: pass it as ``since`` to go on from here."""
    recovered: bool
    """Whether nothing is missing between ``since`` and ``position``. Without ``since``: True."""


def recover(
    entries: list[Entry], end: Position, since: Position | None, limit: int | None
) -> Recovery:
    """What came after ``since``, the first ``limit`` of it; without it, the last ``limit``.

    Args:
        entries: all that a group remembers, the oldest first.
        end: where the group stands.
    """
    if since is None:
        return Recovery(entries if limit is None else entries[-limit:], end, True)
    if since.epoch != end.epoch or since.offset > end.offset:
        return Recovery(entries if limit is None else entries[-limit:], end, False)
    first = entries[0].offset if entries else end.offset + 1
    entries = [entry for entry in entries if entry.offset > since.offset]
    if limit is not None and len(entries) > limit:
        entries = entries[:limit]
        end = Position(end.epoch, entries[-1].offset)
    return Recovery(entries, end, since.offset >= first - 1)


class _Log:
    __slots__ = ("entries", "epoch", "limits", "offset", "used_at")

    def __init__(self, epoch: str, limits: Limits, now: float) -> None:
        self.epoch = epoch
        self.limits = limits
        self.offset = 0
        self.entries: deque[Entry] = deque()
        self.used_at = now


class Histories:
    """The logs of all groups that have history.

    Args:
        limits: group -> its limits, or None for a group without history.
        new_epoch: makes a text that was never used before.
        keep_seconds: how long a group's numbering is remembered after its last use; then
            the log is forgotten and starts a new epoch.
    """

    def __init__(
        self,
        limits: Patterns[Limits | None],
        *,
        new_epoch: Callable[[], str],
        keep_seconds: float,
    ) -> None:
        self.enabled = bool(limits.compiled)
        self.limits_of = lru_cache(maxsize=4096)(limits.get)
        self._new_epoch = new_epoch
        self._keep = keep_seconds
        self._logs: OrderedDict[str, _Log] = OrderedDict()

    def append(self, group: str, body: bytes, now: float) -> Position | None:
        """Number a message of ``group`` and keep it; None if the group has no history."""
        log = self._log(group, now)
        if log is None:
            return None
        log.offset += 1
        log.entries.append(Entry(log.offset, now + log.limits.seconds, body))
        if len(log.entries) > log.limits.size:
            log.entries.popleft()
        return Position(log.epoch, log.offset)

    def position(self, group: str, now: float) -> Position:
        """Where the group stands now.

        Raises:
            KeyError: the group has no history.
        """
        log = self._log(group, now)
        if log is None:
            raise KeyError(group)
        return Position(log.epoch, log.offset)

    def read(self, group: str, since: Position | None, limit: int | None, now: float) -> Recovery:
        """What came after ``since``, the first ``limit`` of it; without it, the last ``limit``.

        Raises:
            KeyError: the group has no history.
        """
        log = self._log(group, now)
        if log is None:
            raise KeyError(group)
        end = Position(log.epoch, log.offset)
        return recover(list(log.entries), end, since, limit)

    def clear(self) -> None:
        """Forget everything; every group starts a new epoch."""
        self._logs.clear()

    def _log(self, group: str, now: float) -> _Log | None:
        log = self._logs.get(group)
        if log is None:
            limits = self.limits_of(group)
            if limits is None:
                return None
            log = self._logs[group] = _Log(self._new_epoch(), limits, now)
        else:
            self._logs.move_to_end(group)
            log.used_at = now
        entries = log.entries
        while entries and entries[0].forget_at <= now:
            entries.popleft()
        self._forget_oldest(now)
        return log

    def _forget_oldest(self, now: float) -> None:
        # Two at a time: more than the one that a call can add, so the store cannot grow.
        for _ in range(2):
            group, log = next(iter(self._logs.items()))
            if log.used_at + max(self._keep, log.limits.seconds) > now:
                return
            del self._logs[group]
