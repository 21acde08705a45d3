"""Messages as bytes: which values may travel, and how they are written (msgpack by msgspec).

A message is a ``dict`` of ``bytes``, ``str``, ``int`` (64 bit, signed), ``float``, ``bool``,
``None``, lists and dicts with ``str`` keys, as the channel layer specification lists them;
tuples arrive as lists, subclasses (``SafeString``, ``IntEnum``) as their base. Everything is
checked when it is sent, so that nothing can fail where it is received.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from channel_layers.exceptions import MessageTooLarge, MessageTypeError

__all__ = ["Message", "Position", "decode", "encode"]

MAX_DEPTH: Final = 128
"""Deepest nesting of lists and dicts in a message."""

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_ATOMS: Final = frozenset({str, bytes, float, bool, type(None)})


class Position(NamedTuple):
    """A place in the history of a group.

    ``offset`` counts the group's messages from 1 within one ``epoch``; a new epoch means
    that the count began anew and that positions of the old one cannot be resumed.
    """

    epoch: str
    offset: int


class Message(dict[str, Any]):
    """A message that was delivered through a group with history.

    It is the dict that was sent and equals it; ``group`` and ``position`` say where it stands.
    """

    __slots__ = ("group", "position")

    def __init__(self, body: dict[str, Any], group: str, position: Position) -> None:
        super().__init__(body)
        self.group = group
        self.position = position


class _Fault(NamedTuple):
    path: str
    reason: str


def encode(message: object, *, max_size: int) -> bytes:
    """Check ``message`` and write it as msgpack.

    Args:
        max_size: the most bytes that the result may have.

    Raises:
        MessageTypeError: it is not a dict, or a value in it cannot travel; names its path.
        MessageTooLarge: more than ``max_size`` bytes.
    """
    if not isinstance(message, dict):
        raise MessageTypeError(
            f"A message must be a dict, not {type(message).__name__}; "
            'for text, send {"type": "chat.message", "text": ...}.'
        )
    fault = _fault_in_dict(message, 0)
    if fault is None:
        try:
            body = _encoder.encode(message)
        except UnicodeEncodeError:
            fault = _lone_surrogate(message) or _Fault("", "text that is not valid Unicode")
        else:
            if len(body) > max_size:
                raise MessageTooLarge(
                    f"The message has {len(body):,} bytes, the limit is {max_size:,}: store the "
                    "content and send its key, or raise max_message_size in the layer's CONFIG."
                )
            return body
    raise MessageTypeError(
        f"message{fault.path} cannot travel: {fault.reason}. A message holds bytes, str, int "
        "(64 bit), float, bool, None, lists, and dicts with str keys."
    )


def _fault(value: object, depth: int) -> _Fault | None:
    kind = type(value)
    if kind in _ATOMS:
        return None
    if kind is dict:
        return _fault_in_dict(value, depth)  # type: ignore[arg-type]  # kind narrows, mypy cannot see it
    if isinstance(value, int):
        if _INT_MIN <= value <= _INT_MAX:
            return None
        return _Fault("", f"{_shown(value)} does not fit into 64 bits with sign")
    if isinstance(value, list | tuple):
        if depth >= MAX_DEPTH:
            return _Fault("", f"nested more than {MAX_DEPTH} deep")
        for index, item in enumerate(value):
            fault = _fault(item, depth + 1)
            if fault is not None:
                return _Fault(f"[{index}]{fault.path}", fault.reason)
        return None
    if isinstance(value, dict):
        return _fault_in_dict(value, depth)
    if isinstance(value, str | bytes | float):
        return None
    return _Fault("", f"{_shown(value)} is of type {kind.__module__}.{kind.__qualname__}")


def _fault_in_dict(value: dict[object, object], depth: int) -> _Fault | None:
    if depth >= MAX_DEPTH:
        return _Fault("", f"nested more than {MAX_DEPTH} deep")
    for key, item in value.items():
        if type(key) is not str and not isinstance(key, str):
            return _Fault("", f"its key {_shown(key)} is not a str")
        if type(item) in _ATOMS:
            continue
        fault = _fault(item, depth + 1)
        if fault is not None:
            return _Fault(f"{_step(key)}{fault.path}", fault.reason)
    return None


def _lone_surrogate(value: object) -> _Fault | None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return _Fault("", f"{_shown(value)} holds a lone surrogate")
    elif isinstance(value, dict):
        for key, item in value.items():
            if _lone_surrogate(key):
                return _Fault("", f"its key {_shown(key)} holds a lone surrogate")
            if fault := _lone_surrogate(item):
                return _Fault(f"{_step(key)}{fault.path}", fault.reason)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if fault := _lone_surrogate(item):
                return _Fault(f"[{index}]{fault.path}", fault.reason)
    return None


def _step(key: str) -> str:
    return f'["{_shown(key)[1:-1]}"]'


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _as_base(value: object) -> object:
    """The hook for subclasses, which msgspec refuses: the plain value beneath."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot travel")


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_as_base)

decode: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode
"""Read what :func:`encode` wrote, into a fresh dict; msgspec.DecodeError if it is no message."""
