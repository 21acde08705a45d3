"""The other processes of a scenario that needs several."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from asyncio.subprocess import PIPE, Process
from types import TracebackType
from typing import Any, Self

from benchmarks.cases import Case

__all__ = ["MemberError", "Members"]

ANSWER_SECONDS = 60
END_SECONDS = 10


class MemberError(RuntimeError):
    """Another process of the scenario failed."""


class Members:
    """Starts ``count`` processes that run the scenario's ``member``; a context manager."""

    def __init__(self, case: Case, count: int) -> None:
        self._case = json.dumps(dataclasses.asdict(case))
        self._count = count
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        for _ in range(self._count):
            words = (sys.executable, "-m", "benchmarks.worker", self._case, "member")
            process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE)
            self._processes.append(process)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.dismiss()
        await asyncio.gather(*map(self._end, self._processes))

    def tell(self, order: dict[str, Any]) -> None:
        """Give all of them the same order."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.write(json.dumps(order).encode() + b"\n")

    def dismiss(self) -> None:
        """No more orders: they answer with their results and end."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()

    async def answers(self, key: str) -> list[Any]:
        """Wait for the next answer of each, which has this key; its values.

        Raises:
            MemberError: one of them failed or said something else.
            TimeoutError: one of them said nothing for a minute.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            return list(await asyncio.gather(*(self._answer(p, key) for p in self._processes)))

    @staticmethod
    async def _answer(process: Process, key: str) -> object:
        line = await process.stdout.readline() if process.stdout is not None else b""
        answer = json.loads(line or b'{"error": "it ended without a word"}')
        if key not in answer:
            raise MemberError(f"A member process failed: {answer.get('error', answer)}")
        return answer[key]

    @staticmethod
    async def _end(process: Process) -> None:
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
