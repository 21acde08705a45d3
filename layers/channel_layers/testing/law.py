"""``@law``: makes a pytest test of a property written as a coroutine over a scene."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Final, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import example as hypothesis_example
from hypothesis import strategies as st

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.scene import Scene

__all__ = ["EXPIRY", "HURRIED_PATIENCE", "always", "hypothesis_settings", "law", "not_applicable", "over"]

Property = Callable[..., Coroutine[object, object, None]]
Test = Callable[[object, LayerUnderTest], None]
F = TypeVar("F", bound=Property)

EXPIRY: Final = object()
"""In a law's ``config``: the shortest expiry of the layer under test."""

HURRIED_PATIENCE: Final = 1.0
"""Once a law has failed, a message that does not come within this many seconds is lost."""


def over(**strategies: st.SearchStrategy[object]) -> Callable[[F], F]:
    """The law is to hold for all values of these Hypothesis strategies."""

    def attach(function: F) -> F:
        function.__dict__["strategies"] = strategies
        return function

    return attach


def always(**values: Iterable[object]) -> Callable[[F], F]:
    """Besides what Hypothesis finds, the law is tried for these values in every run."""

    def attach(function: F) -> F:
        (name, them), *rest = values.items()
        assert not rest, "one name at a time"
        function.__dict__["always"] = [{name: value} for value in them]
        return function

    return attach


def law(
    *,
    needs: tuple[str, ...] = (),
    config: Mapping[str, object] | None = None,
    effort: float = 1.0,
) -> Callable[[Property], Test]:
    """A law: ``async def test_...(self, scene, **values)``, run once for each set of values.

    Args:
        needs: what the layer must have for it; see :meth:`LayerUnderTest.lacks`.
        config: CONFIG of the scene's layers; where the layer refuses one of these options, the
            law is not applicable.
        effort: how many examples it tries, in units of the run's ``--layer-examples``.
    """

    def decorate(function: Property) -> Test:
        def test(self: object, layer_under_test: LayerUnderTest) -> None:
            actual = {
                option: layer_under_test.expiry if value is EXPIRY else value
                for option, value in (config or {}).items()
            }
            _require(layer_under_test, needs, actual)

            def example(*, hurry: bool, **values: object) -> None:
                async def body(scene: Scene) -> None:
                    if hurry:
                        scene.patience = min(scene.patience, HURRIED_PATIENCE)
                    await function(self, scene, **values)

                layer_under_test.run(body, actual)

            strategies = function.__dict__.get("strategies")
            if not strategies:
                example(hurry=False)
                return
            budgeted = _Budget(example, layer_under_test.shrink_seconds).run
            budgeted.__name__ = function.__name__
            examples = max(1, round(layer_under_test.examples * effort))
            search = given(**strategies)(budgeted)
            for values in function.__dict__.get("always", ()):
                search = hypothesis_example(**values)(search)
            hypothesis_settings(examples)(search)()

        test.__name__ = function.__name__
        test.__qualname__ = function.__qualname__
        test.__module__ = function.__module__
        test.__doc__ = function.__doc__
        test.__dict__["__wrapped__"] = function  # where pytest looks for the source
        test.__dict__["__signature__"] = _SIGNATURE
        return test

    return decorate


def not_applicable(reason: str) -> None:
    """End the law: it says nothing about this layer."""
    pytest.skip(f"not applicable: {reason}")


def hypothesis_settings(examples: int) -> settings:
    """How Hypothesis searches: the same examples each time in CI, no clock of its own."""
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


class _Budget:
    """Ends the shrinking of a counterexample in good time.

    A lost message costs the whole patience each time, and Hypothesis shrinks for minutes. When
    the time is up only examples known to fail are run again.
    """

    def __init__(self, example: Callable[..., None], seconds: float) -> None:
        self._example = example
        self._seconds = seconds
        self._ends: float | None = None
        self._failing: set[str] = set()

    @property
    def run(self) -> Callable[..., None]:
        def example(**values: object) -> None:
            key = repr(values)
            if self._ends and time.monotonic() > self._ends and key not in self._failing:
                reject()
            try:
                self._example(hurry=self._ends is not None, **values)
            except Exception:
                self._ends = self._ends or time.monotonic() + self._seconds
                self._failing.add(key)
                raise

        return example


def _require(
    under_test: LayerUnderTest, needs: tuple[str, ...], config: Mapping[str, object]
) -> None:
    for need in needs:
        if reason := under_test.lacks(need):
            not_applicable(reason)
    for option, value in config.items():
        if reason := under_test.refuses(option, value):
            not_applicable(reason)


_SIGNATURE: Final = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ("self", "layer_under_test")
    ]
)
