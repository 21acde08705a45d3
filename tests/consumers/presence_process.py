"""A process with one consumer that does what its standard input says, for the tests.

Lines in: ``{"do": "join", "key": ..., "meta": ...}``, ``{"do": "leave"}``, ``{"do": "stop"}``.
Lines out: ``{"people": {key: [meta, ...]}}`` after each, and whenever somebody else changes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import django
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from django.conf import settings

GROUP = "room"


def say(people: dict[str, Any] | None) -> None:
    sys.stdout.write(json.dumps({"people": people}) + "\n")
    sys.stdout.flush()


async def main() -> None:
    from channel_consumers.presence import PresenceMixin, Present

    class Person(PresenceMixin, AsyncConsumer):
        async def do_watch(self, command: dict[str, Any]) -> None:
            await self.presence_watch(GROUP)
            self.show()

        async def do_join(self, command: dict[str, Any]) -> None:
            await self.presence_join(GROUP, command["key"], command.get("meta"))
            self.show()

        async def do_leave(self, command: dict[str, Any]) -> None:
            await self.presence_leave(GROUP)
            say(None)

        async def do_stop(self, command: dict[str, Any]) -> None:
            raise StopConsumer

        async def presence_changed(
            self, group: str, joined: list[Present], left: list[Present]
        ) -> None:
            self.show()

        async def presence_updated(self, group: str, updated: list[Present]) -> None:
            self.show()

        def show(self) -> None:
            people = {person.key: person.metas for person in self.presence_list(GROUP)}
            say(people)

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )

    async def receive() -> dict[str, Any]:
        command = json.loads(await reader.readline() or '{"do": "stop"}')
        return {"type": f"do.{command.pop('do')}", **command}

    async def send(message: object) -> None:
        raise AssertionError(message)

    await Person()({"type": "person"}, receive, send)  # type: ignore[arg-type]


if __name__ == "__main__":
    hosts = [{"address": sys.argv[1], "socket_timeout": None}]
    settings.configure(
        CHANNEL_LAYERS={"default": {"BACKEND": sys.argv[2], "CONFIG": {"hosts": hosts}}},
        CHANNEL_PRESENCE_HEARTBEAT=float(sys.argv[3]),
    )
    django.setup()
    asyncio.run(main())
