"""The results as tables: on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.bars import Verdict, judge
from benchmarks.cases import Figure, Scenario
from benchmarks.results import Cell, Results, Spread
from benchmarks.scenarios import SCENARIOS

__all__ = ["markdown", "print_tables", "shown"]


@dataclass(frozen=True)
class _Section:
    """One table: a scenario under one event loop."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def print_tables(results: Results, console: Console) -> None:
    """All tables, for a terminal."""
    for section in _sections(results):
        table = Table(title=section.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, head in enumerate(section.heads):
            text = number in (0, len(section.heads) - 1)
            table.add_column(head, justify="left" if text else "right", no_wrap=not number)
        for row in section.rows:
            table.add_row(*row)
        console.print(table)


def markdown(results: Results, chart: str | None) -> str:
    """The whole report.

    Args:
        results: of one invocation.
        chart: file name of the picture, if there is one.
    """
    about = (
        f"Made by `python -m benchmarks`; do not edit. Medians of {results.options['repeats']} "
        "run(s), each in a fresh process, with the least and the most in brackets. "
        "What each figure means: [README.md](README.md)."
    )
    if results.options["quick"]:
        about += " This was a quick run: it shows that things work, not how fast they are."
    lines = ["# Benchmark results", "", about, ""]
    if chart:
        lines += [f"![All layers side by side]({chart})", ""]
    for section in _sections(results):
        lines += [f"## {section.title}", "", _line(section.heads)]
        lines += [_line(["---", *["--:"] * (len(section.heads) - 2), "---"])]
        lines += [_line(row) for row in section.rows] + [""]
    lines += ["## Environment", "", "| what | which |", "|---|---|"]
    lines += [_line(pair) for pair in results.environment.items()]
    return "\n".join(lines) + "\n"


def shown(value: float, unit: str = "") -> str:
    """A value with three digits that count, a whole number of things without more, its unit."""
    size = abs(value)
    if not size or (isinstance(value, int) and size < 1e4):
        text = f"{value:,.0f}"
    elif size >= 1e6:
        text = f"{value / 1e6:.3g}M"
    elif size >= 1e4:
        text = f"{value / 1e3:.0f}k"
    elif size >= 100:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}".strip()


def _sections(results: Results) -> Iterable[_Section]:
    for scenario in SCENARIOS.values():
        for loop in results.options["loops"]:
            cells = results.of(scenario.name, loop)
            if cells:
                heads = ["layer", *(f.title for f in scenario.figures), "bar", "remarks"]
                rows = [_row(results, scenario, cell) for cell in cells]
                yield _Section(f"{scenario.name}: {scenario.title} ({loop})", heads, rows)


def _row(results: Results, scenario: Scenario, cell: Cell) -> list[str]:
    figures = [_figure(cell.spread(figure.name), figure.unit) for figure in scenario.figures]
    bars = [text for figure in scenario.figures if (text := _bar(results, cell, figure))]
    return [cell.row, *figures, "; ".join(bars), "; ".join(cell.remarks)]


def _figure(spread: Spread | None, unit: str) -> str:
    if spread is None:
        return "-"
    middle, low, high = shown(spread.middle, unit), shown(spread.low), shown(spread.high)
    return middle if low == high else f"{middle} ({low} to {high})"


def _bar(results: Results, cell: Cell, figure: Figure) -> str:
    values = results.judged(cell.scenario, cell.loop, figure)
    verdict: Verdict | None = judge(cell.scenario, figure.name, cell.row, values)
    if verdict is None:
        return ""
    limit = shown(verdict.limit, figure.unit)
    sign = "≤" if verdict.at_most else "≥"
    return f"{'reached' if verdict.reached else 'MISSED'} {sign} {limit}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"
