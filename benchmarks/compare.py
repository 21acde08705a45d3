"""Two saved results beside each other."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.cases import Figure
from benchmarks.report import shown
from benchmarks.results import Cell, Results, Spread
from benchmarks.scenarios import SCENARIOS

__all__ = ["change", "print_comparison"]

ENOUGH = 3


def change(old: Spread, new: Spread, *, lower_is_better: bool) -> str:
    """What happened to a figure.

    Returns:
        "better" or "worse" only if the spreads do not overlap, else "".
    """
    if old.low <= new.high and new.low <= old.high:
        return ""
    return "better" if (new.middle < old.middle) == lower_is_better else "worse"


def print_comparison(old: Results, new: Results, console: Console) -> None:
    """A line for each figure that both have measured."""
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("scenario", "layer", "figure", "old", "new", "change", ""):
        table.add_column(head, justify="right" if head in ("old", "new", "change") else "left")
    few = min(old.options["repeats"], new.options["repeats"]) < ENOUGH
    for cell in new.cells:
        for figure in SCENARIOS[cell.scenario].figures if cell.scenario in SCENARIOS else ():
            before = old.cell(cell.scenario, cell.row, cell.loop).spread(figure.name)
            after = cell.spread(figure.name)
            if before is not None and after is not None:
                verdict = change(before, after, lower_is_better=figure.lower_is_better)
                table.add_row(*_line(cell, figure, before, after), "" if few else verdict)
    console.print(table)
    if few:
        console.print(f"Fewer than {ENOUGH} runs: no change can be told from noise.")
    for name, value in new.environment.items():
        if old.environment.get(name) != value and name not in ("date", "load before", "load after"):
            console.print(f"{name}: {old.environment.get(name, 'unknown')} -> {value}")


def _line(cell: Cell, figure: Figure, before: Spread, after: Spread) -> list[str]:
    percent = f"{after.middle / before.middle - 1:+.0%}" if before.middle else "-"
    return [
        f"{cell.scenario} ({cell.loop})",
        cell.row,
        figure.title,
        shown(before.middle, figure.unit),
        shown(after.middle, figure.unit),
        percent,
    ]
