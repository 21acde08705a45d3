"""Messages as JSON, between the kit and its worker processes: bytes are marked."""

from __future__ import annotations

import base64
from typing import Final

__all__ = ["from_json", "to_json"]

BYTES: Final = "$bytes"
DICT: Final = "$dict"


def to_json(value: object) -> object:
    """A form of ``value`` that ``json`` can write."""
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        plain = {key: to_json(item) for key, item in value.items()}
        return {DICT: plain} if BYTES in plain or DICT in plain else plain
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(value: object) -> object:
    """What :func:`to_json` was given; tuples come back as lists."""
    if isinstance(value, dict):
        if value.keys() == {BYTES}:
            return base64.b64decode(value[BYTES])
        if value.keys() == {DICT}:
            value = value[DICT]
            assert isinstance(value, dict)
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value
