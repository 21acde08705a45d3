"""All promises together: any sequence of verbs does what a naive model says."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.law import hypothesis_settings, shrinking_for
from channel_layers.testing.stateful import LayerMachine


@pytest.mark.promise("all")
class TestMachine:
    def test_any_sequence_of_verbs_does_what_the_model_says(
        self, layer_under_test: LayerUnderTest
    ) -> None:
        """Instances that send, add, cancel, close and flush in any order agree with a model."""

        class Machine(LayerMachine):
            under_test = layer_under_test
            failures: list[tuple[list[str], Exception]] = []  # noqa: RUF012  # of this run

        examples = hypothesis_settings(2 * layer_under_test.examples)
        search = settings(examples, stateful_step_count=40)
        try:
            with shrinking_for(layer_under_test.shrink_seconds):
                run_state_machine_as_test(Machine, settings=search)
        except Exception as error:
            if not Machine.failures:
                raise
            # Of the runs that failed the shortest; Hypothesis cannot shrink what fails sometimes.
            steps, failure = min(Machine.failures, key=lambda failed: len(failed[0]))
            raise AssertionError("\n".join([str(failure), "after", *steps])) from error
