"""What waits for the readers of one channel."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from channel_layers.codec import Message, Position, decode

__all__ = ["Item", "Mailbox", "Waiter"]


class Item:
    """A message in mailboxes; the members of a group share one.

    Args:
        deadline: when it expires, by the hub's clock (seconds).
        body: the encoded message.
        group, position: where it stands, if it was sent to a group with history.
    """

    __slots__ = ("_flat", "_shared", "body", "deadline", "group", "position")

    def __init__(
        self,
        deadline: float,
        body: bytes,
        *,
        shared: bool = False,
        group: str = "",
        position: Position | None = None,
    ) -> None:
        self.deadline = deadline
        self.body = body
        self.group = group
        self.position = position
        self._shared = shared
        self._flat: dict[str, Any] | None = None

    def read(self) -> dict[str, Any]:
        """The message, a fresh one for each reader.

        A message without lists and dicts in it, as most are, is decoded once and copied for
        the other readers: a copy costs a third of what decoding does.
        """
        if self._flat is not None:
            return self._flat.copy()
        message = decode(self.body)
        if self.position is not None:
            return Message(message, self.group, self.position)
        if self._shared:
            self._shared = False
            if not any(isinstance(value, list | dict) for value in message.values()):
                self._flat = message.copy()
        return message


class Waiter(Protocol):
    """A reader that waits: an :class:`asyncio.Future`, or a thread's own (``wake.py``)."""

    def done(self) -> bool:
        """Whether it was woken or cancelled."""

    def set_result(self, result: None, /) -> None:
        """Wake it."""

    def get_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop it waits on; None for a thread that blocks."""


class Mailbox:
    """The messages and the waiting readers of one channel.

    A reader takes its message only after it has woken, never while it waits, so a reader
    that is cancelled between the two has nothing to lose. A waiter that was woken is no
    longer in ``waiters``; if it then does not take a message, it must wake the next.
    """

    __slots__ = (
        "capacity",
        "channel",
        "check_at",
        "closed",
        "forgotten",
        "groups",
        "idle_since",
        "items",
        "left",
        "owner",
        "process",
        "waiters",
    )

    def __init__(
        self,
        channel: str,
        *,
        capacity: int,
        process: bool,
        owner: Callable[[], object | None] | None,
        now: float,
    ) -> None:
        self.channel = channel
        self.capacity = capacity
        self.process = process
        """Whether this is a process channel (it dies with its owner), not a plain one."""
        self.owner = owner
        """Returns None once the channel has no owner any more; a weak reference does."""
        self.items: deque[Item] = deque()
        self.waiters: list[Waiter] = []
        self.groups: set[str] | None = None
        self.left: set[str] | None = None
        """Groups that it was discarded from, where that has to be known when it comes back."""
        self.idle_since = now
        self.check_at = now
        self.closed = False
        """Closed on purpose: whoever reads it is told so."""
        self.forgotten = False
        """No longer in the hub, closed or reclaimed: a reader opens the channel anew."""
