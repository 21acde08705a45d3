"""One partition: its two connections, from the first to the last reconnection.

A partition is one server (or one slot of a cluster) with an inbox of this process. One
connection carries commands (:mod:`.outbox`), the other blocks in XREAD (:mod:`.inbox`); they come
and go together. On each connection the process registers: if its inbox is still there, reading
goes on behind the last entry and nothing is lost; if not, the server has lost its memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from channel_layers.backoff import Backoff
from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis.answers import as_bytes, as_int, as_list
from channel_layers.redis.endpoint import CannotConnect, Endpoint
from channel_layers.redis.inbox import Entry, Inbox
from channel_layers.redis.keys import Keys
from channel_layers.redis.link import Link, Reply, Word, pack
from channel_layers.redis.locating import Locator
from channel_layers.redis.outbox import Outbox
from channel_layers.redis.scripts import Script, all_scripts, script

__all__ = ["Partition", "Progress", "Settings", "Watcher"]

logger = logging.getLogger("channel_layers")

BEAT_SECONDS: Final = 2.0
SILENT_MS: Final = 7_000
"""A process not heard of for so long is not waited for."""
DEAD_MS: Final = 15_000
"""A process not heard of for so long is dead: what it had not acknowledged goes to others."""
GROUP_TTL_MS: Final = 900_000
REFRESH_BEATS: Final = 150
"""Each so many beats the memberships are written again (5 minutes; they lapse after 15)."""
HOLD_SECONDS: Final = 1.5
"""After a server has lost its memory, sends wait so long at most for the others to register."""
HOLD_STEP_SECONDS: Final = 0.02
CONNECT_SHARE: Final = 0.8
"""Of ``send_timeout``: why there is no connection is known when those who wait for it give up."""
SCRIPTS: Final = all_scripts()
"""Read when this module is imported: no event loop waits for files."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What partitions need to know of the layer."""

    process: str
    expiry_ms: int
    ttl_ms: int
    """How long the inbox of a process that is silent is kept."""
    timeout: float
    """Seconds: ``send_timeout``."""


class Watcher(Protocol):
    """Who is told what happens in a partition."""

    def entry(self, index: int, fields: Entry, age: float) -> None:
        """An entry of the inbox."""

    def up(self, index: int, *, again: bool) -> None:
        """The server was reached and knows this process."""

    def down(self, index: int, reason: str) -> None:
        """The connection was lost."""

    def lost(self, index: int, reason: str) -> None:
        """Messages may have been lost, or all that the server held."""

    def joined(self, index: int) -> Collection[str]:
        """The groups of this partition of which the process is a member."""

    def confirmed(self, index: int) -> list[str]:
        """Channel, number, channel, number... of pulls whose answers have come."""


class Progress(NamedTuple):
    """How far this process has read and written."""

    last: bytes | None
    run_id: str
    number: int


class Partition:
    """One server, or one slot of a cluster.

    Args:
        index: its number among the layer's partitions.
        tag: what stands in the braces of its keys.
        locator: where it is.
        progress: where one before it, on an event loop that was closed, had stopped reading.
    """

    def __init__(
        self,
        index: int,
        tag: str,
        locator: Locator,
        settings: Settings,
        watcher: Watcher,
        progress: Progress | None = None,
    ) -> None:
        self.keys = Keys(tag)
        self.up = False
        self._index = index
        self._locator = locator
        self._settings = settings
        self._watcher = watcher
        self.outbox = Outbox(
            label=locator.label,
            guard=self.keys.never,
            timeout=settings.timeout,
            elsewhere=self._elsewhere,
            stuck=lambda: self._break("it does not answer"),
        )
        self._inbox = Inbox(
            self.keys.inbox(settings.process), arrived=self._arrived, failed=self._reading_failed
        )
        self._task: asyncio.Task[None] | None = None
        self._links: list[Link] = []
        self._broken: asyncio.Future[str] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._run_id = ""
        if progress is not None:
            self._inbox.last, self._run_id, self.outbox.number = progress
        self._endpoint: Endpoint | None = None
        """Where this process was registered last."""
        self._moved = False
        """A server has said since that the slot is on another one."""
        self._known = 0
        """How many processes there were."""

    async def start(self) -> None:
        """Connect, and wait until this process is registered.

        Raises:
            LayerUnavailable: it did not come about within the timeout, or cannot.
        """
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = loop.create_task(self._live())
        if self.up:
            return
        if self._ready is None or self._ready.done():
            self._ready = loop.create_future()
        try:
            async with asyncio.timeout(self._settings.timeout):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise LayerUnavailable(
                f"Redis at {self._locator.label} was not reached within "
                f"{self._settings.timeout:g} s (send_timeout): {self.outbox.trouble}."
            ) from None

    def run(
        self,
        script: Script,
        key: str,
        *arguments: Word,
        numbered: int | None = None,
        once: bool = False,
        seconds: float | None = None,
    ) -> asyncio.Future[Reply]:
        """Run a script; see :meth:`Outbox.run`."""
        base = self.keys.base
        place = None if numbered is None else numbered + 1
        return self.outbox.run(
            script, key, base, *arguments, numbered=place, once=once, seconds=seconds
        )

    def leave(self, group: str) -> asyncio.Future[Reply]:
        """End this process's membership, unless an entry that is unread has added it again."""
        read = self._inbox.last or b"0-0"
        return self.run(
            script("leave"), self.keys.group(group), group, self._settings.process, read
        )

    async def stop(self) -> None:
        """Disconnect for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.outbox.close()
        if self._ready is not None:
            self._ready.cancel()

    def abandon(self, *, forked: bool) -> Progress:
        """Let go of everything: the event loop has been closed, or belongs to a parent."""
        for link in self._links:
            link.abandon(forked=forked)
        return Progress(self._inbox.last, self._run_id, self.outbox.number)

    def check(self) -> None:
        """Find out soon whether the server has forgotten this process."""
        if self.up:
            self._beat()

    # The life of the connections

    async def _live(self) -> None:
        backoff = Backoff()
        again = False
        try:
            while True:
                await asyncio.sleep(backoff.next())
                try:
                    reason = await self._connected(again, backoff)
                except CannotConnect as error:
                    self._cannot(error)
                    continue
                except Exception as error:  # whatever it is, go on trying
                    logger.exception("Could not use Redis at %s.", self._locator.label)
                    self.outbox.trouble = repr(error)
                    continue
                again = True
                if self.up:
                    self.up = False
                    logger.warning("Lost Redis at %s: %s.", self._locator.label, reason)
                    self._watcher.down(self._index, reason)
        finally:
            self.up = False
            self._disconnect("the layer was closed")

    async def _connected(self, again: bool, backoff: Backoff) -> str:
        """Connect and serve; why that ended."""
        timeout = CONNECT_SHARE * self._settings.timeout
        endpoint = await self._locator.locate(timeout=timeout)
        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._broken = broken
        try:
            commands, reading = await self._open(endpoint)
            try:
                async with asyncio.timeout(timeout):
                    await self._register(endpoint, commands, reading)
            except TimeoutError:
                self._break("it does not answer")
            if not broken.done():
                backoff.succeeded()
                self.outbox.label = endpoint.label
                self.outbox.attach(commands)
                self.up = True
                self._watcher.up(self._index, again=again)
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            return await self._serve(broken)
        finally:
            self._disconnect(broken.result() if broken.done() else "the layer was closed")

    async def _open(self, endpoint: Endpoint) -> tuple[Link, Link]:
        timeout = CONNECT_SHARE * self._settings.timeout
        connecting = [asyncio.ensure_future(endpoint.connect(timeout=timeout)) for _ in range(2)]
        try:
            found = await asyncio.gather(*connecting, return_exceptions=True)
        except asyncio.CancelledError:
            for task in connecting:
                if not task.cancelled() and task.exception() is None:
                    await task.result().disconnect(nowait=True)
            raise
        failures = [error for error in found if isinstance(error, BaseException)]
        for connection in found:
            if not isinstance(connection, BaseException):
                self._links.append(Link(connection, self._break))
        if failures:
            self._locator.distrust()
            raise failures[0]
        commands, reading = self._links
        return commands, reading

    async def _register(self, endpoint: Endpoint, commands: Link, reading: Link) -> None:
        settings = self._settings
        for known in SCRIPTS:
            commands.execute(pack(("SCRIPT", "LOAD", known.source)), _ignore)
        info = await self._ask(commands, "INFO", "server")
        run_id = _run_id(info)
        register = script("register")
        before = self._inbox.last
        inbox, base = self.keys.inbox(settings.process), self.keys.base
        words = (inbox, base, settings.process, settings.ttl_ms, int(before is None))
        answer = await self._ask(commands, "EVAL", register.source, 1, *words)
        if isinstance(answer, Exception):
            self._wrong_place(str(answer))
            raise CannotConnect(f"{self._locator.label} refuses to register: {answer}")
        there, newest, processes = as_list(answer)
        last = as_bytes(newest)
        moved = run_id != self._run_id and await self._has_moved()
        gap = self._gap(bool(there), last, run_id, moved=moved)
        self._run_id, self._endpoint, self._moved = run_id, endpoint, False
        self._inbox.attach(reading, last if gap is not None or before is None else before)
        if gap is not None:
            self.outbox.forgotten(gap)
            self._watcher.lost(self._index, gap)
            self._rejoin(commands)
        if before is not None:
            # Not before its memberships: those that hold must not take it to be ready.
            beat = (inbox, base, settings.process, settings.ttl_ms, DEAD_MS, settings.expiry_ms)
            commands.execute(pack(("EVALSHA", script("beat").sha, 1, *beat)), _ignore)
            if not there:
                await self._hold(commands)
        self._known = max(as_int(processes), 1)

    async def _has_moved(self) -> bool:
        """Whether the slot has come from where it was with all that was in it.

        A master that its replica has replaced says where the slot is, too: but then it is a
        replica by now, and what it had not yet passed on is lost.
        """
        if not self._moved or self._endpoint is None:
            return False
        try:
            role = await self._endpoint.ask("ROLE", timeout=self._settings.timeout)
        except CannotConnect:
            return False
        return isinstance(role, list) and role[:1] == [b"master"]

    def _gap(self, there: bool, last: bytes, run_id: str, *, moved: bool) -> str | None:
        """Why entries may be missing between what was read and what comes; None if none are."""
        if self._inbox.last is None:
            return None
        if not there:
            return "the server has lost what it held"
        if _order(last) < _order(self._inbox.last):
            return "the server is behind the one before it"
        if run_id != self._run_id and not moved:
            return "another server has taken over, or it was restarted"
        return None

    def _rejoin(self, commands: Link) -> None:
        join = script("join")
        for group in self._watcher.joined(self._index):
            words = (self.keys.group(group), self.keys.base, self._settings.process, GROUP_TTL_MS)
            commands.execute(pack(("EVALSHA", join.sha, 1, *words)), _ignore)

    async def _hold(self, commands: Link) -> None:
        # Each process finds out by itself that the server was restarted. Who is first must not
        # send into groups that the others have not joined again.
        loop = asyncio.get_running_loop()
        ends = loop.time() + min(HOLD_SECONDS, self._settings.timeout / 2)
        while loop.time() < ends:
            count = await self._ask(commands, "ZCARD", self.keys.processes)
            if not isinstance(count, int) or count >= self._known:
                return
            await asyncio.sleep(HOLD_STEP_SECONDS)

    async def _ask(self, link: Link, *words: Word) -> Reply:
        """One command outside the order of the others."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answer(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        link.execute(pack(words), answer)
        broken = self._broken
        if broken is not None:
            waited: list[asyncio.Future[Reply] | asyncio.Future[str]] = [future, broken]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise CannotConnect(broken.result())
        return await future

    async def _serve(self, broken: asyncio.Future[str]) -> str:
        beats = 0
        while not broken.done():
            await asyncio.wait([broken], timeout=BEAT_SECONDS)
            if self._inbox.overdue:
                self._break("it does not answer")
            elif not broken.done():
                beats += 1
                self._beat()
                if beats % REFRESH_BEATS == 0 and self._links:
                    self._rejoin(self._links[0])
        return broken.result()

    def _beat(self) -> None:
        settings = self._settings
        self.run(
            script("beat"),
            self.keys.inbox(settings.process),
            settings.process,
            settings.ttl_ms,
            DEAD_MS,
            settings.expiry_ms,
            *self._watcher.confirmed(self._index),
        ).add_done_callback(self._after_beat)

    def _after_beat(self, future: asyncio.Future[Reply]) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        there, processes = map(as_int, as_list(future.result()))
        if there:
            self._known = max(processes, 1)
        else:
            self._break("the server has lost what it held")

    # Ends

    def _arrived(self, fields: Entry, age: float) -> None:
        self._watcher.entry(self._index, fields, age)

    def _reading_failed(self, error: str) -> None:
        self._wrong_place(error)
        self._break(f"reading failed: {error}")

    def _elsewhere(self, error: str) -> None:
        self._wrong_place(error)
        self._break(error)

    def _wrong_place(self, error: str) -> None:
        self._moved = self._moved or error.startswith(("MOVED ", "ASK "))
        self._locator.distrust()

    def _break(self, reason: str) -> None:
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(reason)
            self._disconnect(reason)  # at once: an answer that still came would be misunderstood

    def _disconnect(self, reason: str) -> None:
        self.outbox.detach(reason)
        self._inbox.detach()
        for link in self._links:
            link.close()
        self._links.clear()

    def _cannot(self, error: CannotConnect) -> None:
        self.outbox.trouble = str(error)
        if error.permanent:
            logger.error("%s", error)
            self.outbox.fail(str(error))
            if self._ready is not None and not self._ready.done():
                self._ready.set_exception(LayerUnavailable(f"{error}"))
                self._ready.exception()  # whoever waits raises it; perhaps nobody does any more


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


def _run_id(info: Reply) -> str:
    """The server's own id, new with each start; empty where it may not be read."""
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else ""
    return next((line[7:].strip() for line in text.splitlines() if line.startswith("run_id:")), "")


def _ignore(_reply: Reply) -> None:
    """What is not needed any more."""
