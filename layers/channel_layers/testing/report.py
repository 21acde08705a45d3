"""The report card: promise by promise held, broken with a counterexample, or not applicable."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, TypedDict

import pytest
from hypothesis.errors import Flaky

__all__ = ["PROMISES", "Verdict", "verdict_of", "write_cards", "write_json"]

PROMISES: Final[dict[str, str]] = {
    "1": "Names",
    "2": "Types",
    "3": "Size",
    "4": "At most once",
    "5": "Order",
    "6": "Groups",
    "7": "Capacity",
    "8": "Expiry",
    "9": "Cancelling",
    "10": "Any caller",
    "11": "Faults",
    "12": "Or it says so",
    "13": "No leaks",
    "14": "Bad input",
    "history": "History",
    "membership": "Membership",
    "agreement": "Agreement",
    "all": "Together",
}
"""Of the marker's argument -> what the promise is about; the order of the card."""

EXAMPLE_LINES: Final = 14
LINE_LENGTH: Final = 160

Outcome = Literal["held", "broken", "not applicable"]


class Verdict(TypedDict):
    """How one law went on one layer."""

    layer: str
    promise: str
    law: str
    says: str
    outcome: Outcome
    detail: str


def verdict_of(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, marker: pytest.Mark
) -> Verdict:
    """What a test's outcome says about the layer."""
    outcome: Outcome = "held"
    detail = ""
    if report.skipped:
        outcome = "not applicable"
        detail = str(call.excinfo.value) if call.excinfo else ""
        detail = detail.removeprefix("not applicable: ")
    elif call.excinfo is not None:
        outcome = "broken"
        detail = counterexample(call.excinfo.value)
    function = getattr(item, "function", None)
    says = " ".join((getattr(function, "__doc__", None) or "").split())
    layer = getattr(item, "funcargs", {}).get("layer_under_test")
    return Verdict(
        layer=getattr(layer, "name", "?"),
        promise=str(marker.args[0]),
        law=getattr(function, "__name__", item.name),
        says=says,
        outcome=outcome,
        detail=detail,
    )


def counterexample(error: BaseException) -> str:
    """What went wrong and the values that Hypothesis found for it, in a few lines."""
    sometimes = isinstance(error, Flaky)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    lines = [
        line
        for line in f"{type(error).__name__}: {error}".splitlines()
        if not re.match(r" +\+ ", line)  # how pytest came to the value of an expression
    ]
    # With a message of its own pytest's account of the expression says nothing more.
    lines = (lines[:1] + [line for line in lines[1:] if not line.startswith("assert ")])[:5]
    if sometimes:
        lines.append("(it fails sometimes, not each time)")
    for note in getattr(error, "__notes__", ()):
        # Hypothesis: the first word depends on its version and on where the example came from.
        if re.match(r"(Failing|Falsifying)", note):
            example = re.sub(r"^ *#.*\n| *# or any other.*", "", note, flags=re.MULTILINE)
            lines += example.partition("Explanation:")[0].strip().splitlines()
    lines = [
        line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 3]}..." for line in lines
    ]
    if len(lines) > EXAMPLE_LINES:
        lines = [*lines[: EXAMPLE_LINES - 1], f"... {len(lines) - EXAMPLE_LINES + 1} more lines"]
    return "\n".join(lines)


def write_cards(terminal: pytest.TerminalReporter, verdicts: Iterable[Verdict]) -> None:
    """Write one card per layer to the terminal."""
    by_layer: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_layer.setdefault(verdict["layer"], []).append(verdict)
    for layer, mine in by_layer.items():
        terminal.section(f"promises of {layer}", sep="=")
        for promise, title in PROMISES.items():
            laws = [verdict for verdict in mine if verdict["promise"] == promise]
            if laws:
                _write_promise(terminal, promise, title, laws)


def _write_promise(
    terminal: pytest.TerminalReporter, promise: str, title: str, laws: list[Verdict]
) -> None:
    broken = [law for law in laws if law["outcome"] == "broken"]
    held = [law for law in laws if law["outcome"] == "held"]
    absent = [law for law in laws if law["outcome"] == "not applicable"]
    head = f"{promise if promise.isdigit() else '':>3} {title:14} "
    if broken:
        terminal.write(head)
        terminal.write("broken", red=True, bold=True)
        terminal.line(f"   {len(broken)} of {len(broken) + len(held)} laws")
    elif held:
        terminal.write(head)
        terminal.write("held", green=True)
        more = f", {len(absent)} not applicable" if absent else ""
        terminal.line(f"     {len(held)} laws{more}")
    else:
        reasons = dict.fromkeys(law["detail"] for law in absent)
        terminal.write(head)
        terminal.write("not applicable", yellow=True)
        terminal.line(f": {'; '.join(reasons)}")
    for law in broken:
        terminal.line(f"      * {law['says'] or law['law']}")
        terminal.line(f"        ({law['law']})")
        for line in law["detail"].splitlines():
            terminal.line(f"          {line}")
    if (broken or held) and terminal.verbosity > 0:
        for law in absent:
            terminal.line(f"      - not applicable: {law['says'] or law['law']} ({law['detail']})")


def write_json(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Write the card for programs: layer -> promise -> outcome and laws."""
    cards: dict[str, dict[str, dict[str, object]]] = {}
    for verdict in verdicts:
        card = cards.setdefault(verdict["layer"], {})
        entry = card.setdefault(
            verdict["promise"],
            {"title": PROMISES.get(verdict["promise"], ""), "outcome": "", "laws": []},
        )
        laws = entry["laws"]
        assert isinstance(laws, list)
        laws.append({key: verdict[key] for key in ("law", "says", "outcome", "detail")})
        outcomes = {law["outcome"] for law in laws}
        entry["outcome"] = next(
            name for name in ("broken", "held", "not applicable") if name in outcomes
        )
    path.write_text(json.dumps(cards, indent=2) + "\n", encoding="utf-8")
