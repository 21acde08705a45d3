"""A layer from one URL, for sites that are configured by environment variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypedDict
from urllib.parse import parse_qsl, urlsplit

from channel_layers.exceptions import OptionValueError

__all__ = ["LayerEntry", "from_env", "from_url"]

Value = str | int | float | list[str] | dict[str, int] | dict[str, tuple[int, float]]


class LayerEntry(TypedDict):
    """One entry of Django's ``CHANNEL_LAYERS`` setting."""

    BACKEND: str
    CONFIG: dict[str, Value]


def from_url(url: str) -> LayerEntry:
    """The ``CHANNEL_LAYERS`` entry that a URL describes.

    ``memory://?capacity=500&history=chat.*:100:300``: the scheme picks the layer, query
    parameters are its options. Parameters that may come several times:
    ``channel_capacity=GLOB:NUMBER``, ``history=GLOB:MESSAGES:SECONDS`` and
    ``symmetric_encryption_keys=KEY`` (the newest first).

    Raises:
        OptionValueError: an unknown scheme or parameter, or a value that cannot be read.
    """
    if not isinstance(url, str):
        raise OptionValueError(f"A layer URL must be text such as 'memory://', not {url!r}.")
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise OptionValueError(
            f"{_without_password(url)!r} names no channel layer: a layer URL starts with "
            f"{' or '.join(f'{scheme}://' for scheme in sorted(_SCHEMES))}."
        )
    if parts.netloc or parts.path.strip("/"):
        raise OptionValueError(
            f"{parts.scheme}:// takes no host and no path, only options, such as "
            f"'{parts.scheme}://?capacity=500'."
        )
    return {"BACKEND": _SCHEMES[parts.scheme], "CONFIG": _options(parts.query)}


def from_env(name: str = "CHANNEL_LAYER_URL", default: str = "memory://") -> LayerEntry:
    """The ``CHANNEL_LAYERS`` entry for the URL in an environment variable.

    Args:
        name: the variable.
        default: the URL where it is not set or empty.

    Raises:
        OptionValueError: as :func:`from_url`; the text names the variable.
    """
    url = os.environ.get(name) or default
    try:
        return from_url(url)
    except OptionValueError as error:
        raise OptionValueError(f"Environment variable {name}: {error}") from error


def _options(query: str) -> dict[str, Value]:
    config: dict[str, Value] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise OptionValueError(f"'?{query}' is not a list of option=value pairs.") from error
    for name in dict.fromkeys(name for name, _ in pairs):
        texts = [text for other, text in pairs if other == name]
        if name not in _READERS and name not in _MANY:
            raise OptionValueError(
                f"Unknown option {name!r} in a layer URL; known: "
                f"{', '.join(sorted([*_READERS, *_MANY]))}."
            )
        if name in _READERS and len(texts) > 1:
            raise OptionValueError(f"Option {name!r} comes {len(texts)} times in a layer URL.")
        try:
            config[name] = _MANY[name](texts) if name in _MANY else _READERS[name](texts[0])
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


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, mark, _ = head.partition("://")
    return f"{scheme}{mark}...{at}{tail}" if at else url


_SCHEMES: Final = {"memory": "channel_layers.memory.InMemoryChannelLayer"}

_READERS: Final[dict[str, Callable[[str], Value]]] = {
    "prefix": str,
    "overflow": str,
    "expiry": _seconds,
    "group_expiry": _seconds,
    "send_timeout": _seconds,
    "capacity": int,
    "max_message_size": int,
}

_MANY: Final[dict[str, Callable[[list[str]], Value]]] = {
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
    "channel_capacity": "give GLOB:NUMBER",
    "history": "give GLOB:MESSAGES:SECONDS",
}
