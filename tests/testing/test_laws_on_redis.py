"""The laws about several processes and faults, on a layer over a real server that breaks them.

channels_redis does what ``docs/conformance.md`` says it does; the laws that it keeps here are as
much a test of the kit as those that it breaks: they must not fail on a layer that is right.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.laws import all_laws
from channel_layers.testing.proxy import Proxy
from tests.testing.redis_server import RedisFaults, RedisServer

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"

pytestmark = pytest.mark.filterwarnings("default")  # of the layers of others

BROKEN_BY = {
    "test_prefixes_never_meet": CORE,
    "test_competing_readers_share_a_plain_channel": PUBSUB,
    "test_readers_in_several_processes_compete": PUBSUB,
    "test_a_process_that_starts_gets_nothing_again": CORE,
    "test_a_wrong_clock_changes_no_order": CORE,
    "test_a_wrong_clock_loses_nothing": CORE,
    "test_channels_of_other_processes_join_and_leave": PUBSUB,
    "test_a_message_with_another_key_is_dropped": CORE,
    "test_a_waiting_receive_survives_a_cut": CORE,
    "test_cuts_lose_nothing_and_double_nothing": CORE,
    "test_what_was_sent_meanwhile_is_caught_up": PUBSUB,
    "test_a_restarted_broker_is_found_again": CORE,
    "test_lost_memory_is_announced": PUBSUB,
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def hosts(port: int) -> list[object]:
    # redis-py's own time-out would end idle readers: see channels_redis#422.
    return [{"address": f"redis://127.0.0.1:{port}", "socket_timeout": None}]


@pytest.fixture
def judge(server: RedisServer) -> Iterator[dict[str, LayerUnderTest]]:
    with Proxy("127.0.0.1", server.port) as proxy:
        faults = RedisFaults(server, proxy, {"hosts": hosts(server.port)})
        layers = {
            dotted: LayerUnderTest(
                dotted,
                {"hosts": hosts(proxy.port)},
                distributed=True,
                patience=1.0,
                examples=12,
                shrink_seconds=0,
                faults=faults,
            )
            for dotted in (CORE, PUBSUB)
        }
        yield layers
        for layer in layers.values():
            layer.close_workers()


def run(law: str, layer: LayerUnderTest) -> None:
    cls = next(cls for cls in all_laws().values() if hasattr(cls, law))
    getattr(cls(), law)(layer)


@pytest.mark.parametrize("law", BROKEN_BY)
def test_a_broken_layer_is_caught(law: str, judge: dict[str, LayerUnderTest]) -> None:
    with pytest.raises((Exception, ExceptionGroup, pytest.fail.Exception)) as caught:
        run(law, judge[BROKEN_BY[law]])
    assert not isinstance(caught.value, pytest.skip.Exception)


@pytest.mark.parametrize("law", KEPT_BY_CORE)
def test_a_law_holds_where_it_should(law: str, judge: dict[str, LayerUnderTest]) -> None:
    judge[CORE].patience = 5.0
    run(law, judge[CORE])
