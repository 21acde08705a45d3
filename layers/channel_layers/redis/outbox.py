"""The commands of one partition: pipelined, in order, and given again after a broken connection.

What a command's reply means for it is decided here, once for all scripts:

* no reply, as the connection broke: it may or may not have been carried out. It is given again,
  unchanged, before anything newer. Scripts that must not run twice get a *number* that grows with
  every command, and leave out what they have seen (``scripts/parts/repeated.lua``); frames in
  inboxes are recognised by the reader (:mod:`channel_layers.duplicates`).
* an error that will pass (loading, no memory, a slot that is moving): it comes before anything is
  written, so nothing was done. It is given again a little later, with a new number. A slot moves
  key by key, and a script that finds one gone stops in the middle. So every script names one key
  more, which never exists: where a slot is being moved away, the server refuses at once what
  names a key that it has not.
* "not here" (a replica, another node): the partition has to look where its server is now.
* any other error: the caller is told.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis.link import Link, Reply, Word, pack
from channel_layers.redis.scripts import Script

__all__ = ["Outbox"]

PASSES: Final = (
    "LOADING",
    "BUSY ",
    "OOM ",
    "MISCONF",
    "NOREPLICAS",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "ASK ",
    "EXECABORT",
)
ELSEWHERE: Final = ("MOVED ", "READONLY", "MASTERDOWN", "UNBLOCKED")
RETRY_SECONDS: Final = 0.05
_IN_SCRIPT: Final = re.compile(r"^ERR Error running script [^:]*: (?:@user_script: ?\d+: )+-?")
"""What Redis 6 puts before an error that a script ran into."""


@dataclass(slots=True, eq=False)
class _Request:
    script: Script | None
    words: tuple[Word, ...]
    """Keys and arguments; for a plain command the whole of it."""
    keys: int
    numbered: int | None
    """Where among ``words`` the number stands."""
    once: bool
    future: asyncio.Future[Reply]
    deadline: float
    number: int = 0
    in_full: bool = False
    """The server did not know the script: send its text."""

    def packed(self) -> bytes:
        words = self.words
        if self.numbered is not None:
            words = (*words[: self.numbered], self.number, *words[self.numbered + 1 :])
        if self.script is None:
            return pack(words)
        if self.in_full:
            return pack(("EVAL", self.script.source, self.keys, *words))
        return pack(("EVALSHA", self.script.sha, self.keys, *words))


class Outbox:
    """Commands to one partition, from when they are given until they are answered.

    Args:
        label: of the server, for errors.
        guard: the key that never exists.
        timeout: seconds that a command may take, waiting for a connection included.
        elsewhere: called with the error of a server that is the wrong one (by now).
        stuck: called when the server has not answered for ``timeout`` seconds.
    """

    def __init__(
        self,
        *,
        label: str,
        guard: str,
        timeout: float,
        elsewhere: Callable[[str], None],
        stuck: Callable[[], None],
    ) -> None:
        self.label = label
        self.trouble = "no connection yet"
        """Why commands wait, for the errors of those that have waited too long."""
        self.number = 0
        """Of the last command that was given to a server."""
        self.retried = 0
        """Commands given again."""
        self._guard = guard
        self._timeout = timeout
        self._elsewhere = elsewhere
        self._stuck = stuck
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._requests: deque[_Request] = deque()
        """In the order given; with a link, all have been written to it and are unanswered."""
        self._postponed: set[_Request] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    def run(
        self,
        script: Script,
        key: str,
        *arguments: Word,
        numbered: int | None = None,
        once: bool = False,
        seconds: float | None = None,
    ) -> asyncio.Future[Reply]:
        """Run a script; the future has its answer.

        Args:
            numbered: which of ``arguments`` is to be replaced by the number of the command.
            once: whether only the number keeps it from being done twice, so that it must not
                be given again to a server that has forgotten the numbers.
            seconds: how long it may take; ``timeout`` if None.

        Raises (in the future):
            LayerUnavailable: no answer in time, or an error that will not pass.
        """
        place = None if numbered is None else numbered + 2
        words = (key, self._guard, *arguments)
        return self._give(script, words, 2, place, once=once, seconds=seconds)

    def command(self, *words: Word, seconds: float | None = None) -> asyncio.Future[Reply]:
        """Run a plain command that may run twice."""
        return self._give(None, words, 0, None, once=False, seconds=seconds)

    def attach(self, link: Link) -> None:
        """A connection is there: give it all that is unanswered, in order."""
        self._link = link
        waiting, self._requests = self._requests, deque()
        for request in waiting:
            if not request.future.done():
                self.retried += request.number > 0
                self._write(request)

    def detach(self, reason: str) -> None:
        """The connection is gone."""
        self._link = None
        self.trouble = reason

    def forgotten(self, reason: str) -> None:
        """The server has forgotten which numbers were carried out: give nothing twice to it."""
        for request in self._waiting():
            if request.once and request.number:
                self._refuse(request, f"{reason}, and it is not known whether this was done")

    def fail(self, reason: str) -> None:
        """Tell all that wait that waiting is of no use."""
        for request in self._waiting():
            self._refuse(request, reason)

    def close(self) -> None:
        """Give up everything, and what is given later."""
        self._closed = True
        self.fail("the layer was closed")
        self._link = None
        self._requests.clear()
        if self._watch is not None:
            self._watch.cancel()

    def _give(
        self,
        script: Script | None,
        words: tuple[Word, ...],
        keys: int,
        numbered: int | None,
        *,
        once: bool,
        seconds: float | None,
    ) -> asyncio.Future[Reply]:
        loop = self._loop
        future: asyncio.Future[Reply] = loop.create_future()
        deadline = loop.time() + (self._timeout if seconds is None else seconds)
        request = _Request(script, words, keys, numbered, once, future, deadline)
        if self._closed:
            self._refuse(request, "the layer was closed")
            return future
        if self._link is None:
            self._requests.append(request)
        else:
            self._write(request)
        self._watch_until(deadline)
        return future

    def _write(self, request: _Request) -> None:
        if not request.number:
            self.number += 1
            request.number = self.number
        self._requests.append(request)
        if self._link is not None:
            self._link.execute(request.packed(), self._answered)

    def _answered(self, reply: Reply) -> None:
        request = self._requests.popleft()
        future = request.future
        if future.done():
            return
        if isinstance(reply, Exception):
            self._refused(request, str(reply))
        else:
            future.set_result(reply)

    def _refused(self, request: _Request, error: str) -> None:
        error = _IN_SCRIPT.sub("", error, count=1)
        if error.startswith("NOSCRIPT"):
            request.in_full = True
            self._again(request)
        elif error.startswith(ELSEWHERE):
            self._requests.appendleft(request)  # for the next connection, before all others
            self._elsewhere(error)
        elif error.startswith(PASSES) or "non local key" in error:
            self.trouble = error
            self._postponed.add(request)
            self._loop.call_later(RETRY_SECONDS, self._resume, request)
        else:
            self._refuse(request, error)

    def _resume(self, request: _Request) -> None:
        self._postponed.discard(request)
        if request.future.done():
            return
        if request.deadline <= self._loop.time():
            self._refuse(request, self.trouble)
        else:
            self._again(request)

    def _again(self, request: _Request) -> None:
        self.retried += 1
        request.number = 0
        if self._link is None:
            self._requests.append(request)
        else:
            self._write(request)

    def _check_deadlines(self) -> None:
        now = self._loop.time()
        overdue = [r for r in self._waiting() if r.deadline <= now]
        unanswered = [r for r in overdue if self._link is not None and r not in self._postponed]
        for request in overdue:
            self._refuse(request, "it does not answer" if request in unanswered else self.trouble)
        if self._link is None:
            self._requests = deque(r for r in self._requests if not r.future.done())
        elif unanswered:
            self._stuck()
        self._watch = None
        self._watch_until(min((r.deadline for r in self._waiting()), default=math.inf))

    def _watch_until(self, deadline: float) -> None:
        """Look again then, or before."""
        if deadline == math.inf or (self._watch is not None and self._watch.when() <= deadline):
            return
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_at(deadline, self._check_deadlines)

    def _waiting(self) -> list[_Request]:
        return [r for r in (*self._requests, *self._postponed) if not r.future.done()]

    def _refuse(self, request: _Request, reason: str) -> None:
        if not request.future.done():
            request.future.set_exception(
                LayerUnavailable(f"Redis at {self.label} is not available: {reason}.")
            )
            # Nobody may be waiting for it: a command of the layer's own.
            request.future.exception()
