"""The event loop that owns a layer's connections, and how others hand work over to it.

A connection belongs to one event loop, but a layer is called from several loops, from
threads and from plain sync code. So one loop per layer and process is its *home*. Where the
first call comes from the main thread's running loop (uvicorn, daphne, a test), that loop is
the home, and calls there need no hand-over at all; else (WSGI, Celery, a management command,
``async_to_sync``, which runs a loop of its own for each call) a thread of the layer's runs
one. A home whose loop has been closed is replaced at the next call.

Work is handed over in a queue with one wake-up for all that is in it: 0.1 µs a call instead
of 4 µs for a ``call_soon_threadsafe`` each.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import _get_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from channel_layers.exceptions import LayerClosed, SyncInLoopError

__all__ = ["HomeLoop"]

T = TypeVar("T")

Verb = Callable[[], Coroutine[Any, Any, T]]


class HomeLoop:
    """Chooses the home loop when it is first needed, and runs coroutines on it.

    Args:
        name: of the thread, should one be needed.
        moved: called in the home loop whenever a new one has been chosen; what belonged to
            the loop before it (connections, tasks) is lost and has to be made again.
    """

    def __init__(self, *, name: str, moved: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._moved = moved
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._queue: deque[Callable[[], object]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped = False

    async def run(self, verb: Verb[T]) -> T:
        """Run ``await verb()`` on the home loop and return its result, from any loop.

        Cancelling the caller cancels the verb.

        Raises:
            LayerClosed: :meth:`stop` was called.
        """
        if self._settle() is _get_running_loop():
            return await verb()
        handed = self._hand_over(verb)
        try:
            return await asyncio.wrap_future(handed)
        except asyncio.CancelledError:
            handed.cancel()
            raise

    def run_blocking(self, verb: Verb[T]) -> T:
        """Run ``await verb()`` on the home loop and wait for its result in this thread.

        Raises:
            SyncInLoopError: this thread runs an event loop, which would stand still.
            LayerClosed: :meth:`stop` was called.
        """
        if _get_running_loop() is not None:
            raise SyncInLoopError("A thread that runs an event loop cannot wait for another.")
        self._settle()
        waiting: _Waiting[T] = _Waiting()
        self.call(lambda: self._begin_waited(verb, waiting))
        return waiting.result()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function that does not block on the home loop, soon, from anywhere.

        Raises:
            LayerClosed: :meth:`stop` was called.
        """
        loop = self._settle()
        with self._lock:
            first = not self._queue
            self._queue.append(function)
        if first:
            loop.call_soon_threadsafe(self._work)

    async def stop(self) -> None:
        """Cancel and await what is running, and end the thread if there is one."""
        with self._lock:
            self._stopped = True
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or loop.is_closed():
            return
        if loop is _get_running_loop():
            await self._cancel_tasks()
            return
        ended = asyncio.run_coroutine_threadsafe(self._cancel_tasks(), loop)
        await asyncio.wrap_future(ended)
        if thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(thread.join)

    def _hand_over(self, verb: Verb[T]) -> Future[T]:
        handed: Future[T] = Future()
        self.call(lambda: self._begin(verb, handed))
        return handed

    def _begin(self, verb: Verb[T], handed: Future[T]) -> None:
        if handed.cancelled():
            return
        task = asyncio.ensure_future(verb())
        self._tasks.add(task)

        def withdraw(future: Future[T]) -> None:
            if future.cancelled():
                self.call(task.cancel)

        def finish(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if not handed.set_running_or_notify_cancel():
                return
            if task.cancelled():
                handed.set_exception(LayerClosed("The layer was closed during the call."))
            elif (error := task.exception()) is not None:
                handed.set_exception(error)
            else:
                handed.set_result(task.result())

        task.add_done_callback(finish)
        handed.add_done_callback(withdraw)

    def _begin_waited(self, verb: Verb[T], waiting: _Waiting[T]) -> None:
        task = asyncio.ensure_future(verb())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(waiting.finish)

    def _work(self) -> None:
        with self._lock:
            queue, self._queue = self._queue, deque()
        for function in queue:
            function()

    def _settle(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            return loop
        running = _get_running_loop()
        with self._lock:
            if self._stopped:
                raise LayerClosed("The layer has been closed.")
            if self._loop is not None and not self._loop.is_closed():
                return self._loop  # chosen by another thread meanwhile
            self._tasks.clear()
            if running is not None and threading.current_thread() is threading.main_thread():
                self._loop = running
            else:
                self._loop = self._start_thread()
                self._loop.call_soon_threadsafe(self._moved)
            if self._queue:  # handed over to a loop that was closed before it looked
                self._loop.call_soon_threadsafe(self._work)
            loop = self._loop
        if loop is running:
            self._moved()
        return loop

    def _start_thread(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()

        def serve() -> None:
            try:
                loop.run_forever()
            finally:
                loop.close()

        self._thread = threading.Thread(target=serve, name=self._name, daemon=True)
        self._thread.start()
        return loop

    async def _cancel_tasks(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Waiting(Generic[T]):
    """A thread that waits for a task: a third of the cost of a ``concurrent.futures.Future``."""

    __slots__ = ("_lock", "_task")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._task: asyncio.Task[T] | None = None

    def finish(self, task: asyncio.Task[T]) -> None:
        """The task has ended: let the thread go on."""
        self._task = task
        self._lock.release()

    def result(self) -> T:
        """Wait, and return what the task returned."""
        self._lock.acquire()
        task = self._task
        if task is None or task.cancelled():
            raise LayerClosed("The layer was closed during the call.")
        return task.result()
