"""The kit as its users run it: the command, the report card, its options."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from channel_layers.testing.report import PROMISES, counterexample

MEMORY = "channel_layers.memory.InMemoryChannelLayer"
CHANNELS_OWN = "channels.layers.InMemoryChannelLayer"


def kit(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the kit as somebody would who has their own project in ``directory``."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--pyargs", "channel_layers.testing"),
            *("-p", "no:cacheprovider", "-p", "no:asyncio"),
            *options,
        ],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_layer_that_keeps_its_promises(tmp_path: Path) -> None:
    report = tmp_path / "card.json"
    done = kit(
        tmp_path,
        f"--channel-layer={MEMORY}",
        '--layer-config={"capacity": 500}',
        "--layer-examples=3",
        "--layer-expiry=0.2",
        f"--agree-with={CHANNELS_OWN}",
        f"--layer-report={report}",
        *("-k", "Names or Groups or Agreement or Faults or Cuts"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"promises of {MEMORY}" in done.stdout
    assert "1 Names          held" in done.stdout
    assert "11 Faults         not applicable: the kit cannot cut its connections" in done.stdout
    card = json.loads(report.read_text())[MEMORY]
    assert card["1"]["outcome"] == "held"
    assert card["11"]["outcome"] == "not applicable"
    assert card["agreement"]["outcome"] == "held"
    assert all(law["says"] and law["outcome"] for law in card["1"]["laws"])


def test_a_layer_that_breaks_some(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = tests.py\n")
    done = kit(
        tmp_path,
        f"--channel-layer={CHANNELS_OWN}",
        *("-k", "illegal_group_names or too_sent or a_sent_message_arrives"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 Names          broken   1 of 1 laws" in done.stdout
    assert "What is no group name is a TypeError from every verb" in done.stdout
    assert "name='a\\n'" in done.stdout
    assert "message={'': ()}" in done.stdout  # shrunk as far as it goes


def test_python_files_of_a_project_do_not_collect_twice(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = *.py\n")
    usual = kit(tmp_path, f"--channel-layer={MEMORY}", "--collect-only", "-q")
    (tmp_path / "pytest.ini").unlink()
    assert usual.returncode == 0, usual.stdout + usual.stderr
    found = [line for line in usual.stdout.splitlines() if "::Test" in line]
    assert len(set(found)) == len(found)
    again = kit(tmp_path, f"--channel-layer={MEMORY}", "--collect-only", "-q")
    assert len([line for line in again.stdout.splitlines() if "::Test" in line]) == len(found)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--channel-layer=dotted.Class"),
        (("--channel-layer=no.such.Layer",), "no.such"),
        ((f"--channel-layer={MEMORY}", "--layer-config={"), "not JSON"),
        ((f"--channel-layer={MEMORY}", '--layer-config={"capcity": 1}'), "capacity"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    done = kit(tmp_path, *options, "-x", "-k", "any_legal_plain_name")
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


def test_it_is_light_where_it_is_not_used() -> None:
    code = (
        "import sys, channel_layers.testing.plugin; "
        "print(sorted({'hypothesis', 'django', 'asgiref'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]", done.stdout


def test_every_law_belongs_to_a_promise() -> None:
    from channel_layers.testing.laws import all_laws

    for cls in all_laws().values():
        (mark,) = (mark for mark in cls.pytestmark if mark.name == "promise")  # type: ignore[attr-defined]
        assert str(mark.args[0]) in PROMISES
    numbers = {
        str(mark.args[0])
        for cls in all_laws().values()
        for mark in cls.pytestmark  # type: ignore[attr-defined]
    }
    assert numbers >= {str(number) for number in range(1, 15)}


def test_every_law_says_what_it_is() -> None:
    from channel_layers.testing.laws import all_laws

    for cls in all_laws().values():
        for name in dir(cls):
            if name.startswith("test_"):
                assert getattr(cls, name).__doc__, f"{cls.__name__}.{name} has no docstring"


def test_counterexamples_are_short() -> None:
    error = ExceptionGroup("flaky", [AssertionError("first\n" + "more\n" * 50)])
    assert counterexample(error).startswith("AssertionError: first")
    assert len(counterexample(error).splitlines()) <= 14
