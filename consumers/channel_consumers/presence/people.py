"""Persons made of connections: one group's people, and what changed among them."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Change", "People", "Present"]

Meta = dict[str, Any]
ConnectionId = tuple[str, int]
"""The node that a connection is on, and its number there."""


class Present(NamedTuple):
    """A person in a group."""

    key: str
    """Who it is, as given to ``presence_join``."""
    metas: list[Meta]
    """What was told of each of their connections (tabs, devices), the oldest first."""


class Change(NamedTuple):
    """Who arrived, whose connections or metas changed, and who is gone."""

    joined: list[Present]
    updated: list[Present]
    left: list[Present]


class People:
    """The connections of one group, seen as persons.

    It remembers how each person touched was before, until :meth:`take_touched` is called.
    """

    __slots__ = ("_of_key", "_touched")

    def __init__(self) -> None:
        self._of_key: dict[str, dict[ConnectionId, Meta]] = {}
        self._touched: dict[str, Present | None] = {}

    def put(self, connection: ConnectionId, key: str, meta: Meta) -> None:
        """Add a connection of a person, or change its meta."""
        self._touch(key)
        self._of_key.setdefault(key, {})[connection] = meta

    def drop(self, connection: ConnectionId, key: str) -> None:
        """Remove a connection of a person."""
        self._touch(key)
        connections = self._of_key[key]
        del connections[connection]
        if not connections:
            del self._of_key[key]

    def get(self, key: str) -> Present | None:
        """The person, if present."""
        connections = self._of_key.get(key)
        return None if connections is None else Present(key, list(connections.values()))

    def all(self) -> list[Present]:
        """Everybody present, in the order in which they were first seen here."""
        return [Present(key, list(found.values())) for key, found in self._of_key.items()]

    def take_touched(self) -> dict[str, Present | None]:
        """Who may have changed since the last call, each as it was then; None if absent."""
        touched, self._touched = self._touched, {}
        return touched

    def change_since(self, before: dict[str, Present | None]) -> Change:
        """What became of the given persons since they were as given."""
        change = Change([], [], [])
        for key, old in before.items():
            new = self.get(key)
            if old is None:
                if new is not None:
                    change.joined.append(new)
            elif new is None:
                change.left.append(old)
            elif new.metas != old.metas:
                change.updated.append(new)
        return change

    def _touch(self, key: str) -> None:
        if key not in self._touched:
            self._touched[key] = self.get(key)
