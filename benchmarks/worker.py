"""One case in a fresh process: ``python -m benchmarks.worker CASE``.

It answers on standard output, a JSON object a line, the last of which has the result or the error.
Layers and drivers that print do so on standard error.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

from benchmarks.bench import Bench
from benchmarks.cases import Case, Result
from benchmarks.layers import ROWS, Row, database_settings
from benchmarks.scenarios import SCENARIOS

__all__ = ["main"]

Part = Callable[[Bench], Coroutine[Any, Any, Result]]


def main(arguments: list[str]) -> None:
    """Run one case (or, given a second argument, one member of it) and say how it ended."""
    case = Case(**json.loads(arguments[0]))
    member = len(arguments) > 1
    row, scenario = ROWS[case.row], SCENARIOS[case.scenario]
    # What anything else prints goes to standard error, so that the answers stay readable.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    set_up_django(row, case, migrate=not member)
    part = scenario.member if member and scenario.member else scenario.run
    uvloop = case.loop == "uvloop"
    factory = importlib.import_module("uvloop").new_event_loop if uvloop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run(part, Bench(case, row, answers)))
        # Closing the loop would wait for tasks and threads that several peers never end.
        sys.stderr.flush()
        os._exit(0)


async def run(part: Part, bench: Bench) -> None:
    """Run a part and say what it found or how it failed, before peers hang in closing."""
    try:
        bench.say({"result": dataclasses.asdict(await part(bench))})
    except Exception as error:  # noqa: BLE001  # handed to the runner, which shows it
        traceback.print_exc()
        bench.say({"error": f"{type(error).__name__}: {error}"})
    await bench.close()


def set_up_django(row: Row, case: Case, *, migrate: bool) -> None:
    """Django as far as the row needs it."""
    databases = {row.app: database_settings(case.address)} if row.app else {}
    settings.configure(
        INSTALLED_APPS=[row.app] if row.app else [],
        DATABASES={"default": next(iter(databases.values()), {}), **databases},
        USE_TZ=True,
        SECRET_KEY="benchmarks",
    )
    django.setup()
    if row.app and migrate:
        call_command("migrate", database=row.app, verbosity=0, interactive=False)


if __name__ == "__main__":
    main(sys.argv[1:])
