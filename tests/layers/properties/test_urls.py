"""URLs: what layer each one is, and what wrong ones are told."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers import from_env, from_url
from channel_layers.config import option_names
from channel_layers.exceptions import OptionValueError
from channel_layers.memory import InMemoryChannelLayer
from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.redis.forms import endpoint_of
from channel_layers.url_options import COMMON, REDIS

OVER_REDIS = "channel_layers.redis.RedisStreamsChannelLayer"

EVERY_OPTION = (
    "capacity=500&expiry=1.5&prefix=site-1&overflow=drop_old&max_message_size=1000"
    "&channel_capacity=a.*:3&channel_capacity=b:4&history=chat.*:100:300&history=x:1:2.5"
    "&symmetric_encryption_keys=new&symmetric_encryption_keys=old%26older&group_expiry=9"
    "&send_timeout=2"
)
EVERY_VALUE = {
    "capacity": 500,
    "expiry": 1.5,
    "prefix": "site-1",
    "overflow": "drop_old",
    "max_message_size": 1000,
    "channel_capacity": {"a.*": 3, "b": 4},
    "history": {"chat.*": (100, 300), "x": (1, 2.5)},
    "symmetric_encryption_keys": ["new", "old&older"],
    "group_expiry": 9,
    "send_timeout": 2,
}


def config_of(url: str) -> dict[str, Any]:
    entry = from_url(url)
    assert entry["BACKEND"] == OVER_REDIS
    RedisStreamsChannelLayer(**entry["CONFIG"])  # type: ignore[arg-type]  # a dict of mixed values
    return entry["CONFIG"]


def test_a_url_with_every_option() -> None:
    entry = from_url(f"memory://?{EVERY_OPTION}")
    assert entry == {
        "BACKEND": "channel_layers.memory.InMemoryChannelLayer",
        "CONFIG": EVERY_VALUE,
    }
    InMemoryChannelLayer(**entry["CONFIG"])  # type: ignore[arg-type]  # a dict of mixed values


def test_a_redis_url_with_every_option() -> None:
    assert config_of(
        f"redis://h:1/2?client_name=a%20b&{EVERY_OPTION}&delivery=at_least_once&db=3"
    ) == {"hosts": ["redis://h:1/2?client_name=a%20b&db=3"], "delivery": "at_least_once"} | (
        EVERY_VALUE
    )


def test_urls_reach_every_option_of_a_layer() -> None:
    assert set(option_names(InMemoryChannelLayer)) == COMMON
    places = {"hosts", "cluster", "sentinels", "master_name"}
    told = {"at_least_once"}  # by the class to its base
    assert set(option_names(RedisStreamsChannelLayer)) - told == REDIS | places


@pytest.mark.parametrize(
    ("url", "config"),
    [
        ("redis://", {"hosts": ["redis://"]}),
        ("redis://?prefix=x", {"hosts": ["redis://"], "prefix": "x"}),
        ("REDIS://h", {"hosts": ["redis://h"]}),
        ("redis://u:p%2F@[::1]:1/2", {"hosts": ["redis://u:p%2F@[::1]:1/2"]}),
        ("rediss://h?ssl_ca_certs=/a%20b", {"hosts": ["rediss://h?ssl_ca_certs=/a%20b"]}),
        ("unix:///run/s?db=1", {"hosts": ["unix:///run/s?db=1"]}),
        ("redis+cluster://h", {"hosts": ["redis://h"], "cluster": True}),
        (
            "rediss+cluster://u:p@[::1]:1,h2?partitions=4&client_name=c",
            {
                "hosts": ["rediss://u:p@[::1]:1?client_name=c", "rediss://u:p@h2?client_name=c"],
                "cluster": True,
                "partitions": 4,
            },
        ),
        (
            "redis+sentinel://s/mymaster",
            {"sentinels": [("s", 26379)], "master_name": "mymaster"},
        ),
        (
            "redis+sentinel://u:p%40@s1:1,[::1]:2/m%20m/3?client_name=c&sentinel_password=x%26",
            {
                "sentinels": [("s1", 1), ("::1", 2)],
                "master_name": "m m",
                "hosts": [
                    {
                        "username": "u",
                        "password": "p@",
                        "client_name": "c",
                        "db": 3,
                        "sentinel_kwargs": {"password": "x&"},
                    }
                ],
            },
        ),
        (
            "rediss+sentinel://:p@s/m?ssl_check_hostname=false&sentinel_username=su",
            {
                "sentinels": [("s", 26379)],
                "master_name": "m",
                "hosts": [
                    {
                        "ssl": True,
                        "ssl_check_hostname": "false",
                        "password": "p",
                        "sentinel_kwargs": {
                            "ssl": True,
                            "ssl_check_hostname": "false",
                            "username": "su",
                        },
                    }
                ],
            },
        ),
    ],
)
def test_every_form_of_redis(url: str, config: dict[str, object]) -> None:
    assert config_of(url) == config


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "names no channel layer"),
        ("redis:/h", "names no channel layer"),
        ("//[", "names no channel layer"),
        ("amqp://host", "starts with memory://"),
        ("amqp://user:hunter2@host", "@host"),
        ("amqp://host?password=hunter2", "'amqp://host' names"),
        ("memory://host", "no host"),
        ("memory://user:hunter2@", "no host"),
        ("memory:///path", "no path"),
        ("memory://?capasity=3", "Unknown option 'capasity'.*capacity"),
        ("memory://?delivery=at_least_once", "Unknown option 'delivery'"),
        ("memory://?capacity=many", "capacity='many'.*whole number"),
        ("memory://?capacity=1&capacity=2", "comes 2 times"),
        ("memory://?capacity", "not a list of option=value"),
        ("memory://?symmetric_encryption_keys=a&hunter2", "not a list of option=value.*%26"),
        ("memory://?history=chat.*", "GLOB:MESSAGES:SECONDS"),
        ("redis://h?capacity=many", "capacity='many'.*whole number"),
        ("redis://h?hunter2", "not a list of option=value"),
        ("redis+cluster://", "needs hosts and ports such as"),
        ("redis+cluster://h1,,h2", "needs hosts and ports such as"),
        ("redis+cluster://u:12/hunter2@h", "not the number of a database"),
        ("redis+cluster://u:hunter2,hunter2@h,[1", "needs hosts and ports such as"),
        ("redis+cluster://u:hunt/er2@h", "needs hosts and ports .*%2F"),
        ("redis+sentinel://s", "needs the name of the master"),
        ("redis+sentinel://s/m/one", "number of a database"),
        ("redis+sentinel://s:port/m", "needs hosts and ports such as"),
    ],
)
def test_a_wrong_url_is_explained_without_its_password(url: str, says: str) -> None:
    with pytest.raises(OptionValueError, match=says) as caught:
        config_of(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [None, b"redis://:hunter2@h", ["redis://:hunter2@h"]])
def test_what_is_no_text_is_no_url(value: Any) -> None:  # noqa: ANN401  # the point of the test
    with pytest.raises(OptionValueError, match="must be text such as 'memory://'") as caught:
        from_url(value)
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_an_option_error(text: str) -> None:
    schemes = ("memory", "redis", "unix", "redis+cluster", "redis+sentinel")
    for url in (text, *(f"{scheme}://{text}" for scheme in schemes), f"redis://h?{text}"):
        try:
            from_url(url)
        except OptionValueError:
            pass


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
ports = st.integers(1, 65535)


@given(
    username=words,
    password=words,
    host=hosts,
    port=ports,
    database=st.integers(0, 99),
    client_name=words,
    prefix=words,
    key=words,
)
def test_what_is_encoded_into_a_url_comes_out_of_it(
    username: str,
    password: str,
    host: str,
    port: int,
    database: int,
    client_name: str,
    prefix: str,
    key: str,
) -> None:
    login = f"{quote(username, safe='')}:{quote(password, safe='')}"
    options = {"client_name": client_name, "prefix": prefix, "symmetric_encryption_keys": key}
    query = urlencode(options)
    own = {"prefix": prefix, "symmetric_encryption_keys": [key]}
    plain: dict[str, Any] = from_url(f"redis://{login}@{host}:{port}/{database}?{query}")["CONFIG"]
    (address,) = plain.pop("hosts")
    assert plain == own
    expected = {"username": username, "password": password, "client_name": client_name}
    assert endpoint_of(address).options == expected | {"host": host, "port": port, "db": database}

    several = f"{login}@{host}:{port},other/"
    cluster: dict[str, Any] = from_url(f"redis+cluster://{several}?{query}")["CONFIG"]
    places = [endpoint_of(address).options for address in cluster.pop("hosts")]
    assert places == [expected | {"host": host, "port": port}, expected | {"host": "other"}]
    assert cluster == own | {"cluster": True}

    name = quote(client_name, safe="")
    sentinel: dict[str, Any] = from_url(f"redis+sentinel://{several}{name}/{database}?{query}")[
        "CONFIG"
    ]
    assert sentinel == own | {
        "hosts": [expected | {"db": database}],
        "sentinels": [(host, port), ("other", 26379)],
        "master_name": client_name,
    }


def test_the_environment_decides_and_is_named_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANNEL_LAYER_URL", raising=False)
    assert from_env()["CONFIG"] == {}
    assert from_env(default="memory://?capacity=5")["CONFIG"] == {"capacity": 5}
    monkeypatch.setenv("CHANNEL_LAYER_URL", "memory://?capacity=6")
    assert from_env()["CONFIG"] == {"capacity": 6}
    monkeypatch.setenv("LAYER", "nonsense")
    with pytest.raises(OptionValueError, match="Environment variable LAYER"):
        from_env("LAYER")
