"""From runs to verdicts, tables, files and comparisons."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.bars import BARS, judge
from benchmarks.cases import Result
from benchmarks.compare import change, print_comparison
from benchmarks.report import markdown, print_tables, shown
from benchmarks.results import Results, Spread
from benchmarks.scenarios import SCENARIOS
from benchmarks.tally import Losses


def results(*deliveries: float, losses: Losses | None = None) -> Results:
    found = Results({"python": "3"}, {"repeats": 3, "quick": False, "loops": ["asyncio"]})
    cell = found.cell("fanout", "memory", "asyncio")
    for delivery in deliveries:
        figures = {"delivery": delivery, "raw": 1.0, "ratio": delivery}
        cell.runs.append(Result(figures, losses or Losses()))
    return found


def test_every_bar_is_of_a_figure_that_is_measured() -> None:
    for bar in BARS:
        assert bar.figure in {figure.name for figure in SCENARIOS[bar.scenario].figures}


@pytest.mark.parametrize(("value", "reached"), [(2.5, True), (2.51, False)])
def test_an_upper_bar(value: float, reached: bool) -> None:
    verdict = judge("fanout", "delivery", "memory", {"memory": value})
    assert verdict is not None
    assert verdict.reached is reached


def test_a_bar_that_the_best_peer_sets() -> None:
    values = {"redis": 90.0, "channels-redis-core": 10.0, "channels-redis-pubsub": 100.0}
    verdict = judge("burst", "rate", "redis", values)
    assert verdict is not None
    assert (verdict.limit, verdict.reached) == (100, False)
    assert judge("burst", "rate", "redis", {"redis": 90.0}) is None


def test_what_may_never_happen_is_judged_by_the_worst_run() -> None:
    found = results(1.0)
    for lost in (0, 7, 0):
        found.cell("faults", "redis", "asyncio").runs.append(Result({"lost": lost, "twice": 0}))
    text = markdown(found, None)
    assert "| 0 (0 to 7) | 0 |" in text
    assert "MISSED ≤ 0; reached ≤ 0" in text


def test_peers_have_no_bars() -> None:
    assert judge("fanout", "delivery", "channels-memory", {"channels-memory": 1}) is None


def test_the_report_says_median_spread_bar_and_losses() -> None:
    text = markdown(results(2.0, 1.0, 4.0, losses=Losses(lost=7)), "chart.png")
    assert "2.00 µs (1.00 to 4.00)" in text
    assert "reached ≤ 2.50 µs" in text
    assert "21 lost" in text
    assert "![All layers side by side](chart.png)" in text


def test_what_was_not_measured_is_shown_with_its_reason() -> None:
    found = results(1.0)
    found.cell("fanout", "channels-nats", "asyncio").absent = "not installed: channels_nats"
    found.cell("fanout", "channels-redis-core", "asyncio").errors.append("it broke | here")
    told = StringIO()
    print_tables(found, Console(file=told, width=200))
    for text in (told.getvalue(), markdown(found, None)):
        assert "not installed: channels_nats" in text
    assert "failed: it broke / here" in markdown(found, None)


def test_saved_results_come_back(tmp_path: Path) -> None:
    found = results(1.0, 2.0)
    found.save(tmp_path / "a.json")
    assert Results.load(tmp_path / "a.json") == found


def test_something_else_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match="not a result"):
        Results.load(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("old", "new", "lower_is_better", "said"),
    [
        (Spread(2, 1, 3), Spread(3, 2, 4), True, ""),
        (Spread(2, 1, 3), Spread(6, 5, 7), True, "worse"),
        (Spread(2, 1, 3), Spread(6, 5, 7), False, "better"),
        (Spread(6, 5, 7), Spread(2, 1, 3), True, "better"),
    ],
)
def test_a_change_counts_only_beyond_the_spread(
    old: Spread, new: Spread, lower_is_better: bool, said: str
) -> None:
    assert change(old, new, lower_is_better=lower_is_better) == said


def test_a_comparison_shows_percent() -> None:
    told = StringIO()
    print_comparison(results(2.0), results(1.0), Console(file=told, width=200))
    assert "-50%" in told.getvalue()
    assert "better" in told.getvalue()


def test_a_comparison_of_too_few_runs_judges_nothing() -> None:
    told = StringIO()
    new = results(1.0)
    new.options["repeats"] = 1
    print_comparison(results(2.0), new, Console(file=told, width=200))
    assert "better" not in told.getvalue()
    assert "Fewer than 3 runs" in told.getvalue()


def test_nothing_lost_at_all_can_be_drawn(tmp_path: Path) -> None:
    chart = pytest.importorskip("benchmarks.chart")
    pytest.importorskip("matplotlib", reason="matplotlib comes with `make bench` only")
    found = results(1.0)
    for row, lost in (("redis", 0), ("channels-redis-core", 0)):
        found.cell("faults", row, "asyncio").runs.append(Result({"lost": lost}))
    chart.draw(found, tmp_path / "a.png")
    found.cell("faults", "channels-nats", "asyncio").runs.append(Result({"lost": 900}))
    chart.draw(found, tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size != (tmp_path / "b.png").stat().st_size


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "ms", "0.012 ms"),
        (2.5, "µs", "2.50 µs"),
        (123.4, "/s", "123/s"),
        (12_345, "/s", "12k/s"),
        (1_234_567, "", "1.23M"),
        (0.0, "", "0"),
        (7, "", "7"),
        (1_234, "", "1,234"),
        (12_345, "", "12k"),
    ],
)
def test_values_have_three_digits(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text
