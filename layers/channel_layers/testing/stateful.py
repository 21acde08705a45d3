"""A Hypothesis state machine: any sequence of verbs, compared with a naive model.

The model is a dict of lists: what each channel still owes its readers, and who is in which group.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.law import HURRIED_PATIENCE
from channel_layers.testing.protocols import AnyLayer, Message
from channel_layers.testing.scene import Scene

__all__ = ["LayerMachine", "Model"]

T = TypeVar("T")

STEP_LIMIT: Final = 3
"""In so many times the patience a verb has to end."""

INSTANCES = 3
PLAIN = ("jobs", "a..b")
GROUPS = ("chat", ".odd")

instances = st.integers(0, INSTANCES - 1)
groups = st.sampled_from(GROUPS)


class Model:
    """What a channel layer is, written to be read."""

    def __init__(self) -> None:
        self.owed: dict[str, list[Message]] = {}
        self.members: dict[str, set[str]] = {group: set() for group in GROUPS}

    def open(self, channel: str) -> None:
        """A channel exists."""
        self.owed.setdefault(channel, [])

    def send(self, channel: str, message: Message) -> None:
        """A channel owes its readers one message more."""
        self.owed[channel].append(message)

    def group_send(self, group: str, message: Message) -> None:
        """So does each member."""
        for channel in self.members[group]:
            self.send(channel, message)

    def receive(self, channel: str, message: Message) -> None:
        """A reader got a message.

        Raises:
            AssertionError: it was not owed, or another one of the same sender was first.
        """
        owed = self.owed[channel]
        assert message in owed, f"{channel!r} delivered {message}; it owed {owed}"
        first = next(other for other in owed if other["by"] == message["by"])
        assert message == first, f"{channel!r} delivered {message} before {first}"
        owed.remove(message)

    def close(self, channel: str) -> None:
        """A channel is forgotten."""
        del self.owed[channel]
        for members in self.members.values():
            members.discard(channel)

    def flush(self) -> None:
        """Everything but the channels is forgotten."""
        for owed in self.owed.values():
            owed.clear()
        for members in self.members.values():
            members.clear()


class LayerMachine(RuleBasedStateMachine):
    """Uses several instances of a layer in any order of verbs.

    A subclass sets ``under_test``; each run has a fresh event loop and fresh instances.
    """

    under_test: LayerUnderTest
    failures: list[tuple[list[str], Exception]]
    """The steps and the error of each run that failed."""
    channels: Bundle[str] = Bundle("channels")

    def __init__(self) -> None:
        super().__init__()
        self.under_test.learn()
        self.runner = asyncio.Runner()
        self.patience = self.under_test.patience
        if self.failures:
            self.patience = min(self.patience, HURRIED_PATIENCE)
        self.stack = AsyncExitStack()
        self.scene: Scene = self.run(self.stack.enter_async_context(self.under_test.scene({})))
        self.scene.patience = self.patience
        self.layers: list[AnyLayer] = self.run(self._instances())
        self.model = Model()
        self.owner: dict[str, int] = {}
        self.readers: dict[str, asyncio.Task[Message]] = {}
        self.sent = 0
        self.trace: list[str] = []
        for name in PLAIN:
            self.model.open(name)

    def did(self, verb: str, *args: object) -> None:
        """Note a step; where the layer is not deterministic Hypothesis cannot show them."""
        names = {name: f"channel {number}" for number, name in enumerate(self.model.owed)}
        self.trace.append(f"{verb}({', '.join(str(names.get(str(a), a)) for a in args)})")

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        """Let the loop go round until this is done."""
        return self.runner.run(self._limited(coroutine))

    async def _limited(self, coroutine: Coroutine[object, object, T]) -> T:
        seconds = STEP_LIMIT * self.patience
        try:
            async with asyncio.timeout(seconds):
                return await coroutine
        except TimeoutError as error:
            raise AssertionError(f"It hangs, or needs more than {seconds:g} s.") from error

    async def _instances(self) -> list[AnyLayer]:
        return self.scene.layers(INSTANCES)

    # Channels

    @rule(target=channels, who=instances)
    def new_channel(self, who: int) -> str:
        """A channel of one instance."""
        self.did("new_channel", who)
        channel = self.run(self.layers[who].new_channel())
        assert channel not in self.model.owed, "the name was there before"
        self.owner[channel] = who
        self.model.open(channel)
        return channel

    @rule(target=channels, name=st.sampled_from(PLAIN), who=instances)
    def plain_channel(self, name: str, who: int) -> str:
        """A plain channel; some instance reads it."""
        self.owner.setdefault(name, who)
        return name

    @precondition(lambda self: self.under_test.lacks("close_channel") is None)
    @rule(channel=channels)
    def close_channel(self, channel: str) -> None:
        """A process channel is closed; readers that wait get an error."""
        self.did("close_channel", channel)
        if "!" not in channel or channel not in self.model.owed:
            return
        reader = self.readers.pop(channel, None)
        if reader is not None and self._has_ended(reader):
            self.model.receive(channel, reader.result())
            reader = None
        self.run(self.layers[self.owner[channel]].close_channel(channel))
        self.model.close(channel)
        if reader is not None:
            error = self.run(_outcome(reader, self.scene.patience))
            assert type(error).__name__ == "LayerClosed", f"its reader got {error!r}"

    # Messages

    def _message(self, who: int) -> Message:
        self.sent += 1
        # Instances that are one and the same are one sender.
        return {"type": "t", "by": who if self.under_test.distributed else 0, "n": self.sent}

    @rule(channel=channels, who=instances)
    def send(self, channel: str, who: int) -> None:
        """One message to one channel, also to one that was closed."""
        self.did("send", channel, who)
        message = self._message(who)
        self.run(self.layers[who].send(channel, message))
        if channel in self.model.owed:
            self.model.send(channel, message)

    @rule(group=groups, who=instances, count=st.integers(1, 3))
    def group_send(self, group: str, who: int, count: int) -> None:
        """Messages to a group."""
        self.did("group_send", group, who, count)
        for _ in range(count):
            message = self._message(who)
            self.run(self.layers[who].group_send(group, message))
            self.model.group_send(group, message)

    @rule(channel=channels)
    def receive(self, channel: str) -> None:
        """Receive what is owed; where nothing is, a reader must go on waiting."""
        self.did("receive", channel)
        if channel not in self.model.owed:
            return
        layer = self.layers[self.owner[channel]]
        if channel in self.readers:
            self._settle(channel)
        elif self.model.owed[channel]:
            message = self.run(self.scene.receive(layer, channel))
            self.model.receive(channel, message)
        else:
            found = self.run(self.scene.stragglers(layer, channel, 0.001))
            assert not found, f"{channel!r} delivered {found}; it owed nothing"

    @rule(channel=channels)
    def start_reader(self, channel: str) -> None:
        """A reader begins to wait, in the background."""
        self.did("start_reader", channel)
        if channel not in self.readers and channel in self.model.owed:
            layer = self.layers[self.owner[channel]]
            self.readers[channel] = self.run(_started(layer, channel))

    @rule(channel=channels, turns=st.integers(0, 5))
    def cancel_reader(self, channel: str, turns: int) -> None:
        """A reader is cancelled at any moment; what it had got by then counts."""
        self.did("cancel_reader", channel, turns)
        reader = self.readers.pop(channel, None)
        if reader is not None:
            message = self.run(_cancelled(reader, turns))
            if message is not None:
                self.model.receive(channel, message)

    # Groups

    @rule(group=groups, channel=channels, who=instances)
    def group_add(self, group: str, channel: str, who: int) -> None:
        """A channel joins, by any instance."""
        self.did("group_add", group, channel, who)
        if channel in self.model.owed:
            self.run(self.scene.settle(self.layers, self.layers[self.owner[channel]]))
            self.run(self.layers[who].group_add(group, channel))
            self.model.members[group].add(channel)

    @rule(group=groups, channel=channels, who=instances)
    def group_discard(self, group: str, channel: str, who: int) -> None:
        """A channel leaves, by any instance, whether it was in the group or not."""
        self.group_discard_now(group, channel, who)

    def group_discard_now(self, group: str, channel: str, who: int) -> None:
        """What both rules do."""
        self.did("group_discard", group, channel, who)
        self.run(self.layers[who].group_discard(group, channel))
        self.model.members[group].discard(channel)

    @rule(group=groups, number=st.integers(0, 9), who=instances)
    def discard_a_member(self, group: str, number: int, who: int) -> None:
        """A channel that is in the group leaves: at random that is rare."""
        members = [name for name in self.model.owed if name in self.model.members[group]]
        if members:
            self.group_discard_now(group, members[number % len(members)], who)

    # The layer

    @precondition(lambda self: "flush" in self.under_test.extensions)
    @rule(who=instances)
    def flush(self, who: int) -> None:
        """Everything is forgotten; readers that wait go on waiting."""
        self.did("flush", who)
        for channel in list(self.readers):
            if self.model.owed[channel]:
                self._settle(channel)
        self.run(self.layers[who].flush())
        self.model.flush()

    @precondition(lambda self: self.under_test.lacks("group_channels") is None)
    @invariant()
    def members_agree(self) -> None:
        """group_channels() lists exactly the members."""
        for group, expected in self.model.members.items():
            found = self.run(self.layers[0].group_channels(group))
            assert set(found) == expected, f"{group!r} has {found}, should have {expected}"

    def teardown(self) -> None:
        """Every channel delivers all that it owes, and no more."""
        error = sys.exception()
        try:
            if error is None:
                self._final_accounts()
        except Exception as raised:
            error = raised
            raise
        finally:
            if isinstance(error, Exception) and type(error).__module__ != "hypothesis.errors":
                self.failures.append((self.trace, error))
            self.run(_ended(list(self.readers.values())))
            self.run(self.stack.aclose())
            self.runner.close()

    def _final_accounts(self) -> None:
        for channel in list(self.readers):
            self.cancel_all(channel)
        for channel, owed in self.model.owed.items():
            if channel in self.owner:
                layer = self.layers[self.owner[channel]]
                for message in self.run(self.scene.drain(layer, channel)):
                    self.model.receive(channel, message)
                assert not owed, f"{channel!r} never delivered {owed}"

    def cancel_all(self, channel: str) -> None:
        """End a background reader."""
        message = self.run(_cancelled(self.readers.pop(channel), 0))
        if message is not None:
            self.model.receive(channel, message)

    def _settle(self, channel: str) -> None:
        """Let a background reader have what its channel owes."""
        if not self.model.owed[channel]:
            return
        message = self.run(_outcome(self.readers.pop(channel), self.scene.patience))
        assert isinstance(message, dict), f"the reader of {channel!r} got {message!r}"
        self.model.receive(channel, message)

    def _has_ended(self, reader: asyncio.Task[Message]) -> bool:
        self.run(asyncio.sleep(0))
        return reader.done()


async def _started(layer: AnyLayer, channel: str) -> asyncio.Task[Message]:
    task = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)
    return task


async def _cancelled(task: asyncio.Task[Message], turns: int) -> Message | None:
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def _ended(tasks: list[asyncio.Task[Message]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(task: asyncio.Task[Message], patience: float) -> Message | BaseException:
    try:
        async with asyncio.timeout(patience):
            return await task
    except Exception as error:  # noqa: BLE001  # the caller judges it
        return error
