"""Quantiles, and waiting for what may never come."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import measure
from benchmarks.measure import Arrivals, quantile, until_stalled


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_lies_within_the_values(values: list[float], share: float) -> None:
    assert min(values) <= quantile(values, 0) <= quantile(values, share) + 1e-6
    assert quantile(values, 1) == max(values)


def test_a_quantile_interpolates() -> None:
    assert quantile([4, 1, 3, 2], 0.5) == 2.5


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@pytest.fixture
def short_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "STALL_SECONDS", 0.02)


@pytest.mark.usefixtures("short_stall")
async def test_waiting_ends_when_nothing_more_comes() -> None:
    arrivals = Arrivals()
    arrivals.expect(2)
    arrivals.missing -= 1
    assert not await arrivals.all()
    assert arrivals.total == 1


@pytest.mark.usefixtures("short_stall")
async def test_waiting_goes_on_while_something_comes() -> None:
    progress = 0

    async def slowly() -> None:
        nonlocal progress
        for _ in range(6):
            await asyncio.sleep(0.01)
            progress += 1

    def seen() -> int:
        return progress

    assert await until_stalled(slowly(), seen)


async def test_arrivals_count_over_several_parts() -> None:
    arrivals = Arrivals()
    for part in (1, 2):
        arrivals.expect(1)
        arrivals.missing -= 1
        arrivals.complete()
        assert await arrivals.all()
        assert arrivals.total == part
