"""Questions to other processes, and their answers."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

__all__ = ["Question", "Questions"]


class Question:
    """One question, until those who were asked have answered."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(9)
        self.answers: list[list[str]] = []
        self._missing: Counter[str] = Counter()
        self._early: Counter[str] = Counter()
        self._asked = False
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, process: str, answer: list[str]) -> None:
        """A process has answered."""
        self.answers.append(answer)
        if self._asked:
            self._missing.subtract([process])
            self._check()
        else:
            self._early[process] += 1

    async def wait(self, processes: Iterable[str], seconds: float) -> None:
        """Wait for the answers of these processes (each as often as it is named), or in vain."""
        self._missing = Counter(processes)
        self._missing.subtract(self._early)
        self._asked = True
        self._check()
        await asyncio.wait([self._complete], timeout=seconds)

    def _check(self) -> None:
        if not self._complete.done() and all(count <= 0 for count in self._missing.values()):
            self._complete.set_result(None)


class Questions:
    """All that are open."""

    def __init__(self) -> None:
        self._open: dict[str, Question] = {}

    @asynccontextmanager
    async def ask(self) -> AsyncIterator[Question]:
        """A question, which is open as long as the context."""
        question = Question()
        self._open[question.token] = question
        try:
            yield question
        finally:
            del self._open[question.token]

    def answered(self, token: str, process: str, answer: list[str]) -> None:
        """An answer has come; perhaps too late."""
        if token in self._open:
            self._open[token].answered(process, answer)
