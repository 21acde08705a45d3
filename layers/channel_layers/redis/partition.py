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
from typing import Final, NamedTuple, Protocol

from channel_layers.backoff import Backoff
from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis.answers import as_int, as_list
from channel_layers.redis.endpoint import CannotConnect, Endpoint
from channel_layers.redis.inbox import Entry, Inbox
from channel_layers.redis.keys import Keys
from channel_layers.redis.link import Link, Reply, Word, pack
from channel_layers.redis.locating import Locator
from channel_layers.redis.outbox import Outbox
from channel_layers.redis.registration import Registration
from channel_layers.redis.scripts import Script, script
from channel_layers.redis.settings import Settings

__all__ = ["Partition", "Progress", "Watcher"]

logger = logging.getLogger("channel_layers")

BEAT_SECONDS: Final = 2.0
DEAD_MS: Final = 15_000
"""A process not heard of for so long is dead: what it had not acknowledged goes to others."""
REFRESH_BEATS: Final = 150
"""Each so many beats the memberships are written again (5 minutes; they lapse after 15)."""
CONNECT_SHARE: Final = 0.8
"""Of ``send_timeout``: why there is no connection is known when those who wait for it give up."""


class Watcher(Protocol):
    """Who is told what happens in a partition."""

    def entry(self, index: int, fields: Entry, age: float) -> None:
        """An entry of the inbox."""

    def woken(self) -> int:
        """How many readers of this process have been woken so far."""

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
            self.keys.inbox(settings.process),
            arrived=self._arrived,
            woken=watcher.woken,
            failed=self._reading_failed,
        )
        self._task: asyncio.Task[None] | None = None
        self._links: list[Link] = []
        self._broken: asyncio.Future[str] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._told_gap = ""
        self._registration = Registration(self.keys, settings, self._ask)
        if progress is not None:
            self._inbox.last, self._registration.run_id, self.outbox.number = progress

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

    @property
    def read(self) -> bytes:
        """Id of the entry of this process's inbox that was read last."""
        return self._inbox.last or b"0-0"

    def leave(self, group: str) -> asyncio.Future[Reply]:
        """End this process's membership, unless an entry that is unread has added it again."""
        return self.run(
            script("leave"), self.keys.group(group), group, self._settings.process, self.read
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
        return Progress(self._inbox.last, self._registration.run_id, self.outbox.number)

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
            return await self._serve(endpoint, broken)
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
        read = self._inbox.last
        registration = self._registration
        try:
            found = await registration.register(endpoint, commands, read)
        except CannotConnect:
            self._locator.distrust()
            raise
        self._inbox.attach(reading, found.begin(read))
        if found.gap is not None:
            self.outbox.forgotten(found.gap)
            self._told_gap = found.gap
            # What is there still comes first; then what does not come any more is known.
            self._inbox.when_read(found.last, self._tell_gap)
            if found.there:
                registration.rejoin(commands, self._watcher.joined(self._index))
        if read is not None:
            # Not before its memberships: those that hold must not take it to be ready.
            beat = script("beat").sha
            commands.execute(pack(("EVALSHA", beat, 1, *self._beat_words())), _ignore)
            if not found.there:
                await registration.hold(commands)

    def _tell_gap(self) -> None:
        self._watcher.lost(self._index, self._told_gap)
        if self._links:  # what was under way has been settled, and may be a membership
            self._registration.rejoin(self._links[0], self._watcher.joined(self._index))

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

    async def _serve(self, endpoint: Endpoint, broken: asyncio.Future[str]) -> str:
        beats = 0
        while not broken.done():
            await asyncio.wait([broken], timeout=BEAT_SECONDS)
            if self._inbox.overdue:
                self._break("it does not answer")
            elif not broken.done():
                beats += 1
                self._beat()
                if self._locator.may_change_unnoticed:
                    await self._confirm(endpoint, broken)
                if beats % REFRESH_BEATS == 0 and self._links:
                    self._registration.rejoin(self._links[0], self._watcher.joined(self._index))
        return broken.result()

    async def _confirm(self, endpoint: Endpoint, broken: asyncio.Future[str]) -> None:
        """A master that was replaced may not know it for a while: is this still the server?"""
        confirming = asyncio.ensure_future(self._locator.confirms(endpoint))
        try:
            waited: list[asyncio.Future[bool] | asyncio.Future[str]] = [confirming, broken]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if confirming.done() and not confirming.result():
                self._break("another server has taken over")
        finally:
            confirming.cancel()
            # Its connection has to be closed before whoever stops this goes on.
            await asyncio.gather(confirming, return_exceptions=True)

    def _beat(self) -> None:
        inbox, _, *words = self._beat_words()
        confirmed = self._watcher.confirmed(self._index)
        beat = self.run(script("beat"), str(inbox), *words, *confirmed)
        beat.add_done_callback(self._after_beat)

    def _beat_words(self) -> tuple[Word, ...]:
        settings = self._settings
        process = settings.process
        inbox, base = self.keys.inbox(process), self.keys.base
        return (inbox, base, process, settings.ttl_ms, DEAD_MS, settings.expiry_ms)

    def _after_beat(self, future: asyncio.Future[Reply]) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        there, processes = map(as_int, as_list(future.result()))
        if there:
            self._registration.known = max(processes, 1)
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
        self._registration.heard(error)
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


def _ignore(_reply: Reply) -> None:
    """What is not needed any more."""
