"""The Lua scripts of the layer: what has to happen at once, in the server.

Each file is one script; its head says what it is given and what it answers. Functions that
several need lie in ``parts`` and are put before the scripts that call them. ``ARGV[1]`` is always
the start of this partition's keys (:mod:`channel_layers.redis.keys`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["Script", "all_scripts", "script"]

_PARTS: Final = (
    "now_ms",
    "keep",
    "deliver",
    "repeated",
    "wake",
    "sent_at",
    "drop_expired",
    "push",
)
"""In the order in which they use each other."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is sent to the server."""

    name: str
    source: bytes
    sha: str
    """What ``EVALSHA`` calls it."""


@cache
def script(name: str) -> Script:
    """The script of that name, with the parts that it needs."""
    folder = files(__name__)
    source = folder.joinpath(f"{name}.lua").read_text("utf-8")
    parts = ""
    for part in reversed(_PARTS):
        if re.search(rf"\b{part}\(", source + parts):
            parts = folder.joinpath("parts", f"{part}.lua").read_text("utf-8") + parts
    whole = f"local call, base = redis.call, ARGV[1]\n{parts}{source}".encode()
    return Script(name, whole, hashlib.sha1(whole, usedforsecurity=False).hexdigest())


@cache
def all_scripts() -> tuple[Script, ...]:
    """Every script; the first call reads their files."""
    names = sorted(
        entry.name.removesuffix(".lua")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".lua")
    )
    return tuple(script(name) for name in names)
