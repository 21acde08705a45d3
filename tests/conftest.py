"""What all tests share: Django's settings, Hypothesis profiles, the guard of the event loop."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from blockbuster import BlockBuster
from hypothesis import settings

BROWSER_TESTS = Path(__file__).parent / "browser"

# Not setdefault: a project activated in the caller's shell has no say here.
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

# In CI the same examples every time; a failure found elsewhere is reported with its blob.
settings.register_profile("local", deadline=None, database=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the browser tests and run them last.

    Playwright's blocking interface keeps an event loop running in the main thread for as long as
    the browser is open, and no other loop can run beside it there.
    """
    browser = [item for item in items if BROWSER_TESTS in item.path.parents]
    for item in browser:
        item.add_marker("browser")
    items.sort(key=lambda item: BROWSER_TESTS in item.path.parents)


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """An asynchronous test fails when what it tests blocks the event loop it runs on."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    guard = BlockBuster(["channel_layers", "channel_consumers"])
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()
