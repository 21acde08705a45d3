"""Several Redis servers that belong together: a cluster, and a master with its Sentinels.

They are plain processes like those of :mod:`channel_layers.testing.servers`, and as quick to
notice that one of them is gone as Redis lets them be. All methods block.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from channel_layers.testing.servers import RedisServer, ServerError, free_port

__all__ = ["ClusterNode", "RedisCluster", "RedisSentinel", "SentinelServer"]

SLOTS: Final = 16384
WAIT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02
BUS_OFFSET: Final = 10_000
"""By so much higher is the port on which the nodes of a cluster talk to each other."""


class ClusterNode(RedisServer):
    """One node of a cluster."""

    variable = "TEST_REDIS_CLUSTER_NODE"  # a cluster is always our own

    def __init__(self) -> None:
        super().__init__(
            cluster_enabled="yes",
            cluster_config_file="nodes.conf",
            cluster_node_timeout=1000,
            cluster_require_full_coverage="no",
        )

    @property
    def client(self) -> redis.Redis:
        """A client of this node alone."""
        return _client(self.port)

    @property
    def node_id(self) -> str:
        """How the cluster calls it."""
        return _text(self.client, "CLUSTER", "MYID")

    def _free_port(self) -> int:
        return free_port(BUS_OFFSET)


class RedisCluster:
    """A cluster, each slot with one master; further nodes are replicas of the first.

    Args:
        masters: among which the slots are divided evenly.
        replicas: of each master.
    """

    def __init__(self, masters: int = 3, replicas: int = 0) -> None:
        self.masters = [ClusterNode() for _ in range(masters)]
        self.replicas = [ClusterNode() for _ in range(masters * replicas)]
        self._stack = ExitStack()

    @property
    def nodes(self) -> list[ClusterNode]:
        """All of them."""
        return [*self.masters, *self.replicas]

    @property
    def addresses(self) -> list[str]:
        """Their URLs."""
        return [f"redis://127.0.0.1:{node.port}" for node in self.nodes]

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                self._stack.enter_context(node)
            self._form()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _form(self) -> None:
        count = len(self.masters)
        for index, node in enumerate(self.masters):
            slots = range(SLOTS * index // count, SLOTS * (index + 1) // count)
            _text(node.client, "CLUSTER", "ADDSLOTS", *map(str, slots))
            # Else two nodes may claim the same epoch, which takes them a while to sort out.
            _text(node.client, "CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
        first, *others = self.nodes
        for node in others:
            _text(first.client, "CLUSTER", "MEET", "127.0.0.1", str(node.port))
        self.wait(lambda: all(self._knows_all(node) for node in self.nodes))
        for index, node in enumerate(self.replicas):
            _text(node.client, "CLUSTER", "REPLICATE", self.masters[index % count].node_id)
        self.wait_until_well()
        self.wait(lambda: all(_link_is_up(node.client) for node in self.replicas))

    def _knows_all(self, node: ClusterNode) -> bool:
        lines = _text(node.client, "CLUSTER", "NODES").splitlines()
        return len(lines) == len(self.nodes) and "handshake" not in "".join(lines)

    def _is_well(self, node: ClusterNode) -> bool:
        info = _text(node.client, "CLUSTER", "INFO")
        return "cluster_state:ok" in info and f"cluster_slots_ok:{SLOTS}" in info

    def owner(self, slot: int) -> ClusterNode:
        """The node that serves a slot."""
        for node in self.nodes:
            try:
                lines = _text(node.client, "CLUSTER", "NODES").splitlines()
            except redis.ConnectionError:
                continue
            # id, host:port@bus, flags, master, ping, pong, epoch, link, slots...
            for line in lines:
                _, address, flags, _, _, _, _, _, *slots = line.split()
                if "fail" not in flags and any(slot in _range(text) for text in slots):
                    port = int(address.partition("@")[0].rpartition(":")[2])
                    return next(n for n in self.nodes if n.port == port)
        raise ServerError(f"No node serves slot {slot}.")

    def migrate_slot(self, slot: int, to: ClusterNode, *, pause_seconds: float = 0) -> None:
        """Move a slot with all that is in it, as ``redis-cli --cluster reshard`` does.

        Args:
            pause_seconds: between one key and the next.
        """
        source = self.owner(slot)
        source_id, target_id, number = source.node_id, to.node_id, str(slot)
        _text(to.client, "CLUSTER", "SETSLOT", number, "IMPORTING", source_id)
        _text(source.client, "CLUSTER", "SETSLOT", number, "MIGRATING", target_id)
        place = ("127.0.0.1", str(to.port))
        while keys := _texts(source.client, "CLUSTER", "GETKEYSINSLOT", number, "1000"):
            key = random.choice(keys)  # no order among them is one to rely on
            _text(source.client, "MIGRATE", *place, "", "0", "5000", "KEYS", key)
            time.sleep(pause_seconds)
        for node in (to, source, *self.masters):
            _text(node.client, "CLUSTER", "SETSLOT", number, "NODE", target_id)

    def cut(self) -> None:
        """Break the connections of all clients."""
        for node in self.nodes:
            _text(node.client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def wait_until_well(self) -> None:
        """Wait until every slot is served and all nodes know it."""
        self.wait(lambda: all(self._is_well(node) for node in self.nodes))

    def wait(self, done: Callable[[], bool]) -> None:
        """Wait until the nodes agree on something."""
        _wait(done, "the cluster")


class SentinelServer(RedisServer):
    """One Sentinel.

    Args:
        name: of the master.
        port: of the master.
        quorum: how many Sentinels must agree that it is gone.
    """

    variable = "TEST_REDIS_SENTINEL"
    ready = "+monitor master"

    def __init__(self, name: str, port: int, quorum: int) -> None:
        super().__init__()
        self._lines = (
            f"sentinel monitor {name} 127.0.0.1 {port} {quorum}",
            f"sentinel down-after-milliseconds {name} 500",
            f"sentinel failover-timeout {name} 1000",
        )

    @property
    def client(self) -> redis.Redis:
        """A client of this Sentinel."""
        return _client(self.port)

    def _command(self, executable: Path, directory: Path, port: int) -> Sequence[str | Path]:
        configuration = directory / "sentinel.conf"  # it writes down there what it finds out
        lines = (f"port {port}", "bind 127.0.0.1", f"dir {directory}", *self._lines)
        configuration.write_text("\n".join(lines) + "\n")
        return [executable, configuration, "--sentinel"]


class RedisSentinel:
    """A master, its replicas, and the Sentinels that watch over them.

    Args:
        replicas: of the master.
        sentinels: how many.
        name: of the master.
    """

    def __init__(self, replicas: int = 1, sentinels: int = 3, name: str = "mymaster") -> None:
        self.name = name
        self.servers: list[RedisServer] = []
        """The one that was the master first, then its replicas."""
        self.sentinels: list[SentinelServer] = []
        self._replicas = replicas
        self._count = sentinels
        self._stack = ExitStack()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where the Sentinels are."""
        return [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

    @property
    def master(self) -> RedisServer:
        """The server that most Sentinels call the master."""
        ports = [self._master_port(sentinel) for sentinel in self.sentinels]
        port = max(set(ports), key=ports.count)
        return next(server for server in self.servers if server.port == port)

    def __enter__(self) -> Self:
        try:
            options: dict[str, str | int] = {
                "repl_diskless_sync": "yes",
                "repl_diskless_sync_delay": 0,
                "repl_ping_replica_period": 1,
            }
            master = self._stack.enter_context(RedisServer(**options))
            self.servers.append(master)
            for _ in range(self._replicas):
                replica = RedisServer(**options, replicaof=f"127.0.0.1 {master.port}")
                self.servers.append(self._stack.enter_context(replica))
            quorum = self._count // 2 + 1
            for _ in range(self._count):
                sentinel = SentinelServer(self.name, master.port, quorum)
                self.sentinels.append(self._stack.enter_context(sentinel))
            _wait(self._all_see_all, "the Sentinels")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def failover(self, *, settle: bool = True) -> None:
        """Let a replica take over, and wait until it has.

        Args:
            settle: whether to wait until another failover is possible, which takes ten seconds.
        """
        old = self.master
        _wait(self._asked_to_fail_over, "a replica that can take over")
        self.wait_for_another(old)
        if settle:
            self._settle(old)

    def kill_master(self) -> None:
        """Kill the master, wait until a replica has taken over, and start it again as one."""
        old = self.master
        old.kill()
        self.wait_for_another(old)
        # Sentinels would see to that too, after ten seconds.
        old.start_again(replicaof=f"127.0.0.1 {self.master.port}")
        self._settle(old)

    def wait_for_another(self, old: RedisServer) -> None:
        """Wait until a replica has taken over."""
        _wait(lambda: self._agree_on_another(old), "a new master")

    def _settle(self, old: RedisServer) -> None:
        """Wait until all is over; else the next failover may leave two masters."""
        self.wait_for_another(old)
        _wait(self._replicas_are_in_step, "the replicas")
        for sentinel in self.sentinels:
            # They look at what they know every ten seconds only, but at what is new at once.
            _text(sentinel.client, "SENTINEL", "RESET", self.name)
        _wait(self._all_see_all, "the Sentinels")

    def _asked_to_fail_over(self) -> bool:
        # An error, and so another attempt, while the last failover is not quite over.
        return _text(self.sentinels[0].client, "SENTINEL", "FAILOVER", self.name) == "OK"

    def _agree_on_another(self, old: RedisServer) -> bool:
        ports = {self._master_port(sentinel) for sentinel in self.sentinels}
        if len(ports) > 1 or ports == {old.port}:
            return False
        return _info(_client(ports.pop()), "replication")["role"] == "master"

    def _all_see_all(self) -> bool:
        states = [
            _pairs(sentinel.client, "SENTINEL", "MASTER", self.name) for sentinel in self.sentinels
        ]
        return (
            all(
                state["num-other-sentinels"] == str(self._count - 1)
                and state["num-slaves"] == str(self._replicas)
                and state["flags"] == "master"
                for state in states
            )
            and self._replicas_are_in_step()
        )

    def _replicas_are_in_step(self) -> bool:
        master = self.master
        states = [
            _info(_client(server.port), "replication")
            for server in self.servers
            if server is not master
        ]
        return all(
            state.get("master_link_status") == "up" and state["master_port"] == str(master.port)
            for state in states
        )

    def _master_port(self, sentinel: SentinelServer) -> int:
        found = _texts(sentinel.client, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return int(found[1]) if found else 0


def _range(text: str) -> range:
    """``5461-10922``, ``42``, or ``[42->-id]`` for a slot on its way."""
    if text.startswith("["):
        return range(0)
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _link_is_up(replica: redis.Redis) -> bool:
    return _info(replica, "replication").get("master_link_status") == "up"


def _info(client: redis.Redis, section: str) -> dict[str, str]:
    lines = _text(client, "INFO", section).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _client(port: int) -> redis.Redis:
    return redis.Redis(port=port, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0))


def _ask(client: redis.Redis, *words: str) -> object:
    client.response_callbacks.clear()  # the answers as the server gives them
    with client:
        answer: object = client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's
    return answer


def _text(client: redis.Redis, *words: str) -> str:
    return str(_ask(client, *words))


def _texts(client: redis.Redis, *words: str) -> list[str]:
    answer = _ask(client, *words)
    return [str(text) for text in answer] if isinstance(answer, list | tuple) else []


def _pairs(client: redis.Redis, *words: str) -> dict[str, str]:
    texts = _texts(client, *words)
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _wait(done: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if done():
                return
        except redis.RedisError:
            pass  # a server that is on its way up or down
        if time.monotonic() > ends:
            raise ServerError(f"Waited {WAIT_SECONDS:g} s for {what} in vain.")
        time.sleep(POLL_SECONDS)
