"""The forms of ``hosts``: what each means, and what wrong ones are told. Nothing is connected."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.crc import key_slot
from redis.credentials import UsernamePasswordCredentialProvider

from channel_layers import from_url
from channel_layers.exceptions import LayerError, OptionError, OptionValueError
from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.redis.endpoint import Endpoint
from channel_layers.redis.forms import endpoint_of
from channel_layers.redis.hosts import SLOTS, partition_tag, plans
from channel_layers.redis.locating import SentinelLocator
from channel_layers.redis.transport import RedisTransport

Form = Any  # what people write, right or wrong

SECRET = "hunter2"
PROVIDER = UsernamePasswordCredentialProvider("u", SECRET)


def labels(hosts: Form, **options: Form) -> list[str]:
    return [plan.locator.label for plan in plans(hosts, prefix="p", **options)]


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (None, ["redis://localhost:6379/0"]),
        ([], ["redis://localhost:6379/0"]),
        ("redis://", ["redis://localhost:6379/0"]),
        ("redis://h", ["redis://h:6379/0"]),
        ("redis://h:1/2", ["redis://h:1/2"]),
        ("redis://h/?db=3", ["redis://h:6379/3"]),
        ("redis://[::1]:7", ["redis://[::1]:7/0"]),
        (["redis://:secret@h"], ["redis://h:6379/0"]),
        (["rediss://u:secret@h"], ["rediss://h:6379/0"]),
        (["unix:///run/redis.sock"], ["unix:///run/redis.sock?db=0"]),
        (["unix://u:secret@/run/@redis.sock?db=2"], ["unix:///run/@redis.sock?db=2"]),
        ([("h", 1)], ["redis://h:1/0"]),
        ([["h", "1"]], ["redis://h:1/0"]),
        (("h", 1), ["redis://h:1/0"]),
        ((("h", 1), ("i", 2)), ["redis://h:1/0", "redis://i:2/0"]),
        (["redis://a", "redis://b"], ["redis://a:6379/0", "redis://b:6379/0"]),
        ({"host": "h"}, ["redis://h:6379/0"]),
        ([{"host": "h", "port": 1, "db": "4"}], ["redis://h:1/4"]),
        ([{"host": "h", "ssl": True}], ["rediss://h:6379/0"]),
        ([{"host": "h", "connection_class": SSLConnection}], ["rediss://h:6379/0"]),
        ([{"address": "redis://h:1/2"}], ["redis://h:1/2"]),
        ([{"address": "redis://h", "ssl": True}], ["rediss://h:6379/0"]),
        ([{"address": "rediss://u@h:1", "ssl_cert_reqs": None}], ["rediss://h:1/0"]),
        ([{"address": ("h", 1), "db": 1}], ["redis://h:1/1"]),
        ([{"path": "/run/redis.sock", "db": 1}], ["unix:///run/redis.sock?db=1"]),
        ([{"unix_socket_path": "/run/redis.sock"}], ["unix:///run/redis.sock?db=0"]),
        (
            [("h", 1), {"sentinels": [("s", 2), ["t", "3"]], "master_name": "m"}],
            ["redis://h:1/0", "master 'm' of the Sentinels at s:2, t:3"],
        ),
    ],
)
def test_every_form_of_hosts_is_understood(hosts: Form, found: list[str]) -> None:
    assert labels(hosts) == found


def test_a_url_and_options_go_together_and_the_url_wins() -> None:
    entry = {
        "address": f"rediss://u:{SECRET}%2F@h:1/2?client_name=site&ssl_check_hostname=false",
        "ssl_ca_certs": "/ca.pem",
        "db": 9,
    }
    found = endpoint_of(entry)
    assert found.kind is SSLConnection
    assert found.options == {
        "username": "u",
        "password": f"{SECRET}/",
        "host": "h",
        "port": 1,
        "db": 2,
        "client_name": "site",
        "ssl_check_hostname": False,
        "ssl_ca_certs": "/ca.pem",
    }
    assert entry["db"] == 9  # what was given is left as it was


def test_what_the_layer_decides_itself_is_taken_and_ignored() -> None:
    ignored = {"socket_timeout": None, "retry_on_timeout": True, "max_connections": 7}
    found = endpoint_of({"host": "h", **ignored, "decode_responses": True, "protocol": 3})
    assert found.options == {"host": "h"}
    assert endpoint_of("redis://h?socket_timeout=1&health_check_interval=3").options == {
        "host": "h"
    }


def test_options_from_the_environment_are_text() -> None:
    entry = {"host": "h", "db": "1", "socket_keepalive": "no", "ssl": True}
    found = endpoint_of({**entry, "ssl_check_hostname": "false"})
    assert found.options == {
        "host": "h",
        "db": 1,
        "socket_keepalive": False,
        "ssl_check_hostname": False,
    }


def test_a_credential_provider_takes_the_place_of_a_password() -> None:
    assert endpoint_of({"host": "h", "credential_provider": PROVIDER}).options == {
        "host": "h",
        "credential_provider": PROVIDER,
    }


def test_any_option_of_redis_py_may_be_given() -> None:
    driver = pytest.importorskip("redis.driver_info").DriverInfo(lib_version="7")
    found = endpoint_of({"host": "h", "driver_info": driver, "socket_keepalive_options": {}})
    assert found.options["driver_info"] is driver
    assert found.options["socket_keepalive_options"] == {}


def test_several_hosts_have_keys_of_their_own_should_they_be_one_server() -> None:
    found = plans([("h", 1), ("h", 1)], prefix="shop")
    assert [plan.tag for plan in found] == ["shop:0", "shop:1"]
    assert [plan.tag for plan in plans([("h", 1)], prefix="shop")] == ["shop"]


def test_sentinels_beside_hosts_and_inside_mean_the_same() -> None:
    kwargs = {"sentinel_kwargs": {"password": "s"}, "password": "m", "db": 2, "ssl": True}
    places = [("s", 26379), ("t", 26380)]
    inside = plans([{"sentinels": places, "master_name": "m", **kwargs}], prefix="p")
    beside = plans([kwargs], prefix="p", sentinels=places, master_name="m")
    for (plan,) in (inside, beside):
        locator = plan.locator
        assert isinstance(locator, SentinelLocator)
        asked = locator._sentinels
        assert [sentinel.options["host"] for sentinel in asked] == ["s", "t"]
        assert [sentinel.options["password"] for sentinel in asked] == ["s", "s"]
        assert asked[0].kind is Connection
        assert locator._master.kind is SSLConnection
        assert locator._master.at("h", 1).options == {
            "password": "m",
            "db": 2,
            "host": "h",
            "port": 1,
        }
    assert len(plans([], prefix="p", sentinels=places, master_name="m")) == 1


def test_a_cluster_has_its_partitions_in_different_slots_and_shares_what_it_knows() -> None:
    found = plans(["redis://a:1", ("b", 2)], prefix="shop", cluster=True)
    assert [plan.index for plan in found] == list(range(8))
    assert len({key_slot(plan.tag.encode()) for plan in found}) == 8
    assert {plan.locator.label for plan in found} == {"the cluster of redis://a:1/0, redis://b:2/0"}
    assert len(plans(None, prefix="shop", cluster=True, partitions=3)) == 3


NO_HOST: list[tuple[Any, dict[str, Any], type[LayerError], str]] = [
    (b"redis://:hunter2@h", {}, OptionError, "not bytes .a URL is text"),
    ([b"redis://:hunter2@h"], {}, OptionError, "not bytes .a URL is text"),
    ({"redis://:hunter2@h"}, {}, OptionError, "a list of hosts, not a set"),
    (3, {}, OptionError, "a list of hosts, not a int"),
    ([3], {}, OptionError, "a dict of connection options, not a int"),
    ([None], {}, OptionError, "a dict of connection options, not None"),
    ([["redis://:hunter2@h"]], {}, OptionError, "pair .* not a list of 1"),
    ([("redis://:hunter2@h", 6379)], {}, OptionError, "pair .* not a tuple of 2"),
    ([("h", 0)], {}, OptionError, "pair such as"),
    ([("h", 65536)], {}, OptionError, "pair such as"),
    ([("h", True)], {}, OptionError, "pair such as"),
    ([("", 1)], {}, OptionError, "pair such as"),
    ([{"address": {"password": SECRET}}], {}, OptionError, "pair .* not a dict"),
    ([{"hots": "h"}], {}, OptionError, "no option 'hots' .did you mean 'host'"),
    ([{"host": "h", "pasword": SECRET}], {}, OptionError, "did you mean 'password'"),
    ([{"host": "h", "capacity": 5}], {}, OptionError, "option of the layer, not of a host"),
    ([{"host": "h", "port": SECRET}], {}, OptionValueError, "from 1 to 65535"),
    ([{"host": "h", "port": 70000}], {}, OptionValueError, "from 1 to 65535"),
    ([{"host": "h", "ssl": "false"}], {}, OptionError, "ssl of a host is True or False"),
    ([{"host": "h", "db": SECRET}], {}, OptionValueError, "db of a host cannot be read"),
    ([{"host": "h", "connection_class": dict}], {}, OptionError, "connection_class must be"),
    (
        [{"host": "h", "ssl": True, "ssl_cert_reqs": "maybe"}],
        {},
        OptionValueError,
        "Certificate Requirements Flag: maybe",
    ),
    (
        [{"host": "h", "password": SECRET, "credential_provider": PROVIDER}],
        {},
        OptionValueError,
        "cannot be passed along",
    ),
    (["h:6379"], {}, OptionValueError, "neither redis:// nor rediss:// nor unix://"),
    (["hunter2"], {}, OptionValueError, "neither redis:// nor"),
    (["http://h"], {}, OptionValueError, "neither redis:// nor"),
    (["redis://h:port"], {}, OptionValueError, "host and port have no form"),
    (["redis://h:70000"], {}, OptionValueError, "host and port have no form"),
    (["redis://h/db1"], {}, OptionValueError, "not the number of a database"),
    (["redis://u:hun/ter2@h"], {}, OptionValueError, "written as %2F"),
    (["redis://:12/hunter2@h"], {}, OptionValueError, "written as %2F"),
    (["redis://u:hun#ter2@h"], {}, OptionValueError, "have no form.*written as %2F.*%23"),
    (["redis://:12#hunter2@h"], {}, OptionValueError, "there is a '#'"),
    (["redis://:12?hunter2@h"], {}, OptionValueError, "a '.' without option=value"),
    (["redis://[hunter2]@h"], {}, OptionValueError, "host and port have no form"),
    (["redis://\u2100:hunter2@h"], {}, OptionValueError, "host and port have no form"),
    (["redis://h?db=one"], {}, OptionValueError, "Invalid value for 'db'"),
    (["redis://h?capasity=5"], {}, OptionError, "did you mean 'capacity'"),
    (["redis://h?connection_class=x"], {}, OptionError, "must be a class"),
    (["unix://run/redis.sock"], {}, OptionValueError, "the third one after unix:"),
    (["unix://"], {}, OptionValueError, "the third one after unix:"),
    ([("h", 1)], {"partitions": 3}, OptionValueError, "several hosts are one each"),
    (None, {"cluster": True, "partitions": 0}, OptionValueError, "1 to 256, not 0"),
    (None, {"cluster": True, "partitions": 257}, OptionValueError, "1 to 256, not 257"),
    (None, {"cluster": True, "partitions": "8"}, OptionError, "whole number, not '8'"),
    (None, {"cluster": True, "partitions": True}, OptionError, "whole number, not True"),
    (["unix:///s"], {"cluster": True}, OptionValueError, "have hosts and ports, not sockets"),
    (["redis://h/1"], {"cluster": True}, OptionValueError, "A cluster has only database 0"),
    (
        None,
        {"cluster": True, "sentinels": [("s", 1)], "master_name": "m"},
        OptionValueError,
        "exclude each other",
    ),
    (None, {"sentinels": [("s", 1)]}, OptionError, "the name that the Sentinels know, not None"),
    (None, {"master_name": "m"}, OptionError, "list of .host, port. pairs, not None"),
    (None, {"sentinels": [], "master_name": "m"}, OptionError, "pairs, not a list of 0"),
    (None, {"sentinels": "u:hunter2@s", "master_name": "m"}, OptionError, "pairs, not a str"),
    (None, {"sentinels": [("s",)], "master_name": "m"}, OptionError, "not a tuple of 1"),
    (
        ["redis://:hunter2@h"],
        {"sentinels": [("s", 1)], "master_name": "m"},
        OptionValueError,
        "the address comes from them",
    ),
    (
        [{"host": "h"}],
        {"sentinels": [("s", 1)], "master_name": "m"},
        OptionValueError,
        "the address comes from them: host has no",
    ),
    (
        [{"sentinels": [("s", 1)], "master_name": "m", "address": "redis://:hunter2@h"}],
        {},
        OptionValueError,
        "the address comes from them: address has no",
    ),
    (
        [{"sentinels": [("s", 1)], "master_name": "m", "sentinel_kwargs": SECRET}],
        {},
        OptionError,
        "sentinel_kwargs must be a dict, not a str",
    ),
    (
        [{"sentinels": [("s", 1)], "master_name": "m", "sentinel_kwargs": {"passwort": 1}}],
        {},
        OptionError,
        "did you mean 'password'",
    ),
]


@pytest.mark.parametrize(("hosts", "options", "error", "says"), NO_HOST)
def test_a_wrong_form_is_refused_without_repeating_secrets(
    hosts: Form, options: dict[str, Any], error: type[LayerError], says: str
) -> None:
    with pytest.raises(error, match=f"(?s){says}") as caught:
        RedisStreamsChannelLayer(hosts=hosts, **options)
    failure: BaseException | None = caught.value
    while failure is not None:  # a traceback shows the causes too
        assert "hunter2" not in str(failure)
        assert "ter2" not in str(failure)
        shown = failure.__cause__ or (None if failure.__suppress_context__ else failure.__context__)
        failure = shown


secrets_of_users = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), min_size=4, max_size=12
).filter(lambda text: text.isprintable() and text not in "redis://localhost:6379/0 unix://s?db=0")


@given(password=secrets_of_users)
def test_no_label_and_no_repr_shows_a_password(password: str) -> None:
    entry = {"host": "127.0.0.1", "username": "u", "password": f"<{password}>"}
    layer = RedisStreamsChannelLayer(hosts=[entry])
    (plan,) = plans([entry], prefix="p")
    endpoint = endpoint_of(entry)
    for shown in (repr(layer), repr(plan), plan.locator.label, repr(endpoint), endpoint.label):
        assert f"<{password}>" not in shown
    assert endpoint.options["password"] == f"<{password}>"


class Heard(logging.Handler):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@given(anything=st.text())
def test_any_text_is_a_host_or_an_option_error_and_logged_nowhere(anything: str) -> None:
    handler = Heard()
    logging.getLogger().addHandler(handler)
    try:
        for url in (anything, f"redis://{anything}", f"unix://{anything}"):
            try:
                assert isinstance(endpoint_of(url), Endpoint)
            except (OptionError, OptionValueError):
                pass
    finally:
        logging.getLogger().removeHandler(handler)
    assert not handler.records


prefixes = st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True)


@given(prefix=prefixes, count=st.integers(1, 256), data=st.data())
def test_each_partition_lies_in_its_own_share_of_the_slots(
    prefix: str, count: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, count - 1))
    tag = partition_tag(prefix, index, count)
    slot = key_slot(f"{{{tag}}}:g:some.group".encode())
    assert slot == key_slot(tag.encode())
    assert SLOTS * index // count <= slot < SLOTS * (index + 1) // count
    assert tag == partition_tag(prefix, index, count)
    assert tag.startswith(f"{prefix}:{index}")


@given(prefix=prefixes, count=st.integers(1, 12))
def test_no_two_partitions_share_a_key(prefix: str, count: int) -> None:
    tags = [partition_tag(prefix, index, count) for index in range(count)]
    assert len(set(tags)) == count
    # The names of others never begin like ours: "a" and "a:0" differ in what closes the brace.
    assert f"{{{prefix}}}:" not in {f"{{{tag}}}:" for tag in tags}


@given(name=st.from_regex(r"[A-Za-z0-9_.-]{1,99}", fullmatch=True), count=st.integers(1, 9))
def test_a_name_belongs_to_the_partition_of_its_checksum(name: str, count: int) -> None:
    layer = RedisStreamsChannelLayer(hosts=[("h", 1 + index) for index in range(count)])
    transport = layer._transport
    assert isinstance(transport, RedisTransport)
    assert transport.partitions == count
    assert transport.partition_of(name) == zlib.crc32(name.encode()) % count


def test_one_url_makes_a_layer_for_every_kind_of_redis() -> None:
    found: Mapping[str, list[str]] = {
        "redis://": ["redis://localhost:6379/0"],
        f"rediss://u:{SECRET}@h/1?ssl_check_hostname=false&capacity=5": ["rediss://h:6379/1"],
        "unix:///run/redis.sock?db=2&prefix=shop": ["unix:///run/redis.sock?db=2"],
        "redis+cluster://a:1,b:2?partitions=2": ["the cluster of redis://a:1/0, redis://b:2/0"] * 2,
        f"rediss+sentinel://u:{SECRET}@a:1,[::1]/m/3?delivery=at_least_once": [
            "master 'm' of the Sentinels at a:1, ::1:26379"
        ],
    }
    for url, expected in found.items():
        config: dict[str, Any] = from_url(url)["CONFIG"]
        layer = RedisStreamsChannelLayer(**config)
        assert [plan.locator.label for plan in layer._plans] == expected
        assert SECRET not in repr(layer)


def test_unix_sockets_have_their_own_class() -> None:
    assert endpoint_of("unix:///s").kind is UnixDomainSocketConnection
