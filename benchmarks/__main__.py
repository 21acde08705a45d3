"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.compare import print_comparison
from benchmarks.environment import describe, load
from benchmarks.layers import ROWS
from benchmarks.report import markdown, print_tables
from benchmarks.results import Results
from benchmarks.runner import Plan, run_plan
from benchmarks.scenarios import SCENARIOS

__all__ = ["main"]

T = TypeVar("T")

HOME = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, list or compare; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console()
    try:
        if words[:1] == ["compare"]:
            return _compare(words[1:], console)
        options = _parser().parse_args(words)
        if options.list:
            _list(console)
            return 0
        return _run(options, console)
    except (ValueError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: stopped; nothing was written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure channel layers side by side; see benchmarks/README.md.",
        epilog="python -m benchmarks compare OLD.json NEW.json: two results beside each other.",
    )
    add = parser.add_argument
    add("--layers", metavar="A,B", help="only these layers (see --list)")
    add("--scenarios", metavar="A,B", help="only these scenarios")
    add("--repeats", type=int, metavar="N", help="runs of each (default 5; 1 with --quick)")
    add("--quick", action="store_true", help="few messages: to see that it works")
    add("--loop", choices=("asyncio", "uvloop", "both"), default="asyncio", help="event loop")
    add("--json", type=Path, metavar="FILE", help="write the results there as JSON")
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="write RESULTS.md, RESULTS.json and RESULTS.png there (default: a run of "
        "everything writes them beside the benchmarks, any other none)",
    )
    add("--list", action="store_true", help="show layers and scenarios, and what is missing")
    return parser


def _run(options: argparse.Namespace, console: Console) -> int:
    repeats = options.repeats or (1 if options.quick else 5)
    if repeats < 1:
        raise ValueError("--repeats must be 1 or more.")
    loops = ("asyncio", "uvloop") if options.loop == "both" else (options.loop,)
    plan = Plan(
        _chosen("--scenarios", options.scenarios, SCENARIOS),
        _chosen("--layers", options.layers, ROWS),
        loops,
        repeats,
        options.quick,
    )
    results = Results(
        describe(plan.rows), {"repeats": repeats, "quick": options.quick, "loops": list(loops)}
    )
    whole = not (options.quick or options.layers or options.scenarios)
    out: Path | None = options.out or (HOME if whole else None)
    # So that servers are stopped and directories removed as on Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("starting", total=len(plan))
        done = iter(range(len(plan)))

        def step(what: str) -> None:
            progress.update(task, completed=next(done), description=what)

        run_plan(plan, results, step)
        progress.update(task, completed=len(plan), description="done")
    results.environment["load after"] = load()
    print_tables(results, console)
    if options.json:
        results.save(options.json)
    if out is not None:
        _write(results, out, console)
    return 0 if any(cell.runs for cell in results.cells) else 1


def _write(results: Results, out: Path, console: Console) -> None:
    results.save(out / "RESULTS.json")
    chart: str | None = "RESULTS.png"
    try:
        from benchmarks.chart import draw

        draw(results, out / "RESULTS.png")
    except ImportError as error:
        console.print(f"No chart: {error}")
        chart = None
    (out / "RESULTS.md").write_text(markdown(results, chart), encoding="utf-8")
    console.print(f"Written: {out / 'RESULTS.md'}")


def _compare(words: list[str], console: Console) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare")
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    options = parser.parse_args(words)
    print_comparison(Results.load(options.old), Results.load(options.new), console)
    return 0


def _list(console: Console) -> None:
    console.print("[bold]layers[/bold]")
    for row in ROWS.values():
        console.print(f"  {row.name:24}{row.path:52}{row.missing() or ''}")
    console.print("[bold]scenarios[/bold]")
    for scenario in SCENARIOS.values():
        console.print(f"  {scenario.name:24}{scenario.title}")


def _chosen(option: str, names: str | None, known: Mapping[str, T]) -> list[T]:
    """What was asked for, in the order of the table.

    Raises:
        ValueError: a name that is not in it.
    """
    wanted = list(known) if names is None else [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"{option}: no {', '.join(unknown)}; there are {', '.join(known)}.")
    return [value for name, value in known.items() if name in wanted]


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
