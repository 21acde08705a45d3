"""The runs of one invocation: summed up, and kept as JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.cases import Figure, Result
from benchmarks.tally import Losses

__all__ = ["Cell", "Results", "Spread"]

FORMAT = 1

_ADDRESS = re.compile(r"0x[0-9a-f]+")
"""Differs from run to run in what Python says of objects, so equal notes would look different."""


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of several runs of one figure."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """Median, least and most."""
        return cls(median(values), min(values), max(values))


@dataclass
class Cell:
    """All runs of one scenario on one layer under one event loop.

    Attributes:
        runs: those that came to an end.
        errors: why the others did not.
        absent: why there was no run at all: not installed, not applicable.
    """

    scenario: str
    row: str
    loop: str
    runs: list[Result] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    absent: str = ""

    def spread(self, figure: str) -> Spread | None:
        """Of the runs that measured this figure; None if none did."""
        values = [run.figures[figure] for run in self.runs if figure in run.figures]
        return Spread.of(values) if values else None

    @property
    def losses(self) -> Losses:
        """Of all runs together."""
        return sum((run.losses for run in self.runs), Losses())

    @property
    def remarks(self) -> list[str]:
        """Everything a reader must know besides the figures."""
        losses = dataclasses.asdict(self.losses)
        wrong = [f"{count:,} {name}" for name, count in losses.items() if count]
        notes = [note for run in self.runs for note in run.notes]
        texts = [self.absent, ", ".join(wrong), *notes, *(f"failed: {e}" for e in self.errors)]
        return list(dict.fromkeys(_ADDRESS.sub("0x...", text) for text in texts if text))


@dataclass
class Results:
    """What one invocation found."""

    environment: dict[str, str]
    options: dict[str, Any]
    cells: list[Cell] = field(default_factory=list)

    def cell(self, scenario: str, row: str, loop: str) -> Cell:
        """The cell of this scenario, layer and loop; made if need be."""
        for cell in self.cells:
            if (cell.scenario, cell.row, cell.loop) == (scenario, row, loop):
                return cell
        cell = Cell(scenario, row, loop)
        self.cells.append(cell)
        return cell

    def of(self, scenario: str, loop: str) -> list[Cell]:
        """The cells of a scenario, in the order of the layers."""
        return [cell for cell in self.cells if (cell.scenario, cell.loop) == (scenario, loop)]

    def middles(self, scenario: str, loop: str, figure: str) -> dict[str, float]:
        """The median of a figure by layer."""
        spreads = {cell.row: cell.spread(figure) for cell in self.of(scenario, loop)}
        return {row: spread.middle for row, spread in spreads.items() if spread is not None}

    def judged(self, scenario: str, loop: str, figure: Figure) -> dict[str, float]:
        """By layer what the bars are held against: the median, or the worst of all runs."""
        if not figure.every_run:
            return self.middles(scenario, loop, figure.name)
        spreads = {cell.row: cell.spread(figure.name) for cell in self.of(scenario, loop)}
        return {
            row: spread.high if figure.lower_is_better else spread.low
            for row, spread in spreads.items()
            if spread is not None
        }

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": FORMAT} | dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: it is something else.
            OSError: it cannot be read.
        """
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"{path} is not a result of this version of the benchmarks.")
        cells = [
            Cell(**cell | {"runs": [Result.from_json(run) for run in cell["runs"]]})
            for cell in found["cells"]
        ]
        return cls(found["environment"], found["options"], cells)
