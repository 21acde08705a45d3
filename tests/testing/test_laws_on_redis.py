"""The laws about several processes and faults, on a layer over a real server that breaks them.

channels_redis does what ``docs/conformance.md`` says it does; the laws that it keeps here are as
much a test of the kit as those that it breaks: they must not fail on a layer that is right.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import pytest
from channels_redis.core import RedisChannelLayer

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.laws import all_laws
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.testing import broken_on_redis as broken
from tests.testing.redis_faults import RedisFaults
from tests.testing.test_laws_can_fail import ON_A_BROKER

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"

pytestmark = pytest.mark.filterwarnings("default")  # of the layers of others

BROKEN_BY: dict[str, str | type] = {
    "test_prefixes_never_meet": CORE,
    "test_competing_readers_share_a_plain_channel": PUBSUB,
    "test_nothing_is_delivered_again_to_a_new_instance": broken.Redelivers,
    "test_readers_in_several_processes_compete": PUBSUB,
    "test_a_process_that_starts_gets_nothing_again": broken.Redelivers,
    "test_all_processes_see_one_common_order": broken.Reorders,
    "test_a_wrong_clock_changes_no_order": CORE,
    "test_a_wrong_clock_loses_nothing": CORE,
    "test_channels_of_other_processes_join_and_leave": PUBSUB,
    "test_membership_ends_with_the_process": broken.NeverForgetsMembers,
    "test_group_channels_of_all_processes": broken.OnlyMyMembers,
    "test_garbage_is_dropped": CORE,
    "test_a_message_with_another_key_is_dropped": CORE,
    "test_keys_can_be_rotated": broken.FirstKeyOnly,
    "test_a_waiting_receive_survives_a_cut": CORE,
    "test_cuts_lose_nothing_and_double_nothing": CORE,
    "test_what_was_sent_meanwhile_is_caught_up": PUBSUB,
    "test_sends_say_when_the_broker_is_away": broken.OverRedis,
    "test_a_paused_broker_is_waited_for": broken.OverRedis,
    "test_a_restarted_broker_is_found_again": CORE,
    "test_lost_memory_is_announced": PUBSUB,
    "test_a_recovery_over_a_restart_is_whole_or_says_it_is_not": broken.PretendsHistory,
}

KEPT_BY_CORE = [
    "test_any_legal_group_name_works",
    "test_a_group_message_arrives_as_it_was",
    "test_members_get_one_copy_each",
    "test_nothing_is_delivered_again_to_a_new_instance",
    "test_all_processes_see_one_common_order",
    "test_channels_of_other_processes_join_and_leave",
    "test_exactly_the_members_get_a_message",
    "test_keys_can_be_rotated",
    "test_an_idle_receive_waits_for_ever",
]


@pytest.fixture(scope="module", autouse=True)
def leftovers() -> Iterator[None]:
    """Connections that these layers left open are found here, and not in another's test."""
    yield
    for _ in range(3):
        gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def hosts(port: int) -> list[object]:
    # redis-py's own time-out would end idle readers: see channels_redis#422.
    return [{"address": f"redis://127.0.0.1:{port}", "socket_timeout": None}]


async def write_garbage(layer: AnyLayer, channel: str, data: bytes) -> None:
    """Put bytes where channels_redis keeps the messages of a channel."""
    assert isinstance(layer, RedisChannelLayer)
    key = layer.prefix + layer.non_local_name(channel)
    await layer.connection(0).zadd(key, {data: time.time()})


@pytest.fixture
def judge(server: RedisServer) -> Iterator[Callable[[str | type], LayerUnderTest]]:
    layers: list[LayerUnderTest] = []
    with Proxy("127.0.0.1", server.port) as proxy:

        def make(layer: str | type) -> LayerUnderTest:
            under_test = LayerUnderTest(
                layer if isinstance(layer, str) else f"{layer.__module__}.{layer.__name__}",
                {"hosts": hosts(proxy.port)},
                distributed=True,
                patience=1.0,
                examples=12,
                shrink_seconds=0,
                faults=RedisFaults(server, proxy, {"hosts": hosts(server.port)}),
            )
            under_test.inject = write_garbage
            layers.append(under_test)
            return under_test

        yield make
        for under_test in layers:
            under_test.close_workers()


def run(law: str, layer: LayerUnderTest) -> None:
    cls = next(cls for cls in all_laws().values() if hasattr(cls, law))
    getattr(cls(), law)(layer)


def test_every_law_about_brokers_is_here() -> None:
    assert BROKEN_BY.keys() >= ON_A_BROKER


@pytest.mark.parametrize("law", BROKEN_BY)
def test_a_broken_layer_is_caught(law: str, judge: Callable[[str | type], LayerUnderTest]) -> None:
    with pytest.raises((Exception, ExceptionGroup, pytest.fail.Exception)) as caught:
        run(law, judge(BROKEN_BY[law]))
    assert not isinstance(caught.value, pytest.skip.Exception)


@pytest.mark.parametrize("law", KEPT_BY_CORE)
def test_a_law_holds_where_it_should(
    law: str, judge: Callable[[str | type], LayerUnderTest]
) -> None:
    under_test = judge(CORE)
    under_test.patience = 5.0
    run(law, under_test)
