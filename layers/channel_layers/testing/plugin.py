"""The pytest plugin: options, the marker, the fixture ``layer_under_test``, the report card.

It is loaded in every pytest run of every project that has the package installed, so it imports
nothing that such a run would not import anyway.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from channel_layers.testing.harness import LayerUnderTest

LAWS: Final = Path(__file__).with_name("laws")

pytest.register_assert_rewrite(
    "channel_layers.testing.laws",
    "channel_layers.testing.scene",
    "channel_layers.testing.stateful",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the kit."""
    group = parser.getgroup("channel layers", "conformance kit for channel layers")
    group.addoption("--channel-layer", metavar="CLASS", help="dotted path of the layer to judge")
    group.addoption("--layer-config", metavar="JSON", default="{}", help="its CONFIG, as JSON")
    group.addoption(
        "--layer-examples",
        metavar="N",
        type=int,
        help="examples for a law of average effort (default 20); more search longer",
    )
    group.addoption(
        "--layer-patience",
        metavar="SECONDS",
        type=float,
        help="time after which a message that should come counts as lost (default 5)",
    )
    group.addoption(
        "--layer-expiry",
        metavar="SECONDS",
        type=float,
        help="shortest expiry that the layer takes (default 1)",
    )
    group.addoption(
        "--agree-with",
        metavar="CLASS",
        help="another layer, that is to deliver the same for the same history",
    )
    group.addoption("--layer-report", metavar="FILE", help="write the report card as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; see whether the options can be right."""
    config.addinivalue_line(
        "markers", "promise(number): which promise of a channel layer the law belongs to"
    )
    try:
        layer_config = json.loads(config.getoption("--layer-config"))
    except ValueError as error:
        raise pytest.UsageError(f"--layer-config is not JSON: {error}") from error
    if not isinstance(layer_config, dict):
        raise pytest.UsageError("--layer-config is not a JSON object of CONFIG keys")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect the laws whatever a project's ``python_files`` is."""
    if file_path.parent != LAWS or file_path.suffix != ".py" or file_path.name == "__init__.py":
        return None
    if any(file_path.match(pattern) for pattern in parent.config.getini("python_files")):
        return None  # pytest does it
    _require_hypothesis()
    module: pytest.Module = pytest.Module.from_parent(parent, path=file_path)
    return module


@pytest.fixture(scope="session")
def layer_under_test(request: pytest.FixtureRequest) -> Iterator[LayerUnderTest]:
    """The layer that the laws judge: ``--channel-layer``. Override it to judge your own table."""
    dotted = request.config.getoption("--channel-layer")
    if not dotted:
        pytest.exit("Say which layer to judge: --channel-layer=dotted.Class", returncode=4)
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        import django

        django.setup()
    layer = layer_from_options(request.config, dotted)
    yield layer
    layer.close_workers()


@pytest.fixture(scope="session")
def layer_to_agree_with(request: pytest.FixtureRequest) -> Iterator[LayerUnderTest | None]:
    """The layer that is to deliver the same: ``--agree-with``."""
    dotted = request.config.getoption("--agree-with")
    if not dotted:
        yield None
        return
    from channel_layers.testing.harness import LayerUnderTest

    layer = LayerUnderTest(dotted)
    yield layer
    layer.close_workers()


def layer_from_options(config: pytest.Config, dotted: str) -> LayerUnderTest:
    """The layer at ``dotted`` with the run's options."""
    from channel_layers.testing.harness import LayerUnderTest

    layer = LayerUnderTest(dotted, json.loads(config.getoption("--layer-config")))
    apply_options(config, layer)
    return layer


def apply_options(config: pytest.Config, layer: LayerUnderTest) -> None:
    """Let the command line overrule a layer's own examples, patience and expiry."""
    layer.examples = config.getoption("--layer-examples") or layer.examples
    layer.patience = config.getoption("--layer-patience") or layer.patience
    layer.expiry = config.getoption("--layer-expiry") or layer.expiry


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note for the report card how a law went."""
    report = yield
    marker = item.get_closest_marker("promise")
    if marker is not None and (call.when == "call" or call.excinfo is not None):
        from channel_layers.testing.report import verdict_of

        report.user_properties.append(("channel layer law", verdict_of(item, call, report, marker)))
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write the report card, if any law was run."""
    reports = [
        report
        for category in ("passed", "failed", "skipped", "error")
        for report in terminalreporter.stats.get(category, [])
    ]
    verdicts = [
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "channel layer law"
    ]
    if not verdicts:
        return
    from channel_layers.testing.report import write_cards, write_json

    write_cards(terminalreporter, verdicts)
    if path := config.getoption("--layer-report"):
        write_json(Path(path), verdicts)


def _require_hypothesis() -> None:
    try:
        import hypothesis  # noqa: F401  # only whether it is there
    except ImportError:
        pytest.exit("The conformance kit needs Hypothesis: pip install hypothesis", returncode=4)
