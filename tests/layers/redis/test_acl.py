"""The rights that ``docs/redis.md`` says are enough: they are, and there is none too many."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import channel_layers.redis.scripts
from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.redis.endpoint import CannotConnect
from channel_layers.redis.forms import endpoint_of
from channel_layers.testing.redis_servers import RedisCluster
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.conftest import OpenLayer
from tests.layers.redis.flows import until

DOCUMENT = Path(__file__).parents[3] / "docs" / "redis.md"
LONG = 20.0
MESSAGE = {"type": "t", "data": b"x"}

LAYER = {
    *("eval", "evalsha", "script|load", "info", "scan", "unlink", "time"),
    *("xread", "xtrim", "xadd", "zrem", "zcard", "hdel"),
}
"""What the layer sends beside its scripts."""
CONNECTION = {"select", "client|setname", "client|setinfo", "cluster|slots", "role"}
"""What makes a connection, for those who have a database, a name, a cluster."""


def rule(prefix: str, user: str = "channels") -> list[str]:
    """The documented command, for a layer with another prefix."""
    text = DOCUMENT.read_text("utf-8")
    found = re.search(r"<!-- ACL RULE.*?```\n(.*?)```.*?<!-- END OF THE ACL RULE", text, re.DOTALL)
    assert found is not None
    words = found[1].replace("\\\n", " ").split()
    assert words[:5] == ["ACL", "SETUSER", "channels", "on", ">secret"]
    words[2] = user
    return [word.replace("~{channels", f"~{{{prefix}") for word in words]


def of_scripts() -> set[str]:
    """The commands in all scripts."""
    folder = Path(channel_layers.redis.scripts.__file__).parent
    text = "".join(path.read_text("utf-8") for path in folder.rglob("*.lua"))
    calls = re.findall(r"\b(?:redis\.)?p?call\('([A-Z]+)'(?:, '(STREAM)')?", text)
    return {"|".join(filter(None, words)).lower() for words in calls}


async def ask(port: int, *words: str) -> list[object]:
    answer = await endpoint_of(("127.0.0.1", port)).ask(*words, timeout=LONG)
    return answer if isinstance(answer, list) else [answer]


async def used(port: int) -> set[str]:
    """The commands that were given to a server, those of scripts included."""
    (info,) = await ask(port, "INFO", "commandstats")
    assert isinstance(info, bytes)
    return set(re.findall(r"cmdstat_([a-z]+)", info.decode()))


async def use_everything(one: RedisStreamsChannelLayer, other: RedisStreamsChannelLayer) -> None:
    """All that a layer can do; ``other`` has at_least_once."""
    channel, foreign = await one.new_channel(), await other.new_channel()
    # Messages, more than an inbox keeps once they are read.
    for _ in range(3):
        await one.send_many([(foreign, MESSAGE)] * 100)
        for _ in range(100):
            assert await other.receive(foreign) == MESSAGE
    # Groups, with members of every kind.
    await one.group_add("kept.g", channel)
    await one.group_add("kept.g", foreign)
    await one.group_add("kept.g", "plain")
    await one.group_send("kept.g", MESSAGE)
    for layer, name in ((one, channel), (other, foreign), (one, "plain")):
        assert await layer.receive(name) == MESSAGE
    assert sorted(await other.group_channels("kept.g")) == sorted([channel, foreign, "plain"])
    assert (await one.history("kept.g")).messages == [MESSAGE]
    assert await one.position("kept.g") == await other.position("kept.g")
    for name in (channel, foreign, "plain"):
        await one.group_discard("kept.g", name)
    # Plain channels: a message that is taken back, and one that is done.
    await other.send("work", MESSAGE)

    async def fail() -> None:
        assert await other.receive("work") == MESSAGE
        raise ValueError("the work failed")

    async def work() -> None:
        assert await other.receive("work") == MESSAGE

    with pytest.raises(ValueError, match="the work failed"):
        await asyncio.create_task(fail())
    async with asyncio.timeout(LONG):
        await asyncio.create_task(work())
    await one.close_channel(channel)
    await one.flush()
    assert await one.ping() < LONG


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(masters=2) as cluster:
        yield cluster


def test_the_rule_names_each_command_that_is_sent_and_no_other() -> None:
    named = {word.removeprefix("+") for word in rule("p") if word.startswith("+")}
    needed = of_scripts() | LAYER | CONNECTION
    assert named == needed, f"add {sorted(needed - named)}, remove {sorted(named - needed)}"


async def test_a_user_with_these_rights_can_do_everything(
    server: RedisServer, prefix: str, open_layer: OpenLayer
) -> None:
    await ask(server.port, *rule(prefix, "site"))
    await ask(server.port, "CONFIG", "RESETSTAT")
    hosts = [f"redis://site:secret@127.0.0.1:{server.port}/1?client_name=site"]
    one = open_layer(hosts=hosts, history={"kept.*": (10, 60)}, capacity=1000)
    other = open_layer(
        hosts=hosts, history={"kept.*": (10, 60)}, capacity=1000, delivery="at_least_once"
    )
    async with asyncio.timeout(LONG):
        await use_everything(one, other)
        # Connections are made again, and the process registers where it is known.
        assert await ask(server.port, "CLIENT", "KILL", "USER", "site") == [4]
        assert await one.ping() < LONG

        async def acknowledged() -> bool:
            admin = endpoint_of(f"redis://127.0.0.1:{server.port}/1")
            return not await admin.ask("EXISTS", f"{{{prefix}}}:u:{other.process}", timeout=LONG)

        await until(acknowledged, "what was done is acknowledged")
        await one.close()
        await other.close()
    assert await ask(server.port, "ACL", "LOG") == []
    sent = {command.partition("|")[0] for command in LAYER | CONNECTION}
    assert sent - await used(server.port) == {"cluster", "role"}


async def test_in_a_cluster_too(cluster: RedisCluster, prefix: str, open_layer: OpenLayer) -> None:
    for node in cluster.nodes:
        await ask(node.port, *rule(prefix, "site"))
    hosts = [f"redis://site:secret@127.0.0.1:{node.port}" for node in cluster.nodes]
    config = {"hosts": hosts, "cluster": True, "partitions": 2, "capacity": 1000}
    one = open_layer(**config, history={"kept.*": (10, 60)})
    other = open_layer(**config, history={"kept.*": (10, 60)}, delivery="at_least_once")
    async with asyncio.timeout(LONG):
        await use_everything(one, other)
        await one.close()
        await other.close()
    for node in cluster.nodes:
        assert await ask(node.port, "ACL", "LOG") == []


@pytest.mark.parametrize(
    "words",
    [
        ("SET", "elsewhere", "x"),
        ("SET", "{channelsx}:g", "x"),
        ("GET", "{other}:g"),
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("CONFIG", "GET", "requirepass"),
        ("SCRIPT", "FLUSH"),
        ("CLIENT", "LIST"),
        ("PUBLISH", "channel", "x"),
    ],
)
async def test_these_rights_reach_nothing_else(server: RedisServer, words: tuple[str, ...]) -> None:
    await ask(server.port, *rule("channels"))
    user = endpoint_of(f"redis://channels:secret@127.0.0.1:{server.port}")
    assert await user.ask("SET", "{channels}:x", "x", timeout=LONG) == b"OK"
    with pytest.raises(CannotConnect, match="no permission|permissions"):
        await user.ask(*words, timeout=LONG)
