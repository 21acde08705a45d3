"""What lies between the processes: the half of a layer that differs from broker to broker.

A :class:`Transport` moves frames (sealed, versioned bytes of which it understands nothing) and
tells its :class:`Arrivals` what came. Everything that the layers share is above it, in
:mod:`channel_layers.distributed`: names, mailboxes, order of memberships, duplicates, drops.

All methods of both are called on the layer's home loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Literal, NamedTuple, Protocol

from channel_layers.codec import Position
from channel_layers.history import Entry, Limits

__all__ = ["Arrivals", "Log", "Outcome", "Pulled", "Transport"]


Outcome = Literal["sent", "gone", "full"]
"""What became of a frame: on its way, its process is gone, or so far behind that it was refused."""


class Pulled(NamedTuple):
    """One frame of a plain channel that is now this process's."""

    frame: bytes
    age: float
    """Seconds, by the broker's clock."""
    token: str
    """By which the transport knows it, to take it back or to acknowledge it."""
    element: bytes
    """As it lay in the channel."""


class Log(NamedTuple):
    """What a group with history remembers; ``body`` of each entry is a frame."""

    entries: list[Entry]
    position: Position
    now: float
    """By the clock of the entries' ``forget_at``."""


class Arrivals(Protocol):
    """Who is told what comes from the other processes."""

    woken: int
    """Readers that were woken by messages to groups so far."""

    def arrived(self, partition: int, frame: bytes, age: float, position: Position | None) -> None:
        """A frame for this process, in the order of its partition.

        Args:
            age: how long it was on the way, in seconds, by the broker's clock.
            position: where it stands, if it was sent to a group with history.
        """

    def wanted(self, channel: str) -> None:
        """A message waits in a plain channel for which :meth:`Transport.pull` found too few."""

    def fence_read(self, partition: int, token: str) -> None:
        """What :meth:`Transport.fence` wrote has been read."""

    def connected(self, *, again: bool) -> None:
        """The whole broker is within reach and knows this process."""

    def disconnected(self, partition: int, reason: str) -> None:
        """A partition is out of reach; the transport goes on trying."""

    def lost(self, partition: int, reason: str) -> None:
        """Messages of this partition may have been lost.

        The broker may have forgotten memberships too: the transport joins those in
        :meth:`joined` again by itself.
        """

    def joined(self) -> Collection[str]:
        """The groups of which this process is a member."""

    def overflowed(self, target: str, count: int) -> None:
        """So many copies of a message to a group or channel found no room on the broker."""

    def expired(self, channel: str, count: int) -> None:
        """So many messages of a plain channel had expired when they were looked at."""


class Transport(ABC):
    """One kind of broker, for one layer in one process.

    Every method that goes to the broker waits for at most ``send_timeout`` and raises
    :class:`~channel_layers.exceptions.LayerUnavailable` then, or at once if waiting is of no
    use (a wrong password); it survives a lost connection without doing its work twice.
    """

    mode: str
    """How it works, in a few words, for ``stats()``."""
    partitions: int
    """How many streams there are that keep an order of their own."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the broker is within reach."""

    @abstractmethod
    async def start(self, arrivals: Arrivals) -> None:
        """Connect and make this process known; nothing if that was done before.

        Args:
            arrivals: who is told what comes.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Leave: forget this process's memberships and messages, and disconnect."""

    @abstractmethod
    def abandon(self, *, forked: bool = False) -> None:
        """The event loop is gone, and the connections with it: :meth:`start` makes new ones.

        Args:
            forked: this is a child process, and its parent goes on using the connections. The
                transport itself will not be used again.
        """

    @abstractmethod
    def partition_of(self, name: str) -> int:
        """The partition of a group or channel: the same in every process."""

    @abstractmethod
    def repeats(self, partition: int) -> int:
        """How often frames were given to a partition again, and so perhaps out of their order."""

    @abstractmethod
    async def fence(self, partition: int, token: str) -> None:
        """Put a mark behind all that is under way to this process in a partition."""

    @abstractmethod
    async def to_channel(self, channel: str, process: str, frame: bytes) -> Outcome:
        """Bring a frame to a process."""

    @abstractmethod
    async def to_group(self, group: str, frame: bytes, limits: Limits | None) -> None:
        """Bring a frame to all processes with members, and into the plain channels that are.

        Args:
            limits: how much history to keep of the group; None for none.
        """

    @abstractmethod
    async def add_member(self, group: str, process: str, frame: bytes) -> None:
        """Make another process a member, and bring it a frame behind all that came before.

        Every later :meth:`to_group` reaches it. Nothing happens if the process is gone.
        """

    @abstractmethod
    async def add_myself(self, group: str, frame: bytes, *, ordered: bool) -> bool:
        """Make this process a member.

        Args:
            ordered: bring it the frame in any case.

        Returns:
            True if nothing was under way to this process, so that the frame is not needed and
            does not come; False if it comes behind what is.
        """

    @abstractmethod
    async def leave(self, group: str) -> None:
        """End the membership of this process, unless an addition is under way to it."""

    @abstractmethod
    async def tell(self, group: str, process: str, frame: bytes) -> None:
        """Bring a frame to one process, in the order of the messages to ``group``."""

    @abstractmethod
    async def ask(self, group: str, frame: bytes) -> list[str]:
        """Bring a frame to all processes with members; those that are likely alive."""

    @abstractmethod
    async def announce(self, frame: bytes) -> list[str]:
        """Forget all memberships, messages and history; bring a frame to every process.

        Returns:
            The processes that are likely alive.
        """

    # Plain channels

    @abstractmethod
    async def push(self, channel: str, frame: bytes, capacity: int) -> bool:
        """Put a frame into a plain channel; False if ``capacity`` wait in it already."""

    @abstractmethod
    async def pull(self, channel: str, count: int) -> list[Pulled]:
        """Take up to ``count`` frames; if there are fewer, :meth:`Arrivals.wanted` tells later."""

    @abstractmethod
    async def take_back(self, channel: str, pulled: list[Pulled]) -> None:
        """Put frames back to where they were, for other readers."""

    @abstractmethod
    async def acknowledge(self, channel: str, pulled: Pulled) -> None:
        """A reader has done with it (only where the layer delivers at least once)."""

    @abstractmethod
    async def add_plain(self, group: str, channel: str, seconds: float, capacity: int) -> None:
        """Make a plain channel a member for so many seconds."""

    @abstractmethod
    async def discard_plain(self, group: str, channel: str) -> None:
        """End that."""

    @abstractmethod
    async def plain_members(self, group: str) -> list[str]:
        """The plain channels in a group."""

    # History

    @abstractmethod
    async def log(self, group: str, limits: Limits) -> Log:
        """All that a group remembers."""
