"""A process that runs layers for the kit: ``python -m channel_layers.testing.worker DOTTED``.

It reads requests from stdin and writes answers to stdout, one JSON object a line::

    {"id": 1, "verb": "open", "args": [{...CONFIG...}]}   -> {"id": 1, "result": null}
    {"id": 2, "verb": "send", "args": ["chat", {"type": "x"}]}
    {"id": 3, "verb": "receive", "args": ["chat"]}        -> {"id": 3, "result": {"type": "x"}}
    {"id": 4, "verb": "cancel", "args": [3]}              -> {"id": 3, "error": ["Cancelled", ""]}

Requests run at the same time; answers come as they are ready. ``open`` replaces the layer that
was open before. It ends when stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.wire import from_json, to_json

__all__ = ["Worker"]


class Worker:
    """Answers requests with one layer of a class."""

    def __init__(self, dotted: str, answer: Callable[[dict[str, object]], None]) -> None:
        self._dotted = dotted
        self._answer = answer
        self._layer: AnyLayer | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def request(self, request: dict[str, object]) -> None:
        """Begin to answer one request."""
        number, verb = cast(int, request["id"]), cast(str, request["verb"])
        args = cast(list[object], from_json(request.get("args", [])))
        if verb == "cancel":
            if task := self._tasks.get(cast(int, args[0])):
                task.cancel()
            return
        task = asyncio.ensure_future(self._run(number, verb, args))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def close(self) -> None:
        """Cancel what runs and close the layer."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close_layer()

    async def _run(self, number: int, verb: str, args: list[object]) -> None:
        answer: dict[str, object] = {"id": number}
        try:
            answer["result"] = to_json(await self._call(verb, args))
        except asyncio.CancelledError:
            answer["error"] = ["Cancelled", ""]
        except Exception as error:  # noqa: BLE001  # the caller raises it again
            answer["error"] = [type(error).__name__, str(error)]
        self._answer(answer)

    async def _call(self, verb: str, args: list[object]) -> object:
        if verb == "open":
            await self._close_layer()
            await self._open(cast(dict[str, object], args[0]))
            return None
        if verb == "release":
            await self._close_layer()
            return None
        called: Callable[..., Awaitable[object]] = getattr(self._layer, verb)
        return await called(*args)

    async def _open(self, config: dict[str, object]) -> None:
        from channel_layers.testing.harness import imported

        _skew_wall_clock(cast(float, config.pop("$clock_skew", 0)))
        self._layer = cast(AnyLayer, imported(self._dotted)(**config))

    async def _close_layer(self) -> None:
        from channel_layers.testing.harness import LayerUnderTest

        layer, self._layer = self._layer, None
        if layer is not None:
            await LayerUnderTest(self._dotted).close(layer)


_real_time, _real_time_ns = time.time, time.time_ns


def _skew_wall_clock(seconds: float) -> None:
    # What a machine whose clock is wrong sees; the monotonic clock is right everywhere.
    time.time = lambda: _real_time() + seconds
    time.time_ns = lambda: _real_time_ns() + int(seconds * 1e9)


async def main(dotted: str) -> None:
    """Answer until stdin ends."""
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        import django

        django.setup()
    lines = asyncio.StreamReader(limit=64 * 2**20)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    # Whatever a layer prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(data: dict[str, object]) -> None:
        answers.write(json.dumps(data) + "\n")
        answers.flush()

    worker = Worker(dotted, answer)
    with contextlib.closing(transport), answers:
        while line := await lines.readline():
            worker.request(json.loads(line))
        await worker.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
