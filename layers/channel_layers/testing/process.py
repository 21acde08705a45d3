"""Layers in other processes: the other end of :mod:`channel_layers.testing.worker`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, cast

from channel_layers.testing.protocols import Message
from channel_layers.testing.wire import from_json, to_json

__all__ = ["RemoteError", "RemoteLayer", "WorkerDied", "WorkerPool", "WorkerProcess"]

START_SECONDS: Final = 30.0
END_SECONDS: Final = 10.0


class RemoteError(Exception):
    """A verb failed in the worker; ``kind`` is the name of the exception's class there."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class WorkerDied(Exception):
    """The worker process ended before it answered."""


class WorkerProcess:
    """One worker. It belongs to no event loop: two threads write requests and read answers."""

    def __init__(self, dotted: str) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[object]] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._process = subprocess.Popen(  # our own module
            [sys.executable, "-m", "channel_layers.testing.worker", dotted],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            text=True,
        )
        self._requests: SimpleQueue[str | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=target, name="layer worker", daemon=True)
            for target in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def request(self, verb: str, *args: object) -> tuple[int, Future[object]]:
        """Ask for a verb; its number and its answer to come."""
        number = next(self._numbers)
        answer: Future[object] = Future()
        with self._lock:
            if self._ended:
                answer.set_exception(WorkerDied(f"worker {self.pid} is gone"))
            else:
                self._waiting[number] = answer
        self._requests.put(json.dumps({"id": number, "verb": verb, "args": to_json(args)}))
        return number, answer

    def cancel(self, number: int) -> None:
        """Cancel what was asked for; it is answered in any case."""
        self._requests.put(json.dumps({"id": 0, "verb": "cancel", "args": [number]}))

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def close(self) -> None:
        """Let it close its layer and end."""
        self._requests.put(None)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait(END_SECONDS)
        self._requests.put(None)
        for thread in self._threads:
            thread.join(END_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _write(self) -> None:
        assert self._process.stdin is not None
        # A worker that was killed reads no more; whoever waits for it hears that from _read.
        with contextlib.suppress(OSError), self._process.stdin as stdin:
            while (line := self._requests.get()) is not None:
                stdin.write(line + "\n")
                stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                future = self._waiting.pop(answer["id"], None)
            if future is None or not future.set_running_or_notify_cancel():
                continue
            if "error" in answer:
                future.set_exception(RemoteError(*answer["error"]))
            else:
                future.set_result(from_json(answer["result"]))
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._ended = True
        for future in waiting.values():
            if future.set_running_or_notify_cancel():
                future.set_exception(WorkerDied(f"worker {self.pid} died"))


class RemoteLayer:
    """The layer of a worker process, with the verbs of a layer."""

    def __init__(self, process: WorkerProcess, pool: WorkerPool) -> None:
        self.process = process
        self._pool = pool
        self._returned: dict[str, deque[Message]] = {}

    async def send(self, channel: str, message: Message) -> None:
        """See the layer's."""
        await self.call("send", channel, message)

    async def receive(self, channel: str) -> Message:
        """See the layer's. What arrives while it is being cancelled is kept for the next call."""
        returned = self._returned.get(channel)
        if returned:
            return returned.popleft()
        number, future = self.process.request("receive", channel)
        answer = asyncio.wrap_future(future)
        try:
            return cast(Message, await asyncio.shield(answer))
        except asyncio.CancelledError:
            self.process.cancel(number)
            try:
                message = cast(Message, await answer)
            except (RemoteError, WorkerDied):
                pass  # the usual case: the receive over there was cancelled
            else:
                self._returned.setdefault(channel, deque()).append(message)
            raise

    async def new_channel(self, prefix: str = "specific") -> str:
        """See the layer's."""
        return cast(str, await self.call("new_channel", prefix))

    async def group_add(self, group: str, channel: str) -> None:
        """See the layer's."""
        await self.call("group_add", group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """See the layer's."""
        await self.call("group_discard", group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        """See the layer's."""
        await self.call("group_send", group, message)

    async def group_channels(self, group: str) -> list[str]:
        """See the layer's."""
        return cast(list[str], await self.call("group_channels", group))

    async def call(self, verb: str, *args: object) -> object:
        """Any verb of the layer.

        Raises:
            RemoteError: it raised.
            WorkerDied: the process ended meanwhile.
        """
        _, future = self.process.request(verb, *args)
        return await asyncio.wrap_future(future)

    async def kill(self) -> None:
        """End the process without warning (SIGKILL)."""
        await asyncio.to_thread(self.process.kill)

    async def release(self) -> None:
        """Close the layer and give the process back to the pool."""
        if self.process.alive:
            await self.call("release")
        self._pool.give_back(self.process)


class WorkerPool:
    """Worker processes for one class of layer; starting one takes half a second."""

    def __init__(self, dotted: str) -> None:
        self._dotted = dotted
        self._idle: list[WorkerProcess] = []
        self._all: list[WorkerProcess] = []

    async def open(self, config: Mapping[str, object]) -> RemoteLayer:
        """A layer with this CONFIG in a process that nobody else uses."""
        process = self._idle.pop() if self._idle else await asyncio.to_thread(self._started)
        remote = RemoteLayer(process, self)
        async with asyncio.timeout(START_SECONDS):
            await remote.call("open", dict(config))
        return remote

    def give_back(self, process: WorkerProcess) -> None:
        """Keep a process for the next one."""
        if process.alive:
            self._idle.append(process)
        else:
            self._all.remove(process)

    def close(self) -> None:
        """End them all."""
        for process in self._all:
            process.close()
        self._all.clear()
        self._idle.clear()

    def _started(self) -> WorkerProcess:
        process = WorkerProcess(self._dotted)
        self._all.append(process)
        return process
