"""The demo site as a real process, and a person who uses it without a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener

import psutil
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"
TIMEOUT = 20.0
"""Seconds that anything may take before a test gives up."""


def demo_environment(database: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a demo process: this checkout's packages, its own database."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DEMO_", "CHANNEL_LAYER_", "DJANGO_"))
    }
    roots = [str(ROOT / "layers"), str(ROOT / "consumers"), str(ROOT)]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(roots),
        "PYTHONUNBUFFERED": "1",
        "DEMO_DATABASE": str(database),
        **(extra or {}),
    }


def migrate(database: Path) -> None:
    """Make a migrated database, to be copied for each server."""
    subprocess.run(
        [sys.executable, DEMO / "manage.py", "migrate", "--verbosity=0"],
        env=demo_environment(database),
        check=True,
        timeout=120,
    )


class DemoServer:
    """One server on a free port, with a temporary database.

    Args:
        template: a migrated database.
        directory: for the database and the log.
        extra: further environment variables.
        arguments: of the command, such as ``--layer``.
    """

    def __init__(
        self,
        template: Path,
        directory: Path,
        extra: Mapping[str, str] | None = None,
        *,
        arguments: Sequence[str] = (),
    ) -> None:
        self._arguments = arguments
        self._database = directory / "demo.sqlite3"
        shutil.copy(template, self._database)
        self._environment = demo_environment(self._database, extra)
        self._log = directory / "server.log"
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> None:
        """Start, or start again on the same port."""
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, DEMO / "serve.py", "--port", str(self._port), *self._arguments],
                env=self._environment,
                start_new_session=True,  # signals of the tests' terminal are not the demo's
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._process = process
        if process.stdout is None:
            raise RuntimeError("Its output was asked for.")
        line = process.stdout.readline()
        found = re.search(r"http://\S+:(\d+)/", line)
        if found is None:
            self.stop()
            raise RuntimeError(f"The demo did not start: {line}{self.log}")
        self._port = int(found[1])
        self.url = f"http://127.0.0.1:{self._port}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(how)
            self.wait()

    def wait(self) -> int:
        """Wait until the process has ended; its exit status."""
        process, self._process = self._process, None
        if process is None:
            raise RuntimeError("The demo does not run.")
        process.communicate(timeout=TIMEOUT)
        return process.returncode

    @property
    def process(self) -> psutil.Process:
        """The process that was started; it may have started others."""
        if self._process is None:
            raise RuntimeError("The demo does not run.")
        return psutil.Process(self._process.pid)

    def workers(self) -> list[psutil.Process]:
        """The processes that serve the site, once there are two."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            children = self.process.children()
            found = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            if len(found) == 2:
                return sorted(found, key=lambda child: child.pid)
            time.sleep(0.02)  # nothing tells when they are there
        raise RuntimeError(f"There are no two workers: {self.log}")

    @property
    def log(self) -> str:
        """What the server wrote to stderr."""
        return self._log.read_text()

    @property
    def complaints(self) -> str:
        """The log, if something crashed or presence complained; else nothing.

        What else it warns of (a layer that is away, messages for a page that is gone) is normal.
        """
        found = re.search(
            r"^(Traceback|ERROR|WARNING channel_consumers(?!.*LayerUnavailable))",
            self.log,
            re.MULTILINE,
        )
        return self.log if found else ""

    def visitor(self, name: str | None = None) -> Visitor:
        """Somebody new, signed in if there is a name."""
        visitor = Visitor(self.url)
        if name is not None:
            assert visitor.sign_in(name).status == 200
        return visitor


class Page:
    """The answer to a request, after redirections."""

    def __init__(self, status: int, url: str, text: str) -> None:
        self.status = status
        self.path = urlsplit(url).path
        self.text = text

    @property
    def alert(self) -> str:
        """What the page says went wrong."""
        found = re.search(r'role="alert">(.*?)</p>', self.text, re.DOTALL)
        return unescape(found[1]).strip() if found else ""

    @property
    def said(self) -> list[str]:
        """The texts of the messages on a room's page."""
        return [
            unescape(text)
            for text in re.findall(r'<p class="text">(.*?)</p>', self.text, re.DOTALL)
        ]


class Visitor:
    """A person with cookies and no JavaScript."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies))

    def get(self, path: str) -> Page:
        """Open a page."""
        return self._open(Request(self._url + path))

    def post(self, path: str, **fields: str) -> Page:
        """Send a form of this site."""
        if not any(cookie.name == "csrftoken" for cookie in self._cookies):
            self.get("/sign-in/")
        token = next(c.value for c in self._cookies if c.name == "csrftoken")
        body = urlencode({**fields, "csrfmiddlewaretoken": token or ""}).encode()
        return self._open(Request(self._url + path, data=body))

    def sign_in(self, name: str) -> Page:
        """Choose a name."""
        return self.post("/sign-in/", name=name)

    @contextmanager
    def socket(self, path: str, *, origin: str | None = None) -> Iterator[Socket]:
        """Open a socket of this site with this person's cookies."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)
        with connect(
            self._url.replace("http", "ws") + path,
            additional_headers={"Cookie": cookies, "Origin": origin or self._url},
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
            max_size=2**22,
        ) as connection:
            yield Socket(connection)

    def enter(
        self, room: str, since: tuple[str, int] | None = None
    ) -> AbstractContextManager[Socket]:
        """Open the socket of a chat room; its first frame has not been read."""
        query = "" if since is None else "?" + urlencode({"since": f"{since[0]}:{since[1]}"})
        return self.socket(f"/ws/chat/{room}/{query}")

    def _open(self, request: Request) -> Page:
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return Page(answer.status, answer.url, answer.read().decode())
        except HTTPError as answer:
            with answer:
                return Page(answer.code, request.full_url, answer.read().decode())


class Socket:
    """A socket that speaks JSON frames."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, frame: object) -> None:
        """Send one frame; text and bytes go as they are."""
        self.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    def until_people(self, *names: str) -> None:
        """Wait until the room says that exactly these people are here."""
        wanted, here = sorted(names), None
        while here != wanted:
            here = sorted(person["name"] for person in self.next("people")["people"])

    def next(self, *types: str) -> dict[str, Any]:
        """The next frame of one of these types; others are passed over."""
        while True:
            frame: dict[str, Any] = json.loads(self.connection.recv(timeout=TIMEOUT))
            if not types or frame["type"] in types:
                return frame
