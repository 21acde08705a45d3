"""Does a channel layer, ours or anybody's, do its work? What ``channel_layer check`` tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import metadata
from platform import python_version
from typing import Any

import django
from channels.layers import BaseChannelLayer
from django.conf import settings

from channel_layers.base import ChannelLayer
from channel_layers.names import new_process_id

__all__ = ["Report", "brief", "examine"]

_IN_MEMORY = {
    "channel_layers.memory.InMemoryChannelLayer",
    "channels.layers.InMemoryChannelLayer",
}
_LOSSES = {
    "capacity": "their channel was full (read faster, send less, or raise capacity)",
    "expired": "nobody read them within the option expiry",
    "decode": "they were garbage, or sealed with a key that is not in symmetric_encryption_keys",
}
"""Reasons of drops that somebody can do something about."""


@dataclass
class Report:
    """The state of one layer, as seen from this process."""

    alias: str
    layer: str
    version: str | None
    mode: str | None
    connected: bool | None = None
    """None where the layer does not tell."""
    ping_seconds: float | None = None
    """A message to itself, there and back; None if it did not come back."""
    group_seconds: float | None = None
    """The same through a group, joining it included."""
    figures: dict[str, Any] = field(default_factory=dict)
    runs_on: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


async def examine(alias: str, layer: BaseChannelLayer, *, timeout: float) -> Report:
    """Try a layer by its real path and look at its figures.

    It never raises for what the layer does: that is among the report's problems.

    Args:
        alias: its name in CHANNEL_LAYERS.
        layer: any channel layer.
        timeout: the longest that each trial may take, in seconds.
    """
    kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
    ours = layer if isinstance(layer, ChannelLayer) else None
    report = Report(
        alias=alias,
        layer=kind,
        version=ours.stats()["version"] if ours else _version_of(kind.partition(".")[0]),
        mode=ours.mode if ours else None,
        runs_on={
            "channels": metadata.version("channels"),
            "django": django.get_version(),
            "python": python_version(),
        },
    )
    report.ping_seconds = await _tried(report, "A message to itself", _ping, layer, timeout)
    if "groups" in getattr(layer, "extensions", ()):
        report.group_seconds = await _tried(
            report, "A message to a group", _ping_group, layer, timeout
        )
    else:
        report.notes.append("The layer has no groups, which most consumers need.")
    if ours:
        _look_at_figures(report, ours)
    if kind in _IN_MEMORY:
        report.notes.append(_in_memory_note())
    return report


def brief(error: BaseException) -> str:
    """An error as the end of a sentence, on one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def _tried(
    report: Report,
    what: str,
    trial: Callable[[BaseChannelLayer], Awaitable[float]],
    layer: BaseChannelLayer,
    timeout: float,
) -> float | None:
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            return await trial(layer)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what the user wants to know
        if deadline.expired():
            report.problems.append(f"{what} did not come back within {timeout:g} s.")
        else:
            report.problems.append(f"{what} failed: {brief(error)}.")
    return None


async def _ping(layer: BaseChannelLayer) -> float:
    if isinstance(layer, ChannelLayer):
        return await layer.ping()
    channel = await layer.new_channel()
    start = time.perf_counter()
    await layer.send(channel, {"type": "ping"})
    await layer.receive(channel)
    return time.perf_counter() - start


async def _ping_group(layer: BaseChannelLayer) -> float:
    channel = await layer.new_channel()
    group = f"channel_layer-check.{new_process_id()}"
    start = time.perf_counter()
    try:
        await layer.group_add(group, channel)
        await layer.group_send(group, {"type": "ping"})
        await layer.receive(channel)
        return time.perf_counter() - start
    finally:
        await layer.group_discard(group, channel)
        if isinstance(layer, ChannelLayer):
            await layer.close_channel(channel)


def _look_at_figures(report: Report, layer: ChannelLayer) -> None:
    stats = layer.stats()
    report.connected = stats["connected"]
    report.figures = {
        key: stats[key]
        for key in ("channels", "groups", "members", "waiting", "counters", "dropped")
    }
    if not report.connected:
        report.problems.append("The layer is not connected.")
    for reason, advice in _LOSSES.items():
        if count := stats["dropped"].get(reason, 0):
            report.notes.append(f"{count:,} message(s) were dropped in this process: {advice}.")


def _in_memory_note() -> str:
    note = (
        "Messages stay in one process: with several workers, users of different workers do not "
        "see each other, and this command sees nothing of the running site. How many workers "
        "there are cannot be seen from here."
    )
    if not settings.DEBUG:
        note += (
            " DEBUG is off: if this is production with more than one process, choose a layer "
            "that connects them."
        )
    return note


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
