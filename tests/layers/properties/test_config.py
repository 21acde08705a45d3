"""Options: what is wrong is said, and what would be right."""

from __future__ import annotations

import re
from typing import Any

import pytest

from channel_layers.exceptions import LayerError, OptionError, OptionValueError
from channel_layers.memory import InMemoryChannelLayer


@pytest.mark.parametrize(
    ("config", "error", "says"),
    [
        ({"capasity": 3}, OptionError, r"'capasity' \(did you mean 'capacity'\?\)"),
        ({"hosts": []}, OptionError, "no option 'hosts'"),
        ({"capacity": 0}, OptionValueError, "capacity must be 1 or more"),
        ({"capacity": "100"}, OptionError, "capacity must be a whole number"),
        ({"capacity": True}, OptionError, "capacity must be a whole number"),
        ({"channel_capacity": {"a.*": 0}}, OptionValueError, r"channel_capacity\['a.\*'\]"),
        ({"channel_capacity": [("a", 1)]}, OptionError, "must map a glob"),
        ({"channel_capacity": {3: 1}}, OptionError, "3 must be a glob or a compiled pattern"),
        ({"expiry": 0}, OptionValueError, "expiry must be more than 0"),
        ({"expiry": float("nan")}, OptionValueError, "expiry must be more than 0"),
        ({"expiry": "60"}, OptionError, "expiry must be a number of seconds"),
        ({"group_expiry": -1}, OptionValueError, "group_expiry must be more than 0"),
        ({"max_message_size": 1.5}, OptionError, "max_message_size must be a whole number"),
        ({"overflow": "block"}, OptionValueError, "'drop_new' or 'drop_old'"),
        ({"prefix": ""}, OptionValueError, "prefix '' must be 1 to 40"),
        ({"prefix": "a b"}, OptionValueError, "prefix 'a b'"),
        ({"prefix": b"a"}, OptionError, "prefix must be text"),
        ({"symmetric_encryption_keys": "secret"}, OptionError, "list of keys"),
        ({"symmetric_encryption_keys": [3]}, OptionError, "a key is str or bytes"),
        ({"symmetric_encryption_keys": [""]}, OptionValueError, "an empty key"),
        ({"history": {"chat.*": 100}}, OptionError, "such as \\(100, 300\\)"),
        ({"history": {"chat.*": (0, 300)}}, OptionValueError, "messages must be 1 or more"),
        ({"send_timeout": 0}, OptionValueError, "send_timeout must be more than 0"),
    ],
)
def test_a_wrong_option_is_named_and_put_right(
    config: dict[str, Any], error: type[LayerError], says: str
) -> None:
    with pytest.raises(error, match=says):
        InMemoryChannelLayer(**config)


def test_an_unknown_option_is_a_type_error_as_for_any_function() -> None:
    with pytest.raises(TypeError):
        InMemoryChannelLayer(nonsense=1)  # type: ignore[call-arg]  # the point of the test


def test_capacity_by_glob_and_by_pattern_the_first_match_wins() -> None:
    layer = InMemoryChannelLayer(
        capacity=7, channel_capacity={"http.*": 1, re.compile(r"ht+p"): 2, "*": 3}
    )
    assert [layer.get_capacity(name) for name in ("http.a", "httttp", "other")] == [1, 2, 3]
    assert InMemoryChannelLayer(capacity=7).get_capacity("any") == 7
