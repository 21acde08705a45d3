"""What one process knows of who is where: the presence protocol without any I/O or clock.

Every node (a process, or one event loop of it) owns the connections that live in it and
announces their coming and going as numbered deltas to all nodes. It keeps what the others told
only for the groups it is interested in. Whatever gets lost shows in the numbers, at the next
delta or beat at the latest, and is asked for; a node that is silent for ``PATIENCE`` of its
own beats is taken for dead, and its members have left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from channel_consumers.presence.frames import Ask, Beat, Bye, Delta, Entry, Frame, State
from channel_consumers.presence.people import People, Present

__all__ = ["Outgoing", "Roster"]

PATIENCE: Final = 3
"""Beats that a node may miss before it is taken for dead."""

_BATCH: Final = 500
"""The most members or groups in one frame, which bounds its size."""

Meta = dict[str, Any]
Outgoing = tuple[str | None, Frame]
"""Which node it is for (None: all), and the frame."""


class _Node:
    """Another node, as far as it is known."""

    __slots__ = ("every", "group_seqs", "groups", "seen", "seq", "unknown")

    def __init__(self, seq: int, every: float, now: float, interests: Iterable[str]) -> None:
        self.seq = seq
        """All its deltas up to here have been seen, or are covered by what was asked for."""
        self.every = every
        self.seen = now
        self.groups: dict[str, dict[int, tuple[str, Meta]]] = {}
        self.group_seqs: dict[str, int] = {}
        """Up to which delta a group's last full state reaches; that may be beyond ``seq``."""
        self.unknown = set(interests)
        """Groups whose members here must be asked for; what is known of them may be old."""


class Roster:
    """One node's view. Methods never block or raise for what other nodes say.

    Args:
        node: this node's identity: the channel where frames for it are sent.
        every: seconds between the beats of this node; the others are told.
    """

    def __init__(self, node: str, *, every: float, now: float) -> None:
        self.node = node
        self.every = every
        self._seq = 0
        self._own: dict[str, dict[int, tuple[str, Meta]]] = {}
        self._joins: dict[tuple[str, int], tuple[str, Meta]] = {}
        self._leaves: set[tuple[str, int]] = set()
        self._nodes: dict[str, _Node] = {}
        self._people: dict[str, People] = {}
        self._changed: set[str] = set()
        self._ask_all: set[str] = set()
        self._outbox: list[Outgoing] = []
        self._ticked = now
        self._heard_self = True

    # The members in this node

    def watch(self, group: str) -> None:
        """Take an interest in a group: ask who is there, and keep what is told of it."""
        if group not in self._people:
            self._people[group] = People()
            self._ask_all.add(group)
            for node in self._nodes.values():
                node.unknown.add(group)

    def unwatch(self, group: str) -> None:
        """Forget a group; its members in this node must have left."""
        self._people.pop(group, None)
        self._ask_all.discard(group)
        for node in self._nodes.values():
            node.groups.pop(group, None)
            node.group_seqs.pop(group, None)
            node.unknown.discard(group)

    def join(self, group: str, number: int, key: str, meta: Meta) -> None:
        """A connection of this node joins a watched group, or changes its key or meta."""
        own = self._own.setdefault(group, {})
        self._put(self.node, own, group, (number, key, meta))
        self._joins[group, number] = key, meta
        self._leaves.discard((group, number))

    def leave(self, group: str, number: int) -> None:
        """A connection of this node leaves; nothing happens if it is not there."""
        own = self._own.get(group, {})
        if number not in own:
            return
        self._drop(self.node, own, group, number)
        if not own:
            del self._own[group]
        self._joins.pop((group, number), None)
        self._leaves.add((group, number))

    # What is known

    @property
    def nodes(self) -> list[str]:
        """The other nodes that are taken for alive."""
        return list(self._nodes)

    def people(self, group: str) -> list[Present]:
        """Everybody in a watched group, on all nodes."""
        return self._people[group].all()

    def view(self, group: str) -> People:
        """The people of a watched group."""
        return self._people[group]

    def take_touched(self) -> Iterator[tuple[str, dict[str, Present | None]]]:
        """Each group in which something may have changed, with the persons as they were."""
        changed, self._changed = self._changed, set()
        for group in changed & self._people.keys():
            yield group, self._people[group].take_touched()

    # To and from other nodes

    def take_outgoing(self) -> list[Outgoing]:
        """All that is to be sent now, in order."""
        joins, leaves = iter(self._joins.items()), iter(self._leaves)
        while batch := list(islice(joins, _BATCH)):
            self._announce(joins=[(*where, *what) for where, what in batch])
        while gone := list(islice(leaves, _BATCH)):
            self._announce(leaves=gone)
        self._joins.clear()
        self._leaves.clear()
        self._ask(None, self._ask_all)
        self._ask_all.clear()
        outbox, self._outbox = self._outbox, []
        return outbox

    def receive(self, frame: Frame, now: float) -> None:
        """Take in what a node said."""
        if frame.node == self.node:
            self._heard_self = True
            return
        node = self._nodes.get(frame.node)
        if node is not None:
            node.seen = now
        match frame:
            case Delta():
                self._receive_delta(frame, node, now)
            case Beat(seq=seq, every=every):
                node = node or self._meet(frame.node, seq, every, now)
                node.every = every
                if seq > node.seq:
                    self._missed(node, seq)
                self._ask(frame.node, node.unknown)
            case State():
                self._receive_state(frame, node, now)
            case Ask(groups=groups):
                self._answer(frame.node, groups)
            case Bye():
                self._bury(frame.node)

    def beat(self, now: float) -> bool:
        """Announce that this node lives and look for dead ones; call it every ``every`` seconds.

        Returns:
            Whether this node has heard its own frames since the last beat; if not, it may have
            fallen out of the layer's group, should join that again, and asks everybody anew.
        """
        asleep = now - self._ticked > 2 * self.every
        self._ticked = now
        for name, node in list(self._nodes.items()):
            if asleep:
                node.seen = now  # it was this node that could not hear
            elif now - node.seen > PATIENCE * node.every:
                self._bury(name)
        heard, self._heard_self = self._heard_self, False
        if not heard:
            for node in self._nodes.values():
                node.unknown.update(self._people)
            self._ask_all.update(self._people)
        # Deltas that wait are counted first: the beat must not announce what nobody can have.
        outgoing = self.take_outgoing()
        self._outbox = [*outgoing, (None, Beat(self.node, self._seq, self.every))]
        return heard

    def bye(self) -> None:
        """Announce that this node ends; it must have no members any more."""
        self._joins.clear()
        self._leaves.clear()
        self._ask_all.clear()
        self._outbox = [(None, Bye(self.node))]

    # Helpers

    def _receive_delta(self, frame: Delta, node: _Node | None, now: float) -> None:
        if node is None:
            node = self._meet(frame.node, frame.seq, self.every, now)
            self._ask(frame.node, node.unknown)
        elif frame.seq <= node.seq:
            return
        elif frame.seq == node.seq + 1:
            node.seq = frame.seq
        else:
            self._missed(node, frame.seq)
            self._ask(frame.node, node.unknown)
        for group, number, key, meta in frame.joins:
            if group in self._people and frame.seq > node.group_seqs.get(group, 0):
                own = node.groups.setdefault(group, {})
                self._put(frame.node, own, group, (number, key, meta))
        for group, number in frame.leaves:
            own = node.groups.get(group, {})
            if number in own and frame.seq > node.group_seqs.get(group, 0):
                self._drop(frame.node, own, group, number)

    def _receive_state(self, frame: State, node: _Node | None, now: float) -> None:
        node = node or self._meet(frame.node, frame.seq, frame.every, now)
        interesting = frame.groups.keys() & self._people.keys()
        if frame.seq < node.seq:
            # It crossed a newer delta on its way; ask for the same again.
            self._ask(frame.node, interesting & node.unknown)
            return
        for group in interesting:
            if frame.seq < node.group_seqs.get(group, 0):
                continue
            node.group_seqs[group] = frame.seq
            node.unknown.discard(group)
            own = node.groups.setdefault(group, {})
            entries = frame.groups[group]
            for number in own.keys() - {entry[0] for entry in entries}:
                self._drop(frame.node, own, group, number)
            for entry in entries:
                if own.get(entry[0]) != entry[1:]:
                    self._put(frame.node, own, group, entry)

    def _meet(self, name: str, seq: int, every: float, now: float) -> _Node:
        node = self._nodes[name] = _Node(seq, every, now, self._people)
        return node

    def _missed(self, node: _Node, seq: int) -> None:
        node.seq = seq
        node.unknown.update(self._people)

    def _bury(self, name: str) -> None:
        node = self._nodes.pop(name, None)
        if node is not None:
            for group, own in node.groups.items():
                for number in list(own):
                    self._drop(name, own, group, number)

    def _announce(
        self,
        joins: list[tuple[str, int, str, Meta]] | None = None,
        leaves: list[tuple[str, int]] | None = None,
    ) -> None:
        self._seq += 1
        self._outbox.append((None, Delta(self.node, self._seq, joins or [], leaves or [])))

    def _ask(self, whom: str | None, groups: Iterable[str]) -> None:
        names = iter(sorted(groups))
        while batch := list(islice(names, _BATCH)):
            self._outbox.append((whom, Ask(self.node, batch)))

    def _answer(self, asker: str, groups: list[str]) -> None:
        # A pending delta is not in seq yet but in the state: taking it in twice does no harm.
        answer: dict[str, list[Entry]] = {}
        size = 0
        for group in groups:
            own = self._own.get(group)
            answer[group] = [(n, key, meta) for n, (key, meta) in own.items()] if own else []
            size += len(answer[group]) + 1
            if size >= _BATCH:
                self._outbox.append((asker, State(self.node, self._seq, self.every, answer)))
                answer, size = {}, 0
        if answer:
            self._outbox.append((asker, State(self.node, self._seq, self.every, answer)))

    def _put(self, node: str, own: dict[int, tuple[str, Meta]], group: str, entry: Entry) -> None:
        number, key, meta = entry
        before = own.get(number)
        people = self._people[group]
        self._changed.add(group)
        if before is not None and before[0] != key:
            people.drop((node, number), before[0])
        own[number] = key, meta
        people.put((node, number), key, meta)

    def _drop(self, node: str, own: dict[int, tuple[str, Meta]], group: str, number: int) -> None:
        key, _ = own.pop(number)
        self._changed.add(group)
        self._people[group].drop((node, number), key)
