"""The options of a layer in the query of its URL: ``?capacity=500&history=chat.*:100:300``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import parse_qsl

from channel_layers.exceptions import OptionValueError

__all__ = ["COMMON", "REDIS", "pairs_of", "read_options"]

Reader = Callable[[str], object]


def pairs_of(query: str) -> list[tuple[str, str]]:
    """Names and values, decoded.

    Raises:
        OptionValueError: it is not a list of them; the text does not repeat it, as options may
            be secrets.
    """
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise OptionValueError(
            "What follows '?' in a layer URL is not a list of option=value pairs joined by '&'. "
            "Write '&' within a value as %26, '%' as %25."
        ) from error


def read_options(pairs: list[tuple[str, str]], known: Collection[str]) -> dict[str, object]:
    """The values of a layer's options.

    Args:
        pairs: names and values; a name may come several times.
        known: the options that this layer has.

    Raises:
        OptionValueError: an unknown option, or a value that cannot be read.
    """
    config: dict[str, object] = {}
    for name in dict.fromkeys(name for name, _ in pairs):
        texts = [text for other, text in pairs if other == name]
        if name not in known:
            raise OptionValueError(
                f"Unknown option {name!r} in a layer URL; known: {', '.join(sorted(known))}."
            )
        if name in _READERS and len(texts) > 1:
            raise OptionValueError(f"Option {name!r} comes {len(texts)} times in a layer URL.")
        try:
            config[name] = _READERS[name](texts[0]) if name in _READERS else _MANY[name](texts)
        except ValueError as error:
            raise OptionValueError(
                f"Option {name}={'|'.join(texts)!r} in a layer URL cannot be read: {_FORMS[name]}."
            ) from error
    return config


def _seconds(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)


def _capacity(text: str) -> tuple[str, int]:
    glob, number = text.rsplit(":", 1)
    return glob, int(number)


def _history(text: str) -> tuple[str, tuple[int, float]]:
    glob, messages, seconds = text.rsplit(":", 2)
    return glob, (int(messages), _seconds(seconds))


_READERS: Final[dict[str, Reader]] = {
    "prefix": str,
    "overflow": str,
    "delivery": str,
    "expiry": _seconds,
    "group_expiry": _seconds,
    "send_timeout": _seconds,
    "capacity": int,
    "max_message_size": int,
    "partitions": int,
}

_MANY: Final[dict[str, Callable[[list[str]], object]]] = {
    "channel_capacity": lambda texts: dict(map(_capacity, texts)),
    "history": lambda texts: dict(map(_history, texts)),
    "symmetric_encryption_keys": list,
}

_FORMS: Final = {
    "expiry": "give a number of seconds",
    "group_expiry": "give a number of seconds",
    "send_timeout": "give a number of seconds",
    "capacity": "give a whole number",
    "max_message_size": "give a whole number of bytes",
    "partitions": "give a whole number",
    "channel_capacity": "give GLOB:NUMBER",
    "history": "give GLOB:MESSAGES:SECONDS",
}

REDIS: Final = frozenset({*_READERS, *_MANY})
"""Options of the layer over Redis."""

COMMON: Final = REDIS - {"delivery", "partitions"}
"""Options that every layer has."""
