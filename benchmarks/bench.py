"""What a scenario is given: layers, how much to do, and a line to the process that started it."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TextIO, TypeVar

from django.utils.module_loading import import_string

from benchmarks.cases import Case, Layer
from benchmarks.layers import Row

__all__ = ["CAPACITY", "Bench"]

CAPACITY = 50_000
"""Messages a channel may hold, given to every layer that takes the option. No scenario has more
of them unread at a time, so what a layer loses is never what it was told to drop."""

CLOSE_SECONDS = 5

T = TypeVar("T")


class Bench:
    """The surroundings of one run."""

    def __init__(self, case: Case, row: Row, answers: TextIO) -> None:
        self.case = case
        self.row = row
        self._answers = answers
        self._layers: list[Layer] = []
        self._held = ExitStack()

    def amount(self, full: int, quick: int) -> int:
        """How many to do: ``full``, or ``quick`` in a smoke run."""
        return quick if self.case.quick else full

    def seconds(self, full: float) -> float:
        """How long to go on; a tenth in a smoke run."""
        return full / 10 if self.case.quick else full

    def open(self) -> Layer:
        """A new layer, as another process would have it.

        A layer that lives within one process cannot be reached from a second instance: for it
        this is always the same one.
        """
        if self._layers and not self.row.distributed:
            return self._layers[0]
        return self.open_anew()

    def open_anew(self) -> Layer:
        """A new layer that shares nothing with those opened before, in any case."""
        layer: Layer = import_string(self.row.path)(**self.row.config(self.case.address, CAPACITY))
        self._layers.append(layer)
        return layer

    async def hold(self, surroundings: AbstractContextManager[T]) -> T:
        """Enter something that the layers need, and leave it when they have been closed.

        In a thread, because either may take a while.
        """
        return await asyncio.to_thread(self._held.enter_context, surroundings)

    def say(self, answer: dict[str, Any]) -> None:
        """Tell the process that started this one."""
        print(json.dumps(answer), file=self._answers, flush=True)

    async def orders(self) -> asyncio.StreamReader:
        """The lines that the process that started this one writes."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        return reader

    async def close(self) -> None:
        """Close what was opened, in whatever way the layer offers, then what was held."""
        for layer in self._layers:
            ways = (getattr(layer, name, None) for name in ("close", "close_pools"))
            close: Callable[[], Awaitable[None]] | None = next(filter(None, ways), None)
            if close is None:
                continue
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await close()
            except Exception:  # noqa: BLE001  # the figures are out; the process ends anyway
                traceback.print_exc()
        try:
            await asyncio.to_thread(self._held.close)
        except Exception:  # noqa: BLE001  # as above
            traceback.print_exc()
