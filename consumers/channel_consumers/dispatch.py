"""How consumers get their messages: what all consumers of this package share.

:class:`DispatchMixin` replaces two costly habits of channels' :class:`AsyncConsumer` and keeps
everything a consumer can observe: a new task for every message becomes one task per source,
and the visit to a thread before every message, to close old database connections, is made at
most once per second. It also ends properly: whatever ends a consumer, its channel is closed
and what was entered into its ``exit_stack`` is left.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync, async_to_sync
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from channels.consumer import AsyncConsumer, get_handler_name
from channels.db import aclose_old_connections
from channels.exceptions import StopConsumer
from channels.layers import BaseChannelLayer, get_channel_layer

__all__ = ["DispatchMixin", "dispatch_from"]

logger = logging.getLogger("channel_consumers")

Event = dict[str, Any]
Source = Callable[[], Awaitable[Any]]

_DATABASE_CHECK_SECONDS: Final = 1.0
_BREATHE_MASK: Final = 31
"""A source that always has a message never suspends; each 32nd lets the event loop go round."""


class DispatchMixin(AsyncConsumer):
    """Mix into any channels consumer, before or after its class, on any channel layer.

    Handlers run one at a time, each source's messages in their order, all in one
    :mod:`contextvars` context; an exception ends the consumer and :class:`StopConsumer` ends it
    quietly, as in channels. Client and layer take turns when both have messages.
    """

    exit_stack: AsyncExitStack
    """Left when the consumer ends, however it ends: register cleanups here. The consumer's
    channel is still open then."""

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Handle messages from the client and from the channel layer until the consumer ends."""
        self.scope = scope  # type: ignore[assignment]  # the stubs know only websocket scopes
        layer = get_channel_layer(self.channel_layer_alias)
        self.channel_layer = layer  # type: ignore[assignment]  # None without a layer, as in channels
        self.base_send = async_to_sync(send) if getattr(self, "_sync", False) else send  # type: ignore[arg-type]  # asgiref wants a coroutine function, ASGI promises an awaitable
        async with AsyncExitStack() as self.exit_stack:
            sources: list[Source] = [receive]
            if layer is not None:
                self.channel_name = await layer.new_channel()
                self.exit_stack.push_async_exit(partial(_leave_layer, self, layer))
                self.channel_receive = partial(layer.receive, self.channel_name)  # type: ignore[assignment]  # not an ASGI event, whatever the stubs say
                sources.append(self.channel_receive)
            with suppress(StopConsumer):
                await dispatch_from(sources, self.dispatch)

    async def dispatch(self, message: Event) -> None:
        """Call the handler that the message's type names.

        Raises:
            ValueError: the message has no type, or one without a handler.
        """
        if getattr(self, "_sync", False):  # SyncConsumer works in a thread anyway
            await super().dispatch(message)
            return
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"No handler for message type {message['type']}")
        loop = asyncio.get_running_loop()
        # Connections belong to threads, and sync code runs in one thread per such context.
        thread: object = SyncToAsync.thread_sensitive_context.get(None) or loop
        if loop.time() >= _database_check_due.get(thread, 0.0):
            _database_check_due[thread] = loop.time() + _DATABASE_CHECK_SECONDS
            await aclose_old_connections()
        try:
            await handler(message)
        except Exception:
            # Perhaps of a lost database connection: let the next message not meet it too.
            _database_check_due.pop(thread, None)
            raise


_database_check_due: WeakKeyDictionary[object, float] = WeakKeyDictionary()


async def dispatch_from(
    sources: Sequence[Source], dispatch: Callable[[Event], Awaitable[None]]
) -> None:
    """Pass on the messages of several sources, one at a time, until one of them raises.

    What :func:`channels.utils.await_many_dispatch` does, with a task per source instead of a
    task per message.

    Raises:
        Whatever a source or ``dispatch`` raises first; the others are cancelled and awaited.
    """
    turn = asyncio.Lock()
    ended = False

    async def pump(source: Source) -> None:
        nonlocal ended
        count = 0
        while True:
            message = await source()
            async with turn:
                if ended:
                    return
                try:
                    await dispatch(message)
                except BaseException:
                    # Said before the turn passes on: no handler may run after the end.
                    ended = True
                    raise
            count += 1
            if not count & _BREATHE_MASK:
                await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    # One context, so that what one handler sets (a language, a log context) the next one sees.
    context = contextvars.copy_context()
    pumps = [loop.create_task(pump(source), context=context) for source in sources]
    try:
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = True
        for task in pumps:
            task.cancel()
        await asyncio.wait(pumps)
    failed = [task for task in pumps if not task.cancelled() and task.exception() is not None]
    first = [task for task in failed if task in done]
    for task in failed:
        if task not in first[:1]:
            logger.error("A consumer failed again while it ended.", exc_info=task.exception())
    for task in first or list(done):
        task.result()


async def _leave_layer(consumer: DispatchMixin, layer: BaseChannelLayer, *error: object) -> None:
    """Leave nothing of a consumer behind in its layer; it is too late to raise problems."""
    try:
        close_channel = getattr(layer, "close_channel", None)
        if close_channel is not None:
            await close_channel(consumer.channel_name)
        elif any(error):
            # channels' own consumers leave their groups only when the client disconnects.
            for group in getattr(consumer, "groups", None) or ():
                await layer.group_discard(group, consumer.channel_name)
    except Exception:
        logger.warning("Channel %r could not be closed.", consumer.channel_name, exc_info=True)
