"""``@law``: makes a pytest test of a property written as a coroutine over a scene."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import example as hypothesis_example
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.scene import Scene

__all__ = [
    "EXPIRY",
    "HURRIED_PATIENCE",
    "always",
    "hypothesis_settings",
    "law",
    "not_applicable",
    "over",
    "shrinking_for",
]

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


def always(values: Iterable[Mapping[str, object]]) -> Callable[[F], F]:
    """Besides what Hypothesis finds, the law is tried for these values in every run."""

    def attach(function: F) -> F:
        function.__dict__["always"] = list(values)
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

            failed = False

            def example(**values: object) -> None:
                nonlocal failed

                async def body(scene: Scene) -> None:
                    if failed:
                        scene.patience = min(scene.patience, HURRIED_PATIENCE)
                    await function(self, scene, **values)

                try:
                    layer_under_test.run(body, actual)
                except Exception:
                    failed = True
                    raise

            strategies = function.__dict__.get("strategies")
            if not strategies:
                example()
                return
            example.__name__ = function.__name__
            search = given(**strategies)(example)
            for values in function.__dict__.get("always", ()):
                search = hypothesis_example(**values)(search)
            examples = max(1, round(layer_under_test.examples * effort))
            with shrinking_for(layer_under_test.shrink_seconds):
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


@contextmanager
def shrinking_for(seconds: float) -> Iterator[None]:
    """Let Hypothesis spend at most so long on making a counterexample smaller.

    A lost message costs the whole patience each time, and Hypothesis has no setting for this:
    its own limit is five minutes for each law.
    """
    before = engine.MAX_SHRINKING_SECONDS
    engine.MAX_SHRINKING_SECONDS = seconds  # type: ignore[assignment]  # any number will do
    try:
        yield
    finally:
        engine.MAX_SHRINKING_SECONDS = before


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
