"""The CONFIG of every layer: checked when the layer is made, with a hint for what is wrong."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, get_args

from channels.layers import BaseChannelLayer

from channel_layers.exceptions import OptionError, OptionValueError
from channel_layers.history import Limits
from channel_layers.hub import Overflow
from channel_layers.patterns import Patterns

__all__ = ["CommonConfig", "Options", "option_names", "refuse_unknown"]

MAX_PREFIX_LENGTH = 40


class CommonConfig(TypedDict, total=False):
    """The CONFIG keys that every layer has (DESIGN: interchangeable layers)."""

    prefix: str
    """Separates sites on one broker; two prefixes never meet. Default ``"channels"``."""
    expiry: float
    """Seconds after which an unread message is dropped. Default 60."""
    group_expiry: float
    """Seconds after the last ``group_add`` when a membership lapses. Default 86400."""
    capacity: int
    """Most unread messages in a channel. Default 100."""
    channel_capacity: Mapping[str | re.Pattern[str], int]
    """Glob or compiled pattern of channel names -> capacity; the first match wins."""
    max_message_size: int
    """Most bytes of one message, written as msgpack. Default 8 MiB."""
    overflow: Overflow
    """What a group message does to a full channel: ``"drop_new"`` (default) or ``"drop_old"``."""
    symmetric_encryption_keys: Sequence[str | bytes] | None
    """Keys that seal messages on the broker, newest first; all of them open. Default None."""
    history: Mapping[str | re.Pattern[str], Sequence[float]]
    """Glob or pattern of group names -> (most messages, most seconds) kept. Default ``{}``."""
    send_timeout: float
    """Seconds to wait for a broker before LayerUnavailable. Default 5."""


@dataclass(frozen=True, slots=True)
class Options:
    """The checked values of :class:`CommonConfig`."""

    prefix: str
    expiry: float
    group_expiry: float
    capacity: int
    channel_capacity: Patterns[int]
    max_message_size: int
    overflow: Overflow
    symmetric_encryption_keys: tuple[str | bytes, ...]
    history: Patterns[Limits | None]
    send_timeout: float

    @classmethod
    def checked(
        cls,
        *,
        prefix: str = "channels",
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
        max_message_size: int = 8 * 2**20,
        overflow: Overflow = "drop_new",
        symmetric_encryption_keys: Sequence[str | bytes] | None = None,
        history: Mapping[str | re.Pattern[str], Sequence[float]] | None = None,
        send_timeout: float = 5,
    ) -> Options:
        """Check each value of the CONFIG.

        Raises:
            OptionError: a value of the wrong kind.
            OptionValueError: a value that cannot be right.
        """
        capacity = _whole("capacity", capacity)
        return cls(
            prefix=_prefix(prefix),
            expiry=_seconds("expiry", expiry),
            group_expiry=_seconds("group_expiry", group_expiry),
            capacity=capacity,
            channel_capacity=Patterns(
                {
                    key: _whole(f"channel_capacity[{key!r}]", value)
                    for key, value in _globs("channel_capacity", channel_capacity).items()
                },
                capacity,
            ),
            max_message_size=_whole("max_message_size", max_message_size),
            overflow=_overflow(overflow),
            symmetric_encryption_keys=_keys(symmetric_encryption_keys),
            history=Patterns(
                {
                    key: _limits(f"history[{key!r}]", value)
                    for key, value in _globs("history", history).items()
                },
                None,
            ),
            send_timeout=_seconds("send_timeout", send_timeout),
        )


def option_names(layer: type[BaseChannelLayer]) -> list[str]:
    """The CONFIG keys that a layer class takes, its own and the common ones."""
    names = set(CommonConfig.__annotations__)
    for cls in layer.__mro__:
        if "__init__" in cls.__dict__ and issubclass(cls, BaseChannelLayer):
            names.update(
                parameter.name
                for parameter in inspect.signature(cls.__init__).parameters.values()
                if parameter.kind is parameter.KEYWORD_ONLY
            )
    return sorted(names)


def refuse_unknown(layer: type[BaseChannelLayer], unknown: Iterable[str]) -> None:
    """Raise for CONFIG keys that the layer does not have, and suggest the nearest.

    Raises:
        OptionError: if there is any; a TypeError, as for any unknown keyword.
    """
    known = option_names(layer)
    parts = []
    for name in sorted(unknown):
        near = difflib.get_close_matches(name, known, n=1)
        parts.append(f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name))
    if parts:
        raise OptionError(
            f"{layer.__name__} has no option {', '.join(parts)}. Its options: {', '.join(known)}."
        )


def _prefix(value: object) -> str:
    if not isinstance(value, str):
        raise OptionError(f"prefix must be text, not {value!r}.")
    if not (0 < len(value) <= MAX_PREFIX_LENGTH and re.fullmatch(r"[A-Za-z0-9_.-]+", value)):
        raise OptionValueError(
            f"prefix {value!r} must be 1 to {MAX_PREFIX_LENGTH} ASCII letters, digits, '-', '_' "
            "or '.'."
        )
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{name} must be a number of seconds, not {value!r}.")
    if not 0 < value < float("inf"):
        raise OptionValueError(f"{name} must be more than 0 seconds and finite, not {value!r}.")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(f"{name} must be a whole number, not {value!r}.")
    if value < 1:
        raise OptionValueError(f"{name} must be 1 or more, not {value!r}.")
    return value


def _globs(
    name: str, value: Mapping[str | re.Pattern[str], object] | None
) -> Mapping[str | re.Pattern[str], object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise OptionError(
            f"{name} must map a glob such as 'chat.*' to its setting, not be {value!r}."
        )
    for key in value:
        if not isinstance(key, str | re.Pattern):
            raise OptionError(f"{name}: {key!r} must be a glob or a compiled pattern.")
    return value


def _limits(name: str, value: object) -> Limits:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) != 2:
        raise OptionError(
            f"{name} must be (most messages, most seconds), such as (100, 300), not {value!r}."
        )
    return Limits(_whole(f"{name}, messages", value[0]), _seconds(f"{name}, seconds", value[1]))


def _overflow(value: Overflow) -> Overflow:
    if value not in get_args(Overflow):
        raise OptionValueError(f"overflow must be 'drop_new' or 'drop_old', not {value!r}.")
    return value


def _keys(value: Sequence[str | bytes] | None) -> tuple[str | bytes, ...]:
    if value is None:
        return ()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise OptionError(
            "symmetric_encryption_keys must be a list of keys, the newest first, "
            f"not a {type(value).__name__}."
        )
    for key in value:
        if not isinstance(key, str | bytes):
            raise OptionError(
                f"symmetric_encryption_keys holds a {type(key).__name__}; a key is str or bytes."
            )
        if not key:
            raise OptionValueError("symmetric_encryption_keys holds an empty key.")
    return tuple(value)
