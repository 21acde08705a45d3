"""Channel and group names: what is legal, and which process a name belongs to.

The rules are channels' own (:class:`channels.layers.BaseChannelLayer`), matched to the very
end of the text: channels' pattern stops at ``$`` and so lets a trailing newline through.

A *process channel* is named ``<prefix>.<process>!<local>``; only the process that made it
reads it. Any other name is a *plain channel*, whose messages go to one of the readers that
compete for it in any process.
"""

from __future__ import annotations

import secrets

from channels.layers import BaseChannelLayer

__all__ = [
    "ChannelName",
    "new_channel_name",
    "new_process_id",
    "process_of",
    "require_channel_name",
    "require_group_name",
]

MAX_LENGTH = BaseChannelLayer.MAX_NAME_LENGTH - 1
"""Longest legal name, in characters."""

_CHANNEL = BaseChannelLayer.channel_name_regex
_GROUP = BaseChannelLayer.group_name_regex


class ChannelName(str):
    """A name as ``new_channel()`` returns it: a ``str`` that can be weakly referenced.

    Channels has no hook for the end of a consumer. As long as the very object that
    ``new_channel()`` returned is alive (``consumer.channel_name`` holds it) the channel has
    an owner and is kept however long its handler takes; afterwards it is reclaimed when
    nobody has read it for a while. Copies and pickles are plain strings.
    """

    __slots__ = ("__weakref__",)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)

    def __copy__(self) -> ChannelName:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> ChannelName:
        return self


def new_process_id() -> str:
    """A fresh id for one layer in one process: 12 characters, 72 random bits."""
    return secrets.token_urlsafe(9)


def new_channel_name(prefix: object, process: str) -> ChannelName:
    """A fresh, unguessable process channel name.

    Raises:
        TypeError: ``prefix`` does not make a legal name, or makes one that is too long.
    """
    name = f"{prefix}.{process}!{secrets.token_urlsafe(9)}"
    if not isinstance(prefix, str) or len(name) > MAX_LENGTH or not _CHANNEL.fullmatch(name):
        raise TypeError(
            f"{prefix!r} cannot start a channel name: a prefix is text of up to "
            f"{MAX_LENGTH - len(name) + len(str(prefix))} ASCII letters, digits, '-', '_' or '.'."
        )
    return ChannelName(name)


def process_of(channel: str) -> str | None:
    """The id of the process that reads ``channel``, or None for a plain channel."""
    head, mark, _ = channel.partition("!")
    return head.rpartition(".")[2] if mark else None


def require_channel_name(name: object) -> str:
    """Return ``name`` if it is a legal channel name.

    Raises:
        TypeError: it is not; the text says what a legal one looks like.
    """
    if isinstance(name, str) and len(name) <= MAX_LENGTH and _CHANNEL.fullmatch(name):
        return name
    raise TypeError(
        f"{_shown(name)} is not a channel name: it must be text of 1 to {MAX_LENGTH} characters, "
        "ASCII letters, digits, '-', '_' or '.', with at most one '!', which does not come first."
    )


def require_group_name(name: object) -> str:
    """Return ``name`` if it is a legal group name.

    Raises:
        TypeError: it is not; the text says what a legal one looks like.
    """
    if isinstance(name, str) and len(name) <= MAX_LENGTH and _GROUP.fullmatch(name):
        return name
    raise TypeError(
        f"{_shown(name)} is not a group name: it must be text of 1 to {MAX_LENGTH} characters, "
        "ASCII letters, digits, '-', '_' or '.'."
    )


def _shown(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 130 else f"{text[:60]}... ({len(text)} characters)"
