"""Where the figures come from: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.layers import Row
from channel_layers.testing.servers import SERVERS

__all__ = ["describe", "load"]

BASE_PACKAGES = ("channels", "django", "asgiref", "msgspec", "msgpack", "uvloop")


def describe(rows: Iterable[Row]) -> dict[str, str]:
    """What a reader needs to compare these figures with others: name -> text."""
    rows = list(rows)
    packages = dict.fromkeys((*BASE_PACKAGES, *(name for row in rows for name in row.packages)))
    kinds = dict.fromkeys(row.server for row in rows if row.server is not None)
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "load before": load(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    found |= {name: _version(name) for name in packages}
    return found | {f"{kind} server": SERVERS[kind].version() for kind in kinds}


def load() -> str:
    """Runnable processes on average over the last 1, 5 and 15 minutes."""
    return " ".join(f"{average:.1f}" for average in os.getloadavg())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"
