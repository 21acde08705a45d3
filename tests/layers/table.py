"""The layers that the conformance kit runs on: one row each; a new layer adds its own here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from channel_layers.testing.harness import LayerUnderTest

__all__ = ["TABLE", "Row", "parameters"]


@dataclass(frozen=True)
class Row:
    """One layer: its class, its CONFIG, and what pytest is to know of it."""

    dotted: str
    config: dict[str, object] = field(default_factory=dict)
    distributed: bool = True
    marks: tuple[pytest.MarkDecorator, ...] = ()

    @contextmanager
    def opened(self, name: str) -> Iterator[LayerUnderTest]:
        """The layer, with whatever it needs running."""
        under_test = LayerUnderTest(
            self.dotted, self.config, name=name, distributed=self.distributed, expiry=0.3
        )
        yield under_test
        under_test.close_workers()


TABLE: dict[str, Row] = {
    "memory": Row("channel_layers.memory.InMemoryChannelLayer", distributed=False),
}


def parameters() -> list[object]:
    """The rows for ``pytest.fixture(params=...)``."""
    return [pytest.param(name, id=name, marks=row.marks) for name, row in TABLE.items()]
