"""One order out of several partitions.

A sender's ``group_send`` may go through one partition and its next ``send`` through another. The
receiver reads both streams at the same time, and may read the second message first. So each
envelope names what its sender had sent before by other partitions (:class:`Departures`), and the
receiver holds it back until that has been delivered or cannot come any more (:class:`Merger`).

An earlier message is often for somebody else: then it never comes. That is proved by a *fence*, a
marker that the receiver adds to its own stream in that partition. The sender's earlier message
was in its stream before the later one was sent, hence before any fence that is added once the
later one has been read. When the fence is read, all that was before it has been read too.

Why nothing is held back for ever. Of all that was read and not delivered take the entry that
was added to its stream first, whatever its partition. In its own partition nothing is before
it. The entries it waits for were added before it, and the fences for them after it. Once those
fences are read, those entries are read too, and being older they are delivered already: so it
is free. This needs two things. A fence counts when it is *read*: if it stood in line behind
entries that are held back, two partitions could wait for each other's fences. And what an entry
names must have been in its stream before the entry was sent: sends that are in flight at the
same time could name each other in a circle. So :class:`Departures` names only what has landed.
Should a circle come about all the same (by envelopes that were given again and so landed behind
later ones), patience ends it.

Pure: the time is passed in (seconds, of a clock that never goes back). Not for several threads.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

__all__ = ["After", "Departures", "Merger"]

T = TypeVar("T")

After = tuple[tuple[int, int], ...]
"""What an envelope comes after: pairs of a partition and a sequence of the same producer."""

_NEVER: Final = -math.inf


class Departures:
    """Numbers what one producer sends, and says what each envelope comes after.

    Args:
        partitions: how many there are.
        window: seconds after which a message that has landed does not matter any more, because
            it has expired.
    """

    def __init__(self, partitions: int, *, window: float) -> None:
        self._window = window
        self._sequence = 0
        self._landed = [0] * partitions
        self._landed_at = [_NEVER] * partitions

    def depart(self, partition: int, now: float, *, parts: int = 1) -> tuple[int, After]:
        """The sequence of the next envelope, and what it comes after.

        Args:
            partition: where it goes.
            now: the time.
            parts: how many envelopes the message is split into; they take consecutive sequences.

        Returns:
            The sequence of the (first) envelope, from 1, and for each other partition the last
            sequence that landed there within the window.
        """
        sequence = self._sequence + 1
        self._sequence += parts
        since = now - self._window
        after = [
            (other, self._landed[other])
            for other, landed_at in enumerate(self._landed_at)
            if landed_at > since and other != partition
        ]
        return sequence, tuple(after)

    def landed(self, partition: int, sequence: int, now: float, *, again: bool = False) -> None:
        """The server has confirmed an envelope; call it before the sender's ``await`` returns.

        Args:
            partition: where it went.
            sequence: of the envelope, of the last one of a split message.
            now: the time.
            again: whether it had to be given to the server more than once.
        """
        if again or sequence < self._landed[partition]:
            # It may stand in the stream behind others with higher numbers, so to have read those
            # proves nothing. A number that no envelope has: all above it come after this one.
            self._sequence += 1
            sequence = self._sequence
        self._landed[partition] = sequence
        self._landed_at[partition] = now


class _Producer:
    """What is known of one producer."""

    __slots__ = ("lines", "read", "seen_at")

    def __init__(self, partitions: int) -> None:
        self.seen_at = _NEVER
        self.read = [0] * partitions
        """By partition: what it names up to this sequence has been read or never comes."""
        self.lines: dict[int, deque[int]] = {}
        """By partition: the sequences of those of its entries that are held back, in order. One
        that is behind a lower one has that number instead: whoever waits for it waits for both."""


class _Entry(Generic[T]):
    """An entry that is held back."""

    __slots__ = ("item", "producer", "read_at", "sequence", "waits")

    def __init__(
        self,
        producer: _Producer,
        sequence: int,
        waits: list[tuple[int, int]],
        item: T,
        now: float,
    ) -> None:
        self.producer = producer
        self.sequence = sequence
        self.waits = waits
        """What it still waits for; emptied from the end."""
        self.item = item
        self.read_at = now


class _Stream(Generic[T]):
    """One partition, as the receiver sees it."""

    __slots__ = ("answered_at", "covered", "line", "silent", "token", "uncovered")

    def __init__(self) -> None:
        self.line: deque[_Entry[T]] = deque()
        self.token: int | None = None
        """The fence that is under way."""
        self.answered_at = _NEVER
        """When a fence was last read."""
        self.covered: dict[_Producer, int] = {}
        """What the fence under way will prove: all of a producer up to a sequence is read."""
        self.uncovered: dict[_Producer, int] = {}
        """What the next fence is to prove."""
        self.silent = False
        """No fence came back for too long: nothing waits for this partition until one does."""


class Merger(Generic[T]):
    """Puts what is read from several partitions into an order that keeps each sender's.

    The entries of one partition are delivered in the order in which they were read; one that
    is held back holds back those behind it. Each method that may set entries free returns
    their items, in the order in which they are to be delivered. Afterwards ask for :meth:`fences`.

    An entry that comes twice is delivered twice: repeats are dropped before they get here.

    Args:
        partitions: how many there are.
        patience: seconds after which an entry is not held back any longer.
        forget_after: seconds after which a producer that sends nothing is forgotten. What it
            sends later may need a fence that could have been saved, nothing else.
    """

    def __init__(self, partitions: int, *, patience: float, forget_after: float) -> None:
        self._patience = patience
        self._forget_after = forget_after
        self._forget_at = _NEVER
        self._producers: OrderedDict[str, _Producer] = OrderedDict()  # the longest unseen first
        self._streams: list[_Stream[T]] = [_Stream() for _ in range(partitions)]
        self._blocked: dict[int, _Stream[T]] = {}  # those with entries that are held back
        self._wanted: set[int] = set()  # partitions that may need a fence and have none
        self._last_token = 0
        self.given_up = 0
        """Items delivered because patience ended; they may be out of order."""

    @property
    def held_back(self) -> int:
        """How many items wait here."""
        return sum(len(stream.line) for stream in self._blocked.values())

    def arrived(
        self,
        partition: int,
        producer: str,
        sequence: int,
        after: Sequence[tuple[int, int]],
        item: T,
        now: float,
    ) -> Sequence[T]:
        """An entry was read.

        Args:
            partition: where, in the order of its stream.
            producer: who sent it.
            sequence: the producer's number of it.
            after: what it comes after, as :meth:`Departures.depart` gave it. What names no
                other partition of this layer is ignored.
            item: what is to be delivered.
            now: the time.

        Returns:
            The items to deliver now.
        """
        known = self._producers.get(producer)
        if known is None:
            known = self._producers[producer] = _Producer(len(self._streams))
        else:
            self._producers.move_to_end(producer)
        known.seen_at = now
        if now > self._forget_at:
            self._forget(now)
        if not after and not self._blocked:
            known.read[partition] = max(known.read[partition], sequence)
            return (item,)
        waits = [
            (other, number)
            for other, number in after
            if other != partition
            and 0 <= other < len(self._streams)
            and not self._is_over(known, other, number)
        ]
        if waits or partition in self._blocked:
            self._hold_back(partition, _Entry(known, sequence, waits, item, now))
            return self._release()
        known.read[partition] = max(known.read[partition], sequence)
        return [item, *self._release()]

    def fences(self) -> list[tuple[int, int]]:
        """The fences to add now, as pairs of a partition and a token; each is returned once.

        Add each to the receiver's own stream in that partition, and call :meth:`fence_read` when
        it is read there. There is at most one under way in each partition.
        """
        if not self._wanted:
            return []
        fences = []
        for partition in self._wanted:
            stream = self._streams[partition]
            stream.covered = {
                producer: number
                for producer, number in stream.uncovered.items()
                if producer.read[partition] < number
            }
            stream.uncovered = {}
            if stream.covered or stream.silent:
                self._last_token = stream.token = self._last_token + 1
                fences.append((partition, stream.token))
        self._wanted.clear()
        return fences

    def fence_read(self, partition: int, token: int, now: float) -> Sequence[T]:
        """A fence was read, after all that is before it in its stream.

        Returns:
            The items to deliver now. One that :meth:`reset` made void says nothing.
        """
        stream = self._streams[partition]
        if token != stream.token:
            return ()
        stream.token = None
        stream.answered_at = now
        stream.silent = False
        for producer, number in stream.covered.items():
            producer.read[partition] = max(producer.read[partition], number)
        stream.covered = {}
        if stream.uncovered:
            self._wanted.add(partition)
        return self._release()

    def reset(self, partition: int) -> None:
        """The fence under way may never be read: its command or the stream may be lost.

        If it is still needed, :meth:`fences` gives another one.
        """
        stream = self._streams[partition]
        stream.token = None
        for producer, number in stream.covered.items():
            stream.uncovered[producer] = max(stream.uncovered.get(producer, 0), number)
        stream.covered = {}
        self._wanted.add(partition)

    def next_deadline(self) -> float | None:
        """When :meth:`give_up` has something to do; None if nothing is held back."""
        if not self._blocked:
            return None
        return min(stream.line[0].read_at for stream in self._blocked.values()) + self._patience

    def give_up(self, now: float) -> Sequence[T]:
        """Do not hold back any longer what has waited for more than ``patience``.

        A partition whose fence has not come back for as long is taken to be away: nothing waits
        for it until a fence is read there. ``give_up(math.inf)`` delivers everything.

        Returns:
            The items to deliver now.
        """
        released: list[T] = []
        while self._blocked:
            # One after the other: delivering the oldest may be all that the next one waits for.
            heads = [stream.line[0] for stream in self._blocked.values()]
            entry = min(heads, key=lambda head: head.read_at)
            if entry.read_at + self._patience > now:
                break
            self.given_up += 1
            for partition, number in entry.waits:
                stream = self._streams[partition]
                unanswered = entry.producer.read[partition] < number
                if unanswered and stream.answered_at + self._patience <= now:
                    stream.silent = True
            entry.waits.clear()
            released += self._release()
        return released

    def _hold_back(self, partition: int, entry: _Entry[T]) -> None:
        producer = entry.producer
        for other, number in entry.waits:
            stream = self._streams[other]
            stream.uncovered[producer] = max(stream.uncovered.get(producer, 0), number)
            if stream.token is None:
                self._wanted.add(other)
        producer.read[partition] = max(producer.read[partition], entry.sequence)
        line = producer.lines.setdefault(partition, deque())
        place = len(line)
        while place and line[place - 1] > entry.sequence:
            place -= 1
            line[place] = entry.sequence
        line.append(entry.sequence)
        stream = self._blocked[partition] = self._streams[partition]
        stream.line.append(entry)

    def _is_over(self, producer: _Producer, partition: int, number: int) -> bool:
        """Whether all of the producer up to ``number`` is delivered, as far as it comes here."""
        if producer.read[partition] < number and not self._streams[partition].silent:
            return False
        line = producer.lines.get(partition)
        return line is None or line[0] > number

    def _release(self) -> list[T]:
        """Take out all that nothing holds back any more."""
        released: list[T] = []
        before = -1
        while self._blocked and before != len(released):
            before = len(released)
            for partition, stream in list(self._blocked.items()):
                while stream.line and self._is_free(stream.line[0]):
                    entry = stream.line.popleft()
                    released.append(entry.item)
                    lines = entry.producer.lines
                    lines[partition].popleft()
                    if not lines[partition]:
                        del lines[partition]
                if not stream.line:
                    del self._blocked[partition]
        return released

    def _is_free(self, entry: _Entry[T]) -> bool:
        waits = entry.waits
        while waits and self._is_over(entry.producer, *waits[-1]):
            waits.pop()
        return not waits

    def _forget(self, now: float) -> None:
        """Forget producers unseen for long; the last one has just been seen."""
        while True:
            name, longest = next(iter(self._producers.items()))
            self._forget_at = longest.seen_at + self._forget_after
            if self._forget_at >= now:
                return
            if longest.lines:
                longest.seen_at = now
                self._producers.move_to_end(name)
            else:
                del self._producers[name]
