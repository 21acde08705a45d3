"""Interchangeable: the same history on another layer ends in the same deliveries."""

from __future__ import annotations

import pytest
from hypothesis import given

from channel_layers.testing.agreement import Step, deliveries, histories
from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.law import hypothesis_settings, not_applicable, shrinking_for


@pytest.mark.promise("agreement")
class TestAgreement:
    def test_the_same_history_ends_the_same(
        self, layer_under_test: LayerUnderTest, layer_to_agree_with: LayerUnderTest | None
    ) -> None:
        """A history run on this layer and on another one ends in the same deliveries."""
        other = layer_to_agree_with
        if other is None:
            not_applicable("no other layer to agree with (--agree-with)")
            return

        @hypothesis_settings(layer_under_test.examples)
        @given(history=histories())
        def agree(history: list[Step]) -> None:
            ours, theirs = deliveries(layer_under_test, history), deliveries(other, history)
            assert ours == theirs, f"{layer_under_test.name}: {ours}; {other.name}: {theirs}"

        with shrinking_for(layer_under_test.shrink_seconds):
            agree()
