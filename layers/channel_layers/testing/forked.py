"""A layer before and after ``fork``: ``python -m channel_layers.testing.forked DOTTED CONFIG``.

A process of its own, because forking pytest would fork all of it. Exits with 0 if both the
parent and its child could use the layer that the parent had made and used.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Final, cast

from channel_layers.testing.harness import imported
from channel_layers.testing.protocols import AnyLayer

__all__ = ["main"]

SECONDS: Final = 10


async def exchange(layer: AnyLayer, who: str) -> None:
    """Use the layer: a channel, a group, a message each way."""
    async with asyncio.timeout(SECONDS):
        channel = await layer.new_channel()
        await layer.group_add(who, channel)
        await layer.send(channel, {"type": "sent", "by": who})
        await layer.group_send(who, {"type": "group", "by": who})
        found = [await layer.receive(channel) for _ in range(2)]
    if [message["by"] for message in found] != [who, who]:
        raise AssertionError(f"{who} received {found}")


def main(dotted: str, config: str) -> int:
    """The exit code."""
    layer = cast(AnyLayer, imported(dotted)(**json.loads(config)))
    asyncio.run(exchange(layer, "before"))
    child = os.fork()
    if child == 0:
        signal.alarm(2 * SECONDS)  # a child that hangs is killed, and seen below
        try:
            asyncio.run(exchange(layer, "child"))
        except BaseException as error:  # noqa: BLE001  # the child must not run the parent's code
            sys.stderr.write(f"in the forked child: {error!r}\n")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.stderr.write(f"the forked child ended with status {status}\n")
        return 1
    asyncio.run(exchange(layer, "parent"))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
