"""Runs cases, each in a fresh process and against a fresh server, repeats interleaved."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case, Result, Scenario
from benchmarks.layers import Row
from benchmarks.results import Results
from channel_layers.testing.servers import SERVERS, ServerError

__all__ = ["Plan", "run_case", "run_plan"]

CASE_SECONDS = 180
ROOT = Path(__file__).parents[1]


class CaseError(RuntimeError):
    """A case ended without a result; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    scenarios: Sequence[Scenario]
    rows: Sequence[Row]
    loops: Sequence[str]
    repeats: int
    quick: bool

    def __iter__(self) -> Iterator[tuple[Scenario, Row, str]]:
        """Every layer once, then every layer again: a slow minute hits all of them alike."""
        for scenario in self.scenarios:
            for loop in self.loops:
                for _ in range(self.repeats):
                    for row in self.rows:
                        yield scenario, row, loop

    def __len__(self) -> int:
        return len(self.scenarios) * len(self.loops) * self.repeats * len(self.rows)


def run_plan(plan: Plan, results: Results, step: Callable[[str], None]) -> None:
    """Run everything and put it into ``results``.

    Args:
        plan: what.
        results: filled as it goes on.
        step: told before each case what comes, for a progress bar.
    """
    for scenario, row, loop in plan:
        step(f"{scenario.name} / {row.name} / {loop}")
        cell = results.cell(scenario.name, row.name, loop)
        cell.absent = row.missing() or _not_applicable(scenario, row)
        if cell.absent or len(cell.errors) > 1:  # a third try would fail as well
            continue
        try:
            cell.runs.append(run_case(scenario, row, loop, quick=plan.quick))
        except (CaseError, ServerError) as error:
            cell.errors.append(str(error))


def run_case(scenario: Scenario, row: Row, loop: str, *, quick: bool) -> Result:
    """One run.

    Raises:
        CaseError: it failed, or took too long.
        ServerError: the server that the layer needs did not start.
    """
    with ExitStack() as stack:
        address = ""
        if row.server is not None:
            address = stack.enter_context(SERVERS[row.server]()).address
        case = Case(scenario.name, row.name, address, loop, quick)
        words = [sys.executable, "-m", "benchmarks.worker", json.dumps(dataclasses.asdict(case))]
        try:
            ended = subprocess.run(
                words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=CASE_SECONDS
            )
        except subprocess.TimeoutExpired as late:
            raise CaseError(f"no result within {CASE_SECONDS} s") from late
    return _result(ended)


def _result(ended: subprocess.CompletedProcess[str]) -> Result:
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    last = answers[-1] if answers else {}
    if "result" in last:
        return Result.from_json(last["result"])
    said = ended.stderr.strip().splitlines() or [f"it ended with status {ended.returncode}"]
    raise CaseError(last.get("error", said[-1]))


def _not_applicable(scenario: Scenario, row: Row) -> str:
    why = scenario.not_applicable(row)
    return f"not applicable: {why}" if why else ""
