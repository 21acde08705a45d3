"""Making this process known to a server, and what the answer says of continuity.

If the process's inbox is still there, reading goes on behind the last entry that came. If it is
gone, or a server has taken over that may not have everything, there is a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

from channel_layers.redis.answers import as_bytes, as_int, as_list
from channel_layers.redis.endpoint import CannotConnect, Endpoint
from channel_layers.redis.inbox import order_of
from channel_layers.redis.keys import Keys
from channel_layers.redis.link import Link, Reply, Word, pack
from channel_layers.redis.scripts import all_scripts, script
from channel_layers.redis.settings import GROUP_TTL_MS, Settings

__all__ = ["Registered", "Registration"]

HOLD_SECONDS: Final = 1.5
"""After a server has lost its memory, sends wait so long at most for the others to register."""
HOLD_STEP_SECONDS: Final = 0.02
OLDEST: Final = (6, 2)
NOT_ALLOWED: Final = ("NOAUTH", "NOPERM", "WRONGPASS")

_SCRIPTS: Final = all_scripts()
"""Read when this module is imported: no event loop waits for files."""


class Asker(Protocol):
    """Runs one command on a connection outside the order of all others."""

    async def __call__(self, link: Link, *words: Word) -> Reply:
        """Its reply; CannotConnect if the connection ends first."""


class Registered(NamedTuple):
    """A server knows this process."""

    there: bool
    """Whether it had known it before."""
    last: bytes
    """Id of the last entry that the inbox ever had."""
    gap: str | None
    """Why entries may be missing between what was read and what comes; None if none are."""

    def begin(self, read: bytes | None) -> bytes:
        """Behind which entry to read on: the one that was read last, if that means anything."""
        if read is None or not self.there or order_of(self.last) < order_of(read):
            return self.last
        return read


class Registration:
    """What is remembered from one registration to the next.

    Args:
        ask: runs a command.
    """

    def __init__(self, keys: Keys, settings: Settings, ask: Asker) -> None:
        self.run_id = ""
        """Of the server, new with each start of it; empty where it may not be read."""
        self.known = 0
        """How many processes there were."""
        self._keys = keys
        self._settings = settings
        self._ask = ask
        self._endpoint: Endpoint | None = None
        """Where this process was registered last."""
        self._moved = False
        """A server has said since that the slot is on another one."""

    def heard(self, error: str) -> None:
        """A server has said that it is not the right one."""
        self._moved = self._moved or error.startswith(("MOVED ", "ASK "))

    async def register(self, endpoint: Endpoint, link: Link, read: bytes | None) -> Registered:
        """Make the process known.

        Args:
            endpoint: where ``link`` leads.
            read: id of the last entry that was read; None if there was none.

        Raises:
            CannotConnect: the server refuses.
        """
        for known in _SCRIPTS:
            link.execute(pack(("SCRIPT", "LOAD", known.source)), _ignore)
        run_id = self._run_id(endpoint, await self._ask(link, "INFO", "server"))
        keys, settings = self._keys, self._settings
        inbox = keys.inbox(settings.process)
        words = (inbox, keys.base, settings.process, settings.ttl_ms, int(read is None))
        answer = await self._ask(link, "EVAL", script("register").source, 1, *words)
        if isinstance(answer, Exception):
            self.heard(str(answer))
            raise CannotConnect(
                f"{endpoint.label} refuses to register this process: {answer}",
                permanent=str(answer).startswith(NOT_ALLOWED),
            )
        there, newest, processes = as_list(answer)
        last = as_bytes(newest)
        moved = run_id != self.run_id and await self._has_moved()
        gap = None
        if read is not None:
            gap = self._gap(bool(there), last, read, same=moved or run_id == self.run_id)
        self.run_id, self._endpoint, self._moved = run_id, endpoint, False
        if read is None:
            self.known = max(as_int(processes), 1)
        return Registered(bool(there), last, gap)

    def rejoin(self, link: Link, groups: Collection[str]) -> None:
        """Write memberships again."""
        join, keys = script("join"), self._keys
        for group in groups:
            words = (keys.group(group), keys.base, self._settings.process, GROUP_TTL_MS)
            link.execute(pack(("EVALSHA", join.sha, 1, *words)), _ignore)

    async def hold(self, link: Link) -> None:
        """Wait until as many processes are known to the server as there were, but not for long.

        Each process finds out by itself that the server was restarted. Who is first must not send
        into groups that the others have not joined again.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + min(HOLD_SECONDS, self._settings.timeout / 2)
        while loop.time() < ends:
            count = await self._ask(link, "ZCARD", self._keys.processes)
            if not isinstance(count, int) or count >= self.known:
                return
            await asyncio.sleep(HOLD_STEP_SECONDS)

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

    @staticmethod
    def _gap(there: bool, last: bytes, read: bytes, *, same: bool) -> str | None:
        if not there:
            return "the server has lost what it held"
        if order_of(last) < order_of(read):
            return "the server is behind the one before it"
        if not same:
            return "another server has taken over, or it was restarted"
        return None

    @staticmethod
    def _run_id(endpoint: Endpoint, info: Reply) -> str:
        text = info.decode("utf-8", "replace") if isinstance(info, bytes) else ""
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        version = facts.get("redis_version", "")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
        if numbers and numbers < OLDEST:
            raise CannotConnect(
                f"{endpoint.label} is Redis {version}; this layer needs 6.2 or newer, or Valkey",
                permanent=True,
            )
        return facts.get("run_id", "")


def _ignore(_reply: Reply) -> None:
    """What is not needed any more."""
