"""What a scenario is, what tells one run from another, and what a run hands back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.layers import Row
from benchmarks.tally import Losses

if TYPE_CHECKING:
    from benchmarks.bench import Bench

__all__ = ["Case", "Figure", "Layer", "Receiving", "Result", "Scenario"]


class Receiving(Protocol):
    """What messages can be read from."""

    async def receive(self, channel: str) -> dict[str, Any]: ...


class Layer(Receiving, Protocol):
    """The part of channels' layer specification that the scenarios use."""

    async def send(self, channel: str, message: dict[str, Any]) -> None: ...

    async def new_channel(self) -> str: ...

    async def group_add(self, group: str, channel: str) -> None: ...

    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Case:
    """One run: JSON-able, because it crosses into a fresh process.

    Attributes:
        scenario: its name.
        row: name of the layer's row.
        address: of the server the row needs; "" if none.
        loop: "asyncio" or "uvloop".
        quick: fewer messages, for a smoke run.
    """

    scenario: str
    row: str
    address: str
    loop: str
    quick: bool


@dataclass(frozen=True)
class Figure:
    """One number that a scenario measures.

    Attributes:
        name: its key in :attr:`Result.figures`.
        title: for tables.
        unit: for tables and axes.
        lower_is_better: which way is faster or smaller.
        every_run: whether a bar must be reached in the worst of several runs, not just in the
            median: for what may never happen.
    """

    name: str
    title: str
    unit: str
    lower_is_better: bool
    every_run: bool = False


@dataclass
class Result:
    """What one run of one scenario on one layer found.

    Attributes:
        figures: name of a :class:`Figure` -> value.
        losses: what did not arrive once and in order.
        notes: what the reader must know, such as a part that failed.
    """

    figures: dict[str, float] = field(default_factory=dict)
    losses: Losses = field(default_factory=Losses)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Result:
        """The result that ``dataclasses.asdict`` turned into JSON."""
        return cls(found["figures"], Losses(**found["losses"]), found["notes"])


def _applicable(_row: Row) -> str | None:
    return None


@dataclass(frozen=True)
class Scenario:
    """A thing to measure.

    Attributes:
        name: on the command line and in the JSON.
        title: one line for the reports.
        figures: what it measures; the first one is charted.
        run: does it, in a fresh process.
        not_applicable: why a row cannot be measured by it; None if it can.
        member: for scenarios of several processes, what each of the others does.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    run: Callable[[Bench], Coroutine[Any, Any, Result]]
    not_applicable: Callable[[Row], str | None] = _applicable
    member: Callable[[Bench], Coroutine[Any, Any, Result]] | None = None
