"""Starting the demo: what is wrong is said in a sentence, before anything is served."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.demo_server import DEMO, demo_environment


def run(database: Path, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=demo_environment(database, extra),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def serve(database: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return run(database, str(DEMO / "serve.py"), "--port", "0", *arguments, **extra)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--layer", "carrier-pigeon://"], "names no channel layer"),
        (["--layer", "memory://?capacty=5"], "Unknown option 'capacty'"),
        (["--layer", "redis://?prefix=a%20b"], "prefix 'a b' must be"),
        (["--layer", "redis://localhost?capacty=5"], "no option 'capacty'"),
        (["--workers", "2"], "memory:// stays within one process"),
    ],
)
def test_options_that_cannot_work(database: Path, arguments: list[str], says: str) -> None:
    ended = serve(database, *arguments)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_database_that_is_not_migrated(tmp_path: Path) -> None:
    ended = serve(tmp_path / "empty.sqlite3")
    assert ended.returncode == 2
    assert "manage.py migrate" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken(database: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = serve(database, "--port", port)
    assert ended.returncode == 2
    assert f"Port {port} is taken" in ended.stderr


def test_debug_off_needs_a_secret(database: Path) -> None:
    ended = serve(database, DEMO_DEBUG="0")
    assert ended.returncode == 2
    assert "DEMO_SECRET_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_migrations_match_the_models(database: Path) -> None:
    ended = run(database, str(DEMO / "manage.py"), "makemigrations", "--check", "--dry-run")
    assert ended.returncode == 0, ended.stdout + ended.stderr
