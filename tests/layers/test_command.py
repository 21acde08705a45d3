"""``manage.py channel_layer``: what it tells people and programs, and its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from channels.layers import BaseChannelLayer, channel_layers
from channels.layers import InMemoryChannelLayer as PlainInMemoryChannelLayer
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layers.exceptions import LayerUnavailable
from channel_layers.management.commands.channel_layer import Command
from channel_layers.memory import InMemoryChannelLayer

ALIAS = "tried"

L = TypeVar("L", bound=BaseChannelLayer)


@pytest.fixture
def layer() -> Iterator[InMemoryChannelLayer]:
    """A layer of this process, which the command finds under its alias."""
    made = InMemoryChannelLayer(history={"news": (10, 60)})
    yield from _installed(made)


def _installed(made: L) -> Iterator[L]:
    channel_layers.set(ALIAS, made)
    yield made
    assert channel_layers.backends.pop(ALIAS) is made  # the command left it alone


def run(*args: str, out: StringIO | None = None) -> str:
    """What the command prints."""
    out = out or StringIO()
    call_command(Command(), *args, "--layer", ALIAS, stdout=out, stderr=StringIO(), no_color=True)
    return out.getvalue()


def failure(*args: str) -> tuple[int, str]:
    """Exit status and sentence of a command that fails."""
    with pytest.raises(CommandError) as caught:
        run(*args)
    text = str(caught.value)
    assert "\n" not in text
    return caught.value.returncode, text


def test_check_says_that_it_works(layer: InMemoryChannelLayer) -> None:
    text = run("check")
    assert "channel_layers.memory.InMemoryChannelLayer" in text
    assert "in-process" in text
    assert "It works." in text
    assert "note: Messages stay in one process" in text
    assert layer.stats()["channels"] == 0  # nothing is left behind


def test_check_as_json(layer: InMemoryChannelLayer) -> None:
    report = json.loads(run("check", "--json"))
    assert report["ok"] is True
    assert report["connected"] is True
    assert 0 < report["ping_seconds"] < 5
    assert 0 < report["group_seconds"] < 5
    assert report["problems"] == []
    assert set(report["runs_on"]) == {"channels", "django", "python"}


@pytest.mark.parametrize(("debug", "warns"), [(True, False), (False, True)])
def test_in_memory_without_debug_is_warned_of(
    layer: InMemoryChannelLayer, debug: bool, warns: bool
) -> None:
    with override_settings(DEBUG=debug):
        assert ("if this is production" in run("check")) is warns


def test_check_tells_of_losses(layer: InMemoryChannelLayer) -> None:
    async def lose() -> None:
        channel = await layer.new_channel()
        await layer.group_add("crowd", channel)
        for _ in range(layer.capacity + 7):
            await layer.group_send("crowd", {"type": "x"})
        await layer.close_channel(channel)

    asyncio.run(lose())
    assert "7 message(s) were dropped in this process: their channel was full" in run("check")


class Unreachable(InMemoryChannelLayer):
    """A layer whose broker does not answer."""

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        raise LayerUnavailable("Connection refused.\nIs it up?")

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Lose it."""


def test_check_of_a_layer_that_fails() -> None:
    for _ in _installed(Unreachable()):
        out = StringIO()
        with pytest.raises(CommandError) as caught:
            run("check", "--json", "--timeout", "0.05", out=out)
        assert caught.value.returncode == 1
        report = json.loads(out.getvalue())
        assert report["ok"] is False
        assert report["ping_seconds"] is None
        assert report["problems"] == [
            "A message to itself failed: LayerUnavailable: Connection refused. Is it up?.",
            "A message to a group did not come back within 0.05 s.",
        ]


def test_check_of_somebody_elses_layer() -> None:
    for _ in _installed(PlainInMemoryChannelLayer()):
        report = json.loads(run("check", "--json"))
        assert report["ok"] is True
        assert report["layer"] == "channels.layers.InMemoryChannelLayer"
        assert report["version"] == report["runs_on"]["channels"]
        assert report["connected"] is None
        assert "It works." in run("check")


def test_check_finds_what_is_wrong_with_somebody_elses_layer() -> None:
    # channels' own cannot send with the option channel_capacity.
    for _ in _installed(PlainInMemoryChannelLayer(channel_capacity={"tiny": 1})):
        status, text = failure("check")
        assert status == 1
        assert "A message to itself failed: ValueError" in text


def test_a_layer_without_groups_is_noted() -> None:
    class Groupless(PlainInMemoryChannelLayer):
        extensions: list[str] = []  # noqa: RUF012

    for _ in _installed(Groupless()):
        assert "no groups" in run("check")
        assert failure("flush", "--yes") == (2, f"Layer {ALIAS!r} cannot be flushed.")


def test_stats(layer: InMemoryChannelLayer) -> None:
    asyncio.run(layer.group_send("news", {"type": "x"}))
    assert "counters   group_sent 1" in run("stats")
    assert json.loads(run("stats", "--json")) == layer.stats()


def test_groups(layer: InMemoryChannelLayer) -> None:
    channel = layer.sync.new_channel()
    layer.sync.group_add("news", channel)
    assert run("groups", "news", "empty").splitlines() == [
        "news: 1 channel(s)",
        f"  {channel}",
        "empty: 0 channel(s)",
    ]
    assert json.loads(run("groups", "news", "--json")) == {"news": [channel]}
    assert "1 member(s) in 1 group(s)" in run("groups")
    assert failure("groups", "not a name")[0] == 2


@pytest.mark.parametrize("action", ["stats", "groups"])
def test_somebody_elses_layer_has_no_figures(action: str) -> None:
    for _ in _installed(PlainInMemoryChannelLayer()):
        status, text = failure(action)
        assert status == 2
        assert "channels.layers.InMemoryChannelLayer gives no" in text


def test_tail_prints_messages_as_they_come(layer: InMemoryChannelLayer) -> None:
    out = StringIO()
    tail = threading.Thread(target=run, args=("tail", "news", "--count", "2"), kwargs={"out": out})
    tail.start()
    for message in ({"type": "a", "text": "grüß"}, {"type": "b", "raw": b"\x00"}):
        while not layer.sync.group_channels("news"):
            tail.join(0.01)
            assert tail.is_alive()
        layer.sync.group_send("news", message)
    tail.join(10)
    assert not tail.is_alive()
    epoch = layer.sync.position("news").epoch
    assert out.getvalue().splitlines() == [
        f'{epoch}:1 {{"type": "a", "text": "grüß"}}',
        f'{epoch}:2 {{"type": "b", "raw": {{"bytes": "AA=="}}}}',
    ]
    assert layer.stats()["channels"] == 0


def test_flush_asks(layer: InMemoryChannelLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    layer.sync.send("jobs", {"type": "x"})

    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert failure("flush") == (2, "There is nobody to ask: say --yes to flush.")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert failure("flush") == (1, "Nothing was flushed.")
    assert layer.stats()["waiting"] == 1
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert "is empty" in run("flush")
    assert layer.stats()["waiting"] == 0
    layer.sync.send("jobs", {"type": "x"})
    assert "is empty" in run("flush", "--yes")
    assert layer.stats()["waiting"] == 0


def test_a_layer_that_fails_in_an_action_is_one_sentence() -> None:
    class Broken(InMemoryChannelLayer):
        async def flush(self) -> None:
            raise ConnectionError("refused")

    for _ in _installed(Broken()):
        assert failure("flush", "--yes") == (
            1,
            f"flush failed on layer {ALIAS!r}: ConnectionError: refused.",
        )


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "ACTION"),
        (("dance",), "dance"),
        (("check", "--timeout", "0"), "above 0"),
        (("check", "--timeout", "soon"), "above 0"),
        (("tail",), "GROUP"),
        (("tail", "news", "--count", "-1"), "above 0"),
    ],
)
def test_what_cannot_be_asked(
    layer: InMemoryChannelLayer, args: tuple[str, ...], text: str
) -> None:
    with pytest.raises(CommandError, match=text):
        run(*args)


# As programs see it: the exit status of a process of its own


# As "python -m django", but Ctrl-C works even if whoever runs the tests (a shell that put them
# into the background) ignores it, which children inherit.
DJANGO = """
import signal, sys
from django.core.management import execute_from_command_line
signal.signal(signal.SIGINT, signal.default_int_handler)
execute_from_command_line(sys.argv)
"""


def command(folder: Path, layers: dict[str, Any], *args: str) -> subprocess.Popen[str]:
    """``django-admin channel_layer`` with these CHANNEL_LAYERS."""
    name = "settings_for_command"
    (folder / f"{name}.py").write_text(
        f"INSTALLED_APPS = ['channel_layers']\nDEBUG = True\nCHANNEL_LAYERS = {layers!r}\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", DJANGO, "channel_layer", *args, "--settings", name, "--no-color"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


OURS = "channel_layers.memory.InMemoryChannelLayer"


@pytest.mark.parametrize(
    ("layers", "args", "status", "text"),
    [
        ({"default": {"BACKEND": OURS}}, ["check"], 0, ""),
        ({}, ["check"], 2, "CHANNEL_LAYERS is empty"),
        ({"other": {"BACKEND": OURS}}, ["check"], 2, "no 'default'; it has: other"),
        ({"default": {}}, ["check"], 2, "No BACKEND"),
        (
            {"default": {"BACKEND": "no.such.Layer"}},
            ["check"],
            2,
            "Cannot import BACKEND 'no.such.Layer' specified for default (ModuleNotFoundError: No",
        ),
        ({"default": {"BACKEND": OURS, "CONFIG": {"capacty": 5}}}, ["check"], 2, "capacity"),
        ({"default": {"BACKEND": OURS}}, ["flush"], 2, "say --yes"),
        ({"default": {"BACKEND": OURS}}, ["dance"], 2, "invalid choice: 'dance'"),
        (
            {
                "default": {
                    "BACKEND": "channels_redis.core.RedisChannelLayer",
                    "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
                }
            },
            ["check"],
            1,
            "does not work: A message to itself failed: ConnectionError",
        ),
    ],
)
def test_exit_status(
    tmp_path: Path, layers: dict[str, Any], args: list[str], status: int, text: str
) -> None:
    process = command(tmp_path, layers, *args)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert text in err
    assert "Traceback" not in out + err


def test_ctrl_c_ends_tail(tmp_path: Path) -> None:
    with command(tmp_path, {"default": {"BACKEND": OURS}}, "tail", "news") as process:
        assert process.stderr is not None
        assert "Listening to news" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in err


class Closing(InMemoryChannelLayer):
    """Tells that it was closed."""

    closed: ClassVar[list[BaseChannelLayer]] = []

    async def close(self) -> None:
        self.closed.append(self)
        await super().close()


def test_a_layer_that_the_command_made_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "layers_for_command", sys.modules[__name__])
    entry = {"BACKEND": "layers_for_command.Closing"}
    with override_settings(CHANNEL_LAYERS={ALIAS: entry}):
        run("check")
        assert len(Closing.closed) == 1
        assert ALIAS not in channel_layers.backends
