"""What comes from the broker, into the mailboxes of this process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from channel_layers.codec import Position
from channel_layers.controls import (
    Add,
    Answer,
    Ask,
    Control,
    Discard,
    Flush,
    decode_control,
    encode_control,
)
from channel_layers.duplicates import Duplicates
from channel_layers.envelope import (
    VERSION,
    BadFrame,
    Envelope,
    Kind,
    decode_envelope,
    encode_envelope,
)
from channel_layers.exceptions import LayerError
from channel_layers.hub import Hub
from channel_layers.mailbox import Item
from channel_layers.merging import Departures, Merger
from channel_layers.sealing import CannotOpen, Seal
from channel_layers.signals import layer_connected, layer_disconnected, layer_gap
from channel_layers.wake import Waker

if TYPE_CHECKING:
    from channel_layers.brokered import BrokeredLayer
    from channel_layers.membership import Membership
    from channel_layers.pulling import Puller
    from channel_layers.questions import Questions
    from channel_layers.transport import Transport

__all__ = ["UNREADABLE", "Departed", "Router"]

logger = logging.getLogger("channel_layers")

UNREADABLE: Final = (BadFrame, CannotOpen, msgspec.DecodeError, UnicodeDecodeError)
"""What a frame raises that no layer with our keys has written."""

FORGET_SECONDS: Final = 120.0
FENCE_SECONDS: Final = 0.5


class Departed(NamedTuple):
    """An envelope that is on its way."""

    sequence: int
    repeats: int
    """Of its partition, when it left."""


class _Arrival(NamedTuple):
    envelope: Envelope
    deadline: float
    position: Position | None


class Router:
    """The transport's :class:`~channel_layers.transport.Arrivals`. Lives on the home loop."""

    def __init__(
        self,
        layer: BrokeredLayer,
        transport: Transport,
        hub: Hub,
        lock: threading.Lock,
        waker: Waker,
        seal: Seal,
    ) -> None:
        options = layer.options
        self._layer = layer
        self._transport = transport
        self._hub = hub
        self._lock = lock
        self._waker = waker
        self._seal = seal
        self._clock = layer._clock  # the same package
        self._lifetime_ms = int(options.expiry * 1000)
        self._duplicates = Duplicates(forget_after=FORGET_SECONDS)
        self._departures = Departures(transport.partitions, window=options.expiry)
        self._merger: Merger[_Arrival] | None = None
        if transport.partitions > 1:
            self._merger = Merger(
                transport.partitions, patience=options.send_timeout, forget_after=FORGET_SECONDS
            )
        self._give_up: asyncio.TimerHandle | None = None
        self._expected: dict[str, int] = {}
        """Own process channel -> messages that this process sent to it and that are under way."""
        self.woken = 0
        """Readers that were woken by messages to groups."""
        self.reconnections = 0
        self.gaps = 0

    def begin(
        self,
        membership: Membership,
        puller: Puller,
        questions: Questions,
        *,
        spawn: Callable[[Coroutine[object, object, None]], None],
    ) -> None:
        """Work with these parts from now on, on the event loop that runs now."""
        self._membership = membership
        self._puller = puller
        self._questions = questions
        self._spawn = spawn
        self._give_up = None
        if self._merger is not None:
            for partition in range(self._transport.partitions):
                self._merger.reset(partition)
            self._deliver_all(())

    def counts(self) -> dict[str, int]:
        """For ``stats()``."""
        return {
            "duplicates": self._duplicates.found,
            "reconnections": self.reconnections,
            "gaps": self.gaps,
        }

    # What this process sends

    def landed(self, target: str, departed: Departed) -> None:
        """The broker has confirmed an envelope."""
        if self._merger is not None:
            partition = self._transport.partition_of(target)
            again = self._transport.repeats(partition) != departed.repeats
            self._departures.landed(partition, departed.sequence, self._clock(), again=again)

    def expect(self, channel: str) -> bool:
        """Keep room in an own channel for a message that goes through the broker.

        Returns:
            False if there is no such channel.

        Raises:
            ChannelFull: there is no room.
        """
        with self._lock:
            box = self._hub.boxes.get(channel)
            if box is None:
                self._hub.drops.add("gone", channel)
                return False
            under_way = self._expected.get(channel, 0)
            self._hub.require_room(box, under_way, self._clock())
            self._expected[channel] = under_way + 1
            return True

    def expect_no_more(self, channel: str) -> None:
        """One of them has come, or will not."""
        under_way = self._expected.pop(channel, 0) - 1
        if under_way > 0:
            self._expected[channel] = under_way

    # What comes

    def arrived(self, partition: int, frame: bytes, age: float, position: Position | None) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""
        now = self._clock()
        try:
            envelope = decode_envelope(frame)
        except BadFrame as error:
            self.garbage("", str(error))
            return
        if not self._duplicates.is_new((envelope.producer, partition), envelope.sequence, now):
            return
        arrival = _Arrival(envelope, now + envelope.lifetime_ms / 1000 - age, position)
        if self._merger is None:
            self._deliver(arrival)
        else:
            self._deliver_all(
                self._merger.arrived(
                    partition, envelope.producer, envelope.sequence, envelope.after, arrival, now
                )
            )

    def holds_back(self) -> bool:
        """Whether something has been read that waits for something else."""
        return self._merger is not None and self._merger.held_back > 0

    def fence_read(self, partition: int, token: str) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""
        if self._merger is not None and token.isdecimal():
            self._deliver_all(self._merger.fence_read(partition, int(token), self._clock()))

    def wanted(self, channel: str) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""
        self._puller.look(channel)

    def overflowed(self, target: str, count: int) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""
        with self._lock:
            self._hub.drops.add("capacity", target, count)

    def expired(self, channel: str, count: int) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""
        with self._lock:
            self._hub.drops.add("expired", channel, count)

    def garbage(self, target: str, reason: str) -> None:
        """Something came that cannot be read."""
        logger.debug("Dropped a frame for %r: %s", target, reason)
        with self._lock:
            self._hub.drops.add("decode", target)
        self._layer._report_drops()  # the same package

    def _deliver_all(self, arrivals: Iterable[_Arrival]) -> None:
        for arrival in arrivals:
            self._deliver(arrival)
        merger = self._merger
        if merger is None:
            return
        for partition, token in merger.fences():
            self._spawn(self._fence(partition, token))
        deadline = merger.next_deadline()
        if deadline is not None and self._give_up is None:
            loop = asyncio.get_running_loop()
            self._give_up = loop.call_later(max(0, deadline - self._clock()), self._lose_patience)

    def _lose_patience(self) -> None:
        self._give_up = None
        if self._merger is not None:
            self._deliver_all(self._merger.give_up(self._clock()))

    async def _fence(self, partition: int, token: int) -> None:
        try:
            await self._transport.fence(partition, str(token))
        except LayerError as error:
            logger.info("Messages wait for those of another partition: %s", error)
            await asyncio.sleep(FENCE_SECONDS)  # what failed at once must not be tried at once
            self._fence_lost(partition)

    def _fence_lost(self, partition: int) -> None:
        if self._merger is not None:
            self._merger.reset(partition)
            self._deliver_all(())

    def _deliver(self, arrival: _Arrival) -> None:
        envelope, deadline, position = arrival
        kind, target = envelope.kind, envelope.target
        try:
            body = self._seal.open(envelope.body)
            if kind == Kind.CONTROL:
                self._control(decode_control(body), envelope.producer)
                return
        except UNREADABLE as error:
            self.garbage(target, str(error))
            return
        hub = self._hub
        with self._lock:
            now = self._clock()
            if kind == Kind.GROUP:
                item = Item(deadline, body, shared=True, group=target, position=position)
                if woken := hub.fan_out(target, item, now):
                    self._waker.wake(woken)
                    self.woken += len(woken)
                if target in self._membership.adding:
                    self._membership.came(target, item)
            elif kind == Kind.PROCESS_CHANNEL:
                if envelope.producer == self._layer.process:
                    self.expect_no_more(target)
                box = hub.boxes.get(target)
                if box is None:
                    hub.drops.add("gone", target)
                elif hub.offer(box, Item(deadline, body), now) and box.waiters:
                    self._waker.wake((box,))
            if hub.next_check <= now:
                hub.tick(now)
        if hub.drops.untold:
            self._layer._report_drops()  # the same package

    def _control(self, control: Control, producer: str) -> None:
        own = self._layer.process
        if isinstance(control, Add):
            with self._lock:
                now = self._clock()
                self._membership.add(control.group, control.channel, now, own=producer == own)
        elif isinstance(control, Discard):
            with self._lock:
                token = control.token if producer == own else None
                self._membership.discard(control.group, control.channel, own=token)
        elif isinstance(control, Ask):
            with self._lock:
                members = self._hub.members(control.group, self._clock())
            answer = Answer(own, control.token, members)
            self._spawn(self._answer(control.group, control.process, answer))
        elif isinstance(control, Flush):
            with self._lock:
                self._hub.flush()
                self._membership.flushed()
                self._expected.clear()
            self._puller.look_everywhere()
            self._spawn(self._answer("", control.process, Answer(own, control.token)))
        else:
            self._questions.answered(control.token, control.process, control.channels)

    async def _answer(self, group: str, process: str, answer: Answer) -> None:
        try:
            await self._transport.tell(group, process, self.control_frame(group, answer))
        except LayerError as error:
            logger.info("Could not answer %s: %s", process, error)

    def control_frame(self, group: str, control: Control) -> bytes:
        """A control as it travels, in the order of the messages to ``group``."""
        return self.frame(Kind.CONTROL, group, encode_control(control))[0]

    def frame(self, kind: Kind, target: str, body: bytes) -> tuple[bytes, Departed]:
        """An envelope as it travels, and what :meth:`landed` is to be told of it."""
        partition = self._transport.partition_of(target)
        sequence, after = self._departures.depart(partition, self._clock())
        envelope = Envelope(
            version=VERSION,
            kind=kind,
            target=str.__str__(target),  # msgspec takes no subclass, such as ChannelName
            producer=self._layer.process,
            sequence=sequence,
            lifetime_ms=self._lifetime_ms,
            body=self._seal.seal(body),
            after=after,
        )
        return encode_envelope(envelope), Departed(sequence, self._transport.repeats(partition))

    # What happens to the connection

    def connected(self, *, again: bool) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""
        self.reconnections += again
        self._puller.look_everywhere()
        layer_connected.send_robust(type(self._layer), layer=self._layer, reconnected=again)

    def disconnected(self, partition: int, reason: str) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""
        self._fence_lost(partition)
        layer_disconnected.send_robust(type(self._layer), layer=self._layer, reason=reason)

    def lost(self, partition: int, reason: str) -> None:
        """See :class:`~channel_layers.transport.Arrivals`."""

        def concerned(name: str) -> bool:
            return self._transport.partition_of(name) == partition

        self.gaps += 1
        with self._lock:
            self._membership.lost(concerned, self._clock())
            self._expected.clear()
            groups = tuple(filter(concerned, self._hub.groups))
            workers = any(not box.process for box in self._hub.boxes.values())
        self._spawn(self._membership.restore_plain(concerned, self._clock()))
        self._fence_lost(partition)
        logger.warning("Messages may have been lost: %s.", reason)
        if groups or workers:  # no groups means: whatever this process reads
            layer_gap.send_robust(
                type(self._layer), layer=self._layer, groups=groups, reason=reason
            )

    def joined(self) -> Collection[str]:
        """See :class:`~channel_layers.transport.Arrivals`."""
        return self._membership.joined
