"""The in-memory layer with a fault: away for as long as a file exists."""

from __future__ import annotations

import os
from pathlib import Path

from channel_layers.codec import Position
from channel_layers.exceptions import LayerUnavailable
from channel_layers.history import History
from channel_layers.memory import InMemoryChannelLayer


class AwayLayer(InMemoryChannelLayer):
    """Raises what a layer raises whose broker cannot be reached."""

    def _require_link(self) -> None:
        if Path(os.environ["LAYER_AWAY_FLAG"]).exists():
            raise LayerUnavailable("The broker is away.")

    async def _group_send(self, group: str, body: bytes) -> None:
        self._require_link()
        await super()._group_send(group, body)

    async def _group_add(self, group: str, channel: str) -> None:
        self._require_link()
        await super()._group_add(group, channel)

    async def _history(self, group: str, since: Position | None, limit: int | None) -> History:
        self._require_link()
        return await super()._history(group, since, limit)

    async def _position(self, group: str) -> Position:
        self._require_link()
        return await super()._position(group)
