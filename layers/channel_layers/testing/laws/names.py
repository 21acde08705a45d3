"""Promise 1: legal names work, others are refused before anything happens, prefixes never meet."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine
from typing import Final

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import always, law, not_applicable, over
from channel_layers.testing.scene import Scene
from channel_layers.testing.strategies import (
    AWKWARD,
    MAX_LENGTH,
    NOT_NAMES,
    group_names,
    illegal_channel_names,
    illegal_group_names,
    local_parts,
    plain_channel_names,
)

NEARLY_THE_SAME: Final[dict[str, Callable[[str], str]]] = {
    "the other case": str.swapcase,
    "a dot more": lambda name: name + ".",
    "a dot before": lambda name: "." + name,
    "without the last": lambda name: name[:-1],
    "another last": lambda name: name[:-1] + ("a" if name[-1] != "a" else "b"),
    "_ for .": lambda name: name.replace(".", "_"),
    "- for _": lambda name: name.replace("_", "-"),
    "without dots": lambda name: name.replace(".", ""),
}


def refused_at_once(verb: Coroutine[object, object, object]) -> None:
    """Assert that ``verb`` raises TypeError before it waits for anything."""
    try:
        verb.send(None)
    except TypeError:
        return
    except StopIteration:
        raise AssertionError("an illegal name was accepted") from None
    except Exception as error:
        raise AssertionError(f"an illegal name raised {error!r}, not TypeError") from error
    finally:
        verb.close()
    raise AssertionError("an illegal name was not refused at once: the verb began to wait")


@pytest.mark.promise(1)
class TestNames:
    @law()
    @over(name=plain_channel_names())
    @always({"name": value} for value in AWKWARD)
    async def test_any_legal_plain_name_works(self, scene: Scene, name: str) -> None:
        """A message comes through a plain channel with any legal name."""
        sender, reader = scene.layers(2)
        await sender.send(name, {"type": "t", "name": name})
        assert await scene.receive(reader, name) == {"type": "t", "name": name}

    @law(needs=("groups",))
    @over(group=group_names())
    @always({"group": value} for value in AWKWARD)
    async def test_any_legal_group_name_works(self, scene: Scene, group: str) -> None:
        """A message comes through a group with any legal name."""
        sender, reader = scene.layers(2)
        channel = await reader.new_channel()
        await reader.group_add(group, channel)
        await sender.group_send(group, {"type": "t"})
        assert await scene.receive(reader, channel) == {"type": "t"}
        await reader.group_discard(group, channel)
        await sender.group_send(group, {"type": "late"})
        assert await scene.drain(reader, channel) == []

    @law(needs=("groups",))
    @over(one=group_names(), change=st.sampled_from(sorted(NEARLY_THE_SAME)))
    async def test_names_are_not_mixed_up(self, scene: Scene, one: str, change: str) -> None:
        """Two groups whose names differ, however little, are two groups."""
        other = NEARLY_THE_SAME[change](one)
        if other == one or not 0 < len(other) <= MAX_LENGTH:
            return
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_add(one, channel)
        await layer.group_send(other, {"type": "not for us"})
        assert await scene.drain(layer, channel) == []

    @law(needs=("groups",))
    @over(local=local_parts())
    async def test_any_legal_local_part_works(self, scene: Scene, local: str) -> None:
        """What follows the ! of a channel of this process may be any Unicode letters."""
        sender, reader = scene.layers(2)
        head, mark, _ = (await reader.new_channel("x")).partition("!")
        if not mark:
            not_applicable("new_channel() returns names without '!'")
        channel = f"{head}!{local}"[:MAX_LENGTH]
        await reader.group_add("g", channel)
        await sender.send(channel, {"type": "sent"})
        await sender.group_send("g", {"type": "group"})
        found = await scene.receive_all(reader, channel, 2)
        assert {str(message["type"]) for message in found} == {"sent", "group"}

    @law()
    @over(name=illegal_channel_names())
    @always({"name": value} for value in NOT_NAMES)
    async def test_illegal_channel_names_are_refused_at_once(
        self, scene: Scene, name: object
    ) -> None:
        """What is no channel name is a TypeError from every verb, before it does anything."""
        layer = scene.layer()
        refused_at_once(layer.send(name, {"type": "t"}))  # type: ignore[arg-type]
        refused_at_once(layer.receive(name))  # type: ignore[arg-type]
        refused_at_once(layer.group_add("group", name))  # type: ignore[arg-type]
        refused_at_once(layer.group_discard("group", name))  # type: ignore[arg-type]

    @law(needs=("groups",))
    @over(name=illegal_group_names())
    @always({"name": value} for value in [*NOT_NAMES, "a!b", "a!"])
    async def test_illegal_group_names_are_refused_at_once(
        self, scene: Scene, name: object
    ) -> None:
        """What is no group name is a TypeError from every verb, before it does anything."""
        layer = scene.layer()
        refused_at_once(layer.group_add(name, "channel"))  # type: ignore[arg-type]
        refused_at_once(layer.group_discard(name, "channel"))  # type: ignore[arg-type]
        refused_at_once(layer.group_send(name, {"type": "t"}))  # type: ignore[arg-type]

    @law(effort=0.2)
    @over(count=st.integers(2, 50), seed=st.integers(0, 9))
    async def test_new_channels_are_never_repeated(
        self, scene: Scene, count: int, seed: int
    ) -> None:
        """new_channel() never returns a name twice, even if random is seeded anew."""
        names: list[str] = []
        state = random.getstate()
        try:
            for layer in scene.layers(2):
                random.seed(seed)
                names += await asyncio.gather(*(layer.new_channel() for _ in range(count)))
        finally:
            random.setstate(state)
        assert len(set(names)) == len(names)
        assert all(0 < len(name) <= MAX_LENGTH for name in names)

    @law(needs=("distributed",), config={"prefix": "probe"})
    @over(
        tail=st.sampled_from(["2", ".a", "-", "_", "x", "..", ".a.b"]),
        rest=st.sampled_from(["a", "b", ".a", "a.b"]),
        flush=st.sampled_from(["no", "the longer", "the shorter"]),
    )
    @always([{"tail": "2", "rest": "a", "flush": "the shorter"}])
    async def test_prefixes_never_meet(
        self, scene: Scene, tail: str, rest: str, flush: str
    ) -> None:
        """Nothing crosses from one prefix to another, not even a flush, however alike they are."""
        base = f"p{secrets.token_hex(8)}"  # Hypothesis makes ``random`` repeat itself
        prefixes = [base, base + tail]
        if flush == "the shorter":
            prefixes.reverse()
        ours, theirs = (scene.layer(prefix=prefix) for prefix in prefixes)
        # Put together without care, "p" and ".a.b" make the same as "p.a" and ".b".
        name = f"{tail}{rest}" if tail.startswith(".") else rest
        mine = await ours.new_channel()
        await ours.group_add(rest, mine)
        await ours.send(rest, {"type": "kept"})
        await ours.send(mine, {"type": "kept"})
        for target in {rest, name}:
            await theirs.send(target, {"type": "stray"})
            await theirs.group_send(target, {"type": "stray"})
        if flush != "no" and "flush" in theirs.extensions:
            await theirs.flush()
        await ours.group_send(rest, {"type": "still a member"})
        assert await scene.drain(ours, rest) == [{"type": "kept"}]
        assert await scene.drain(ours, mine) == [{"type": "kept"}, {"type": "still a member"}]
