"""The results as a picture: one small chart for each scenario, ours beside the peers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cases import Scenario
from benchmarks.layers import ROWS
from benchmarks.report import shown
from benchmarks.results import Results
from benchmarks.scenarios import SCENARIOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

COLUMNS = 2
OURS, PEER = "#1f6f54", "#b8bec6"
LOG_FROM = 20
"""How many times the longest bar is longer than the shortest before the axis is logarithmic."""


def draw(results: Results, path: Path) -> None:
    """Write the chart as PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    parts = [
        (SCENARIOS[name], loop)
        for name in SCENARIOS
        for loop in results.options["loops"]
        if results.middles(name, loop, SCENARIOS[name].figures[0].name)
    ]
    lines = -(-len(parts) // COLUMNS) or 1
    picture = Figure(figsize=(13, 3.1 * lines), layout="constrained")
    axes = picture.subplots(lines, COLUMNS, squeeze=False).flat
    for axis in axes[len(parts) :]:
        axis.set_visible(False)
    for axis, (scenario, loop) in zip(axes, parts, strict=False):
        _draw_one(axis, results, scenario, loop)
    picture.savefig(path, dpi=110)


def _draw_one(axis: Axes, results: Results, scenario: Scenario, loop: str) -> None:
    figure = scenario.figures[0]
    cells = [cell for cell in results.of(scenario.name, loop) if not cell.absent][::-1]
    spreads = [cell.spread(figure.name) for cell in cells]
    middles = [spread.middle if spread else 0.0 for spread in spreads]
    axis.barh(
        [cell.row for cell in cells],
        middles,
        color=[OURS if ROWS[cell.row].ours else PEER for cell in cells],
        xerr=(
            [spread.middle - spread.low if spread else 0 for spread in spreads],
            [spread.high - spread.middle if spread else 0 for spread in spreads],
        ),
        error_kw={"ecolor": "#555", "capsize": 2, "lw": 0.8},
    )
    known = [middle for middle in middles if middle > 0] or [1.0]  # nothing at all has no scale
    logarithmic = max(known) > LOG_FROM * min(known)
    if logarithmic:
        axis.set_xscale("log")
        axis.set_xlim(min(known) / 3, max(known) * 6)
    else:
        axis.set_xlim(0, max(known) * 1.35)
    for place, (cell, spread) in enumerate(zip(cells, spreads, strict=True)):
        text = shown(spread.middle, figure.unit) if spread else "no figure"
        lost = cell.losses.lost + cell.losses.doubled + cell.losses.disordered
        end = max(spread.high if spread else 0.0, axis.get_xlim()[0])
        axis.text(end, place, f"  {text}{'  (!)' * bool(lost)}", va="center", fontsize=8)
    better = "lower" if figure.lower_is_better else "higher"
    scale = ", log scale" if logarithmic else ""
    axis.set_title(f"{scenario.title} ({loop})", fontsize=10, loc="left")
    what = f"{figure.title}, {figure.unit}" if figure.unit else figure.title
    axis.set_xlabel(f"{what}: {better} is better{scale}", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
