"""A client for a consumer under test: what an ASGI server does, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.consumer import AsyncConsumer


class Client:
    """Runs a consumer as a task; ``future`` ends when the consumer does, or raises as it does."""

    def __init__(self, consumer: AsyncConsumer, scope: dict[str, Any]) -> None:
        self._inputs: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outputs: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.future = asyncio.ensure_future(
            consumer(scope, self._inputs.get, self._outputs.put)  # type: ignore[arg-type]
        )

    async def send_input(self, message: dict[str, Any]) -> None:
        """Send as the client; nobody may be there any more."""
        self._inputs.put_nowait(message)

    async def receive_output(self) -> dict[str, Any]:
        """The next message for the client; fails if the consumer ends instead."""
        output = asyncio.ensure_future(self._outputs.get())
        await asyncio.wait([output, self.future], return_when=asyncio.FIRST_COMPLETED)
        if not output.done():
            output.cancel()
            self.future.result()
            raise AssertionError("The consumer ended without a message.")
        return output.result()

    async def end(self, message: dict[str, Any] | None = None) -> None:
        """Have the consumer end, by a message or by cancelling it, and wait for it."""
        if not self.future.done():
            if message is None:
                self.future.cancel()
            else:
                await self.send_input(message)
        await asyncio.wait([self.future])
