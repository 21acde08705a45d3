"""When the layer may have lost messages, open pages ask for what they miss."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.dispatch import receiver

from channel_layers.base import ChannelLayer
from channel_layers.exceptions import LayerError
from channel_layers.signals import layer_gap

logger = logging.getLogger("demo.chat")

_channels: Final[dict[str, set[str]]] = {}
"""Group -> channels of the pages that are open in this process."""
_lock: Final = threading.Lock()
_telling: Final[set[asyncio.Task[None]]] = set()


@contextmanager
def told_of_gaps(group: str, channel: str) -> Iterator[None]:
    """While this lasts ``channel`` gets a ``chat.gap`` when messages for ``group`` may be lost."""
    with _lock:
        _channels.setdefault(group, set()).add(channel)
    try:
        yield
    finally:
        with _lock:
            _channels[group].discard(channel)
            if not _channels[group]:
                del _channels[group]


@receiver(layer_gap)
def tell_pages(layer: ChannelLayer, groups: tuple[str, ...], **_: object) -> None:
    """Pass it on to the pages concerned. Runs on the layer's home loop and must not block."""
    with _lock:
        found = [channel for group in groups or _channels for channel in _channels.get(group, ())]
    if found:
        # A message to each page's own channel: its handlers run one after the other.
        telling = asyncio.get_running_loop().create_task(_tell(layer, found))
        _telling.add(telling)
        telling.add_done_callback(_telling.discard)


async def _tell(layer: ChannelLayer, channels: list[str]) -> None:
    try:
        await layer.send_many([(channel, {"type": "chat.gap"}) for channel in channels])
    except LayerError as error:
        # The next message of the room shows them as well, as its position does not follow.
        logger.warning("Pages could not be told of a gap: %s", error)
