"""Runs the kit over the table of layers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.plugin import apply_options
from tests.layers.table import TABLE, parameters


@pytest.fixture(scope="session", params=parameters())
def layer_under_test(request: pytest.FixtureRequest) -> Iterator[LayerUnderTest]:
    with TABLE[request.param].opened(request.param) as under_test:
        apply_options(request.config, under_test)
        yield under_test
        under_test.close_workers()


@pytest.fixture(scope="session")
def layer_to_agree_with(layer_under_test: LayerUnderTest) -> LayerUnderTest:
    """Every layer is to agree with the one that channels has built in."""
    return LayerUnderTest("channels.layers.InMemoryChannelLayer", distributed=False)
