"""The hub against a model of it that is too simple to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from channel_layers.exceptions import ChannelFull
from channel_layers.hub import Hub
from channel_layers.mailbox import Item

EXPIRY = 10.0
GROUP_EXPIRY = 35.0
CAPACITY = 3

channels = st.sampled_from(["plain", "other", "p.me!1", "p.me!2", "p.me!3"])
groups = st.sampled_from(["g", "h"])


@dataclass
class ModelChannel:
    owned: bool
    idle_since: float
    messages: list[tuple[float, bytes]] = field(default_factory=list)


class Model:
    """Channels and memberships as lists, looked through from front to back."""

    def __init__(self, *, drop_old: bool) -> None:
        self.drop_old = drop_old
        self.channels: dict[str, ModelChannel] = {}
        self.members: list[tuple[str, str, float]] = []  # group, channel, lapses at

    def open(self, name: str, now: float, *, owned: bool) -> None:
        self.channels.setdefault(name, ModelChannel(owned, now))

    def unexpired(self, name: str, now: float) -> list[tuple[float, bytes]]:
        return [message for message in self.channels[name].messages if message[0] > now]

    def put(self, name: str, body: bytes, now: float) -> bool:
        if len(self.unexpired(name, now)) >= CAPACITY:
            return False
        self.channels[name].messages.append((now + EXPIRY, body))
        return True

    def of_group(self, group: str, now: float) -> list[str]:
        return [c for g, c, lapses_at in self.members if g == group and lapses_at > now]

    def offer(self, name: str, body: bytes, now: float) -> bool:
        return self.put(name, body, now)

    def accept(self, name: str, body: bytes, now: float) -> None:
        self.channels[name].messages.append((now + EXPIRY, body))

    def take_all(self, name: str) -> list[bytes]:
        messages, self.channels[name].messages = self.channels[name].messages, []
        return [body for _, body in messages]

    def fan_out(self, group: str, body: bytes, now: float) -> None:
        for name in self.of_group(group, now):
            if len(self.unexpired(name, now)) >= CAPACITY:
                if not self.drop_old:
                    continue
                self.channels[name].messages.remove(self.unexpired(name, now)[0])
            self.channels[name].messages.append((now + EXPIRY, body))

    def take(self, name: str, now: float) -> bytes | None:
        channel = self.channels[name]
        channel.idle_since = now
        waiting = self.unexpired(name, now)
        channel.messages = waiting[1:]
        return waiting[0][1] if waiting else None

    def add(self, group: str, name: str, now: float) -> None:
        self.discard(group, name)
        self.members.append((group, name, now + GROUP_EXPIRY))
        self.channels[name].idle_since = now

    def discard(self, group: str, name: str) -> None:
        self.members = [m for m in self.members if m[:2] != (group, name)]

    def close(self, name: str) -> None:
        self.channels.pop(name, None)
        self.members = [m for m in self.members if m[1] != name]

    def tidy(self, now: float) -> None:
        self.members = [m for m in self.members if m[2] > now]
        for name, channel in list(self.channels.items()):
            if self.unexpired(name, now):
                continue
            if "!" in name:
                dead = not channel.owned and channel.idle_since + EXPIRY <= now
            else:
                dead = not any(m[1] == name for m in self.members)
            if dead:
                self.close(name)


class HubMachine(RuleBasedStateMachine):
    """The same history on the hub and on the model."""

    opened = Bundle("opened")

    @initialize(drop_old=st.booleans())
    def start(self, drop_old: bool) -> None:
        self.now = 1000.0
        self.sent = 0
        self.alive: dict[str, object] = {}
        self.hub = Hub(
            expiry=EXPIRY,
            group_expiry=GROUP_EXPIRY,
            capacity_of=lambda _: CAPACITY,
            overflow="drop_old" if drop_old else "drop_new",
            emptied=self.emptied,
        )
        self.empty: set[str] = {"g", "h"}
        """Groups that have lost their last member, going by what the hub told."""
        self.model = Model(drop_old=drop_old)

    def emptied(self, group: str) -> None:
        assert group not in self.empty, "told once"
        assert group not in self.hub.groups
        self.empty.add(group)

    def item(self) -> Item:
        self.sent += 1
        return Item(self.now + EXPIRY, str(self.sent).encode())

    @rule(target=opened, name=channels, owned=st.booleans())
    def open(self, name: str, owned: bool) -> str:
        if owned and name not in self.hub.boxes:
            self.alive[name] = object()
        self.hub.open(
            name,
            self.now,
            process="!" in name,
            owner=(lambda: self.alive.get(name)) if owned else None,
        )
        self.model.open(name, self.now, owned=owned and "!" in name)
        return name

    @rule(name=opened)
    def owner_dies(self, name: str) -> None:
        self.alive.pop(name, None)
        if name in self.model.channels:
            self.model.channels[name].owned = False

    @rule(name=opened)
    def put(self, name: str) -> None:
        if name not in self.model.channels:
            return
        item = self.item()
        fits = self.model.put(name, item.body, self.now)
        if fits:
            self.hub.put(self.hub.boxes[name], item, self.now)
        else:
            with pytest.raises(ChannelFull):
                self.hub.put(self.hub.boxes[name], item, self.now)

    @rule(name=opened)
    def offer(self, name: str) -> None:
        if name in self.model.channels:
            item = self.item()
            dropped = self.hub.drops.totals["capacity"]
            fits = self.model.offer(name, item.body, self.now)
            assert self.hub.offer(self.hub.boxes[name], item, self.now) == fits
            assert self.hub.drops.totals["capacity"] == dropped + (not fits)

    @rule(name=opened)
    def accept(self, name: str) -> None:
        if name in self.model.channels:
            item = self.item()
            self.hub.accept(self.hub.boxes[name], item)
            self.model.accept(name, item.body, self.now)

    @rule(name=opened, expected=st.integers(0, CAPACITY + 1))
    def require_room(self, name: str, expected: int) -> None:
        if name not in self.model.channels:
            return
        box, full = self.hub.boxes[name], self.hub.counters.channel_full
        if len(self.model.unexpired(name, self.now)) + expected < CAPACITY:
            self.hub.require_room(box, expected, self.now)
        else:
            with pytest.raises(ChannelFull):
                self.hub.require_room(box, expected, self.now)
            assert self.hub.counters.channel_full == full + 1

    @rule(name=opened)
    def take_all(self, name: str) -> None:
        if name in self.model.channels:
            taken = self.hub.take_all(self.hub.boxes[name])
            unexpired = [item.body for item in taken if item.deadline > self.now]
            expected = [body for _, body in self.model.unexpired(name, self.now)]
            self.model.take_all(name)
            assert unexpired == expected
            assert not self.hub.boxes[name].items

    @rule(group=groups)
    def fan_out(self, group: str) -> None:
        item = self.item()
        self.hub.fan_out(group, item, self.now)
        self.model.fan_out(group, item.body, self.now)

    @rule(name=opened)
    def take(self, name: str) -> None:
        if name in self.model.channels:
            item = self.hub.take(self.hub.boxes[name], self.now)
            assert (item and item.body) == self.model.take(name, self.now)

    @rule(group=groups, name=opened)
    def add(self, group: str, name: str) -> None:
        if name in self.model.channels:
            self.hub.add(group, self.hub.boxes[name], self.now)
            self.empty.discard(group)
            self.model.add(group, name, self.now)

    @rule(group=groups, name=opened)
    def discard(self, group: str, name: str) -> None:
        self.hub.discard(group, name)
        self.model.discard(group, name)

    @rule(name=opened)
    def close(self, name: str) -> None:
        self.hub.close(name)
        self.model.close(name)

    @rule()
    def flush(self) -> None:
        self.hub.flush()
        self.empty = {"g", "h"}  # whoever flushes knows
        self.model.members = []
        for channel in self.model.channels.values():
            channel.messages = []

    @rule(seconds=st.sampled_from([0.5, 4.0, 9.5, 11.0, 36.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def tidy(self) -> None:
        self.hub.tidy(self.now)
        self.model.tidy(self.now)
        assert set(self.hub.boxes) == set(self.model.channels)

    @rule(group=groups)
    def members(self, group: str) -> None:
        assert self.hub.members(group, self.now) == self.model.of_group(group, self.now)

    @invariant()
    def same_members(self) -> None:
        # Not by hub.members(), which would put right what the other operations must.
        for group in ("g", "h"):
            members = self.hub.groups.get(group, {})
            unlapsed = [box.channel for box, lapses_at in members.items() if lapses_at > self.now]
            assert unlapsed == self.model.of_group(group, self.now)

    @invariant()
    def whoever_asked_was_told_which_groups_are_empty(self) -> None:
        assert self.empty == {"g", "h"} - set(self.hub.groups)

    @invariant()
    def same_messages(self) -> None:
        for name in self.model.channels:
            waiting = [i.body for i in self.hub.boxes[name].items if i.deadline > self.now]
            assert waiting == [body for _, body in self.model.unexpired(name, self.now)]

    @invariant()
    def every_message_is_accounted_for(self) -> None:
        counters = self.hub.counters
        assert counters.waiting == sum(len(box.items) for box in self.hub.boxes.values())
        assert 0 <= counters.received <= counters.delivered

    @invariant()
    def no_trace_of_the_dead(self) -> None:
        in_groups = {box for members in self.hub.groups.values() for box in members}
        assert in_groups <= set(self.hub.boxes.values())
        assert all(self.hub.groups.values())
        for name, box in self.hub.boxes.items():
            assert box.groups != set()
            for group in box.groups or ():
                assert self.hub.boxes[name] in self.hub.groups[group]


def test_the_hub_does_as_the_model_does() -> None:
    run_state_machine_as_test(HubMachine)


def hub() -> Hub:
    return Hub(expiry=EXPIRY, group_expiry=GROUP_EXPIRY, capacity_of=lambda _: CAPACITY)


def test_a_membership_that_lapsed_gets_nothing_and_the_one_renewed_does() -> None:
    it = hub()
    lapsed, renewed = (it.open(name, 0.0, process=False) for name in ("lapsed", "renewed"))
    it.add("g", renewed, 0.0)
    it.add("g", lapsed, 0.0)
    it.add("g", renewed, 1.0)
    it.fan_out("g", Item(100.0, b"x"), GROUP_EXPIRY)
    assert (len(lapsed.items), len(renewed.items)) == (0, 1)


def test_ticking_alone_reclaims_what_came_and_went() -> None:
    it = hub()
    for number in range(2000):
        box = it.open(f"p.me!{number}", 0.0, process=True)
        it.add("g", box, 0.0)
        it.put(it.open(f"plain{number}", 0.0, process=False), Item(EXPIRY, b""), 0.0)
    now = 0.0
    while now < 3 * EXPIRY:
        now += 0.5
        it.tick(now)
    assert (len(it.boxes), len(it.groups), it.counters.waiting) == (0, 0, 0)
    assert it.drops.totals["expired"] == 2000


def test_one_tick_does_a_bounded_amount_of_work() -> None:
    it = hub()
    for number in range(5000):
        it.open(f"plain{number}", 0.0, process=False)
    it.tick(EXPIRY)
    assert 4000 < len(it.boxes) < 5000
    assert it.next_check <= EXPIRY, "the rest is due at once"


def test_a_reader_that_was_woken_keeps_its_channel_until_it_has_run() -> None:
    it = hub()
    box = it.open("p.me!1", 0.0, process=True)
    it.put(box, Item(1000.0, b"x"), 900.0)  # its waiter has been taken out to be woken
    it.tidy(900.0)
    assert it.boxes["p.me!1"] is box


def test_drops_are_told_at_a_limited_rate_and_all_of_them() -> None:
    it = hub()
    box = it.open("p.me!1", 0.0, process=True)
    it.add("g", box, 0.0)
    told = 0
    for number in range(1000):
        now = number / 100
        it.fan_out("g", Item(1e9, b""), now)
        told += len(notices := it.drops.notices(now)) and notices[0].count
    assert it.drops.totals["capacity"] == 1000 - CAPACITY
    last = it.drops.notices(1e6)
    assert told + last[0].count == 1000 - CAPACITY
    assert last[0].channel == "p.me!1"
