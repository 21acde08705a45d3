"""Reading Redis' replies as what they are known to be."""

from __future__ import annotations

from channel_layers.redis.link import Reply

__all__ = ["as_bytes", "as_int", "as_list", "as_text", "as_texts"]


def as_list(reply: Reply) -> list[Reply]:
    """A list of replies."""
    if isinstance(reply, list):
        return reply
    raise _unexpected("a list", reply)


def as_bytes(reply: Reply) -> bytes:
    """A string."""
    if isinstance(reply, bytes):
        return reply
    raise _unexpected("a string", reply)


def as_int(reply: Reply) -> int:
    """A number, or a string that is one."""
    if isinstance(reply, int):
        return reply
    return int(as_bytes(reply))


def as_text(reply: Reply) -> str:
    """A string in UTF-8."""
    return as_bytes(reply).decode()


def as_texts(reply: Reply) -> list[str]:
    """A list of strings in UTF-8."""
    return [as_text(text) for text in as_list(reply)]


def _unexpected(what: str, reply: Reply) -> TypeError:
    return TypeError(f"Redis answered {reply!r:.100} where {what} belongs.")
