"""The command itself, on the layers that need no server."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.bench import Bench
from benchmarks.cases import Case, Layer, Result
from benchmarks.layers import ROWS, Row
from benchmarks.readers import Readers, message
from benchmarks.results import Results
from benchmarks.runner import CaseError, run_case
from benchmarks.scenarios import SCENARIOS
from benchmarks.tally import Losses
from channel_layers.memory import InMemoryChannelLayer


def test_a_quick_run_of_two_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quick", "--scenarios", "latency,burst", "--layers", "memory,channels-memory"]
    assert main([*words, "--json", str(tmp_path / "found.json")]) == 0
    found = Results.load(tmp_path / "found.json")
    for name in ("memory", "channels-memory"):
        cell = found.cell("latency", name, "asyncio")
        assert not cell.errors
        assert cell.losses == Losses()
        assert cell.runs[0].figures["p50"] > 0
        assert "not applicable" in found.cell("burst", name, "asyncio").absent
    assert "latency" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fanout", "throughput", "plain", "senders", "join", "idle"])
def test_our_layer_loses_nothing(name: str) -> None:
    scenario = SCENARIOS[name]
    result = run_case(scenario, ROWS["memory"], "asyncio", quick=True)
    assert result.figures.keys() == {figure.name for figure in scenario.figures}
    assert result == Result(result.figures)


@pytest.mark.parametrize(
    ("scenario", "row"),
    [
        ("plain", "redis"),
        ("plain", "channels-redis-core"),
        ("senders", "redis"),
        ("idle", "redis"),
    ],
)
def test_layers_over_a_real_server_lose_nothing(scenario: str, row: str) -> None:
    result = run_case(SCENARIOS[scenario], ROWS[row], "asyncio", quick=True)
    assert result.figures.keys() == {figure.name for figure in SCENARIOS[scenario].figures}
    assert min(result.figures.values()) > 0
    assert result == Result(result.figures)


def test_a_queue_is_not_measured_where_its_readers_do_not_share() -> None:
    assert SCENARIOS["plain"].not_applicable(ROWS["channels-redis-pubsub"])
    assert SCENARIOS["plain"].not_applicable(ROWS["channels-redis-core"]) is None


async def test_connections_measured_before_get_none_of_the_messages_of_the_next() -> None:
    groups: list[set[str]] = []

    class Noting(InMemoryChannelLayer):
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            self.used.add(group)
            await super().group_send(group, message)

        def __init__(self) -> None:
            super().__init__()
            self.used: set[str] = set()
            groups.append(self.used)

    class OfNoting(Bench):
        def open_anew(self) -> Layer:
            self._layers.append(layer := Noting())
            return layer

    case = Case("idle", "memory", "", "asyncio", quick=True)
    bench = OfNoting(case, ROWS["memory"], StringIO())
    await SCENARIOS["idle"].run(bench)
    await bench.close()
    assert all(groups)
    assert len(set().union(*groups)) == sum(map(len, groups))


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--layers", "memori", "no memori; there are memory,"),
        ("--scenarios", "x", "no x; there are fanout,"),
        ("--repeats", "-1", "1 or more"),
    ],
)
def test_bad_options(
    option: str, value: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([option, value]) == 2
    assert told in capsys.readouterr().err


def test_a_case_that_fails_says_why() -> None:
    broken = Row("no such row", "x", (), lambda _address, _capacity: {})
    with pytest.raises(CaseError, match="no such row"):
        run_case(SCENARIOS["latency"], broken, "asyncio", quick=True)


def test_a_layer_that_is_not_installed_is_named() -> None:
    absent = Row("x", "no_such_package.Layer", (), lambda _address, _capacity: {})
    assert absent.missing() == "not installed: no_such_package"
    path, packages = "channel_layers.redis.Layer", ("channel-layers", "no-such-client")
    half = Row("x", path, packages, lambda _address, _capacity: {})
    assert half.missing() == "not installed: no-such-client"


async def test_a_reader_that_breaks_is_reported() -> None:
    class Broken:
        async def receive(self, channel: str) -> dict[str, object]:
            raise ConnectionError(channel)

    async def send(_message: dict[str, object]) -> None: ...

    with pytest.raises(ConnectionError, match="here"):
        async with Readers() as readers:
            readers.add(Broken(), "here")
            await readers.knock(send)
    assert message(1, 2)["number"] == 1
