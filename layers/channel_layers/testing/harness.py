"""The layer under test: how its instances are made and closed, and what it is able to do."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from importlib import import_module
from typing import Final, TypeVar, cast

from channel_layers.testing.faults import Cuts, Faults, Pauses, Restarts
from channel_layers.testing.process import RemoteLayer, WorkerPool
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.scene import Scene

__all__ = ["LayerUnderTest", "imported"]

T = TypeVar("T")

PROBE_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 5.0
LIMIT: Final = 12
"""In so many times the patience an example has to end."""
CLOSING_VERBS: Final = ("close", "aclose", "close_pools")
"""The names by which the layers that exist close themselves."""


def imported(dotted: str) -> Callable[..., object]:
    """The class at a dotted path.

    Raises:
        ImportError: there is none.
    """
    module, _, name = dotted.rpartition(".")
    try:
        found: Callable[..., object] = getattr(import_module(module), name)
    except (AttributeError, ValueError) as error:
        raise ImportError(f"There is no class {dotted!r}.") from error
    return found


class LayerUnderTest:
    """One row of a table of layers: a class, a CONFIG, and what the kit may do with it.

    Args:
        dotted: path of the layer's class.
        config: its CONFIG; JSON-able, as worker processes get it too.
        name: how reports call it; the dotted path by default.
        distributed: whether two instances reach each other; found out by trying if None.
        expiry: the shortest ``expiry`` and ``group_expiry`` in seconds that it takes. Some
            layers take whole seconds only.
        patience: seconds after which a message that should come counts as lost.
        examples: how many examples a law of average effort tries.
        shrink_seconds: how long a counterexample is made smaller.
        faults: what can be done to its broker; nothing if None.
    """

    faults: Faults | None = None
    inject: Callable[[AnyLayer, str, bytes], Awaitable[None]] | None = None
    """``await inject(layer, channel, data)``: put bytes that no layer wrote where the channel's
    messages come from. Given by those who can write to the broker."""

    def __init__(
        self,
        dotted: str,
        config: Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        distributed: bool | None = None,
        expiry: float = 1,
        patience: float = 5.0,
        examples: int = 20,
        shrink_seconds: float = 8.0,
        faults: Faults | None = None,
    ) -> None:
        self.dotted = dotted
        self.config = dict(config or {})
        self.name = name or dotted
        self.expiry = expiry
        self.patience = patience
        self.examples = examples
        self.shrink_seconds = shrink_seconds
        self._distributed = distributed
        self._refusals: dict[str, str | None] = {}
        self._workers: WorkerPool | None = None
        if faults is not None:
            self.faults = faults

    def __repr__(self) -> str:
        return f"<layer under test: {self.name}>"

    # Instances

    def make(self, **overrides: object) -> AnyLayer:
        """One more instance."""
        return cast(AnyLayer, imported(self.dotted)(**{**self.config, **overrides}))

    async def close(self, layer: AnyLayer) -> None:
        """Close an instance, by whichever verb it has."""
        for verb in CLOSING_VERBS:
            close: Callable[[], Awaitable[None]] | None = getattr(layer, verb, None)
            if close is not None:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await close()
                return

    async def worker(self, config: Mapping[str, object]) -> RemoteLayer:
        """An instance in a process of its own, which is taken from a pool."""
        if self._workers is None:
            self._workers = WorkerPool(self.dotted)
        return await self._workers.open({**self.config, **config})

    def close_workers(self) -> None:
        """End the worker processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    # Running

    def run(
        self,
        body: Callable[[Scene], Coroutine[object, object, T]],
        config: Mapping[str, object] | None = None,
    ) -> T:
        """Run one example on a fresh event loop, with layers that no other example can meet."""
        self.learn()

        limit = LIMIT * self.patience

        async def main() -> T:
            async with self.scene(config or {}) as scene:
                try:
                    async with asyncio.timeout(limit):
                        return await body(scene)
                except TimeoutError as error:
                    raise AssertionError(f"It hangs, or needs more than {limit:g} s.") from error

        return _on_fresh_loop(main())

    @asynccontextmanager
    async def scene(self, config: Mapping[str, object]) -> AsyncIterator[Scene]:
        """What one example works with; its layers are closed at the end."""
        config = dict(config)
        if self.refuses("prefix", "probe") is None:
            config.setdefault("prefix", f"t{secrets.token_hex(6)}")
        async with AsyncExitStack() as stack:
            scene = Scene(self, config, stack)
            if "prefix" not in config and self.distributed and "flush" in self.extensions:
                await scene.layer().flush()
            yield scene

    # What it can do

    def learn(self) -> None:
        """Find out, on a loop of its own, what examples need to know of the layer."""
        self.refuses("prefix", "probe")
        for known in (self.distributed, self.extensions, self.verbs, self.closes):
            assert known is not None

    def refuses(self, option: str, value: object) -> str | None:
        """Why an instance cannot be made with this option, or None if it can."""

        async def attempt() -> str | None:
            try:
                layer = self.make(**{option: value})
            except TypeError as error:
                return f"no option {option!r} ({_first_line(error)})"
            await self.close(layer)
            return None

        key = f"{option}={value!r}"
        if key not in self._refusals:
            self._refusals[key] = _on_fresh_loop(attempt())
        return self._refusals[key]

    def lacks(self, need: str) -> str | None:
        """Why a law that needs something does not apply to this layer, or None if it does."""
        if need in _FAULTS:
            kind, text = _FAULTS[need]
            return None if isinstance(self.faults, kind) else text
        if need == "distributed":
            return None if self.distributed else "instances do not reach each other"
        if need == "one process":
            return "instances reach each other" if self.distributed else None
        if need == "inject":
            return None if self.inject else "the kit cannot write to its broker"
        if need in _EXTENSIONS:
            return None if need in self.extensions else f"no extension {need!r}"
        if need not in self.verbs:
            return f"no {need}()" if need != "sync" else "no blocking verbs (layer.sync)"
        return None

    @cached_property
    def distributed(self) -> bool:
        """Whether a message sent through one instance reaches the channel of another."""
        if self._distributed is None:
            self.refuses("prefix", "probe")  # which the probe cannot find out on its own loop
            self._distributed = _on_fresh_loop(self._probe_distributed())
        return self._distributed

    @cached_property
    def extensions(self) -> frozenset[str]:
        """The extensions that the layer names."""

        async def read() -> frozenset[str]:
            layer = self.make()
            found = frozenset(layer.extensions)
            await self.close(layer)
            return found

        return _on_fresh_loop(read())

    @cached_property
    def verbs(self) -> frozenset[str]:
        """Those of the optional attributes that it has."""

        async def read() -> frozenset[str]:
            layer = self.make()
            found = frozenset(verb for verb in _OPTIONAL if hasattr(layer, verb))
            await self.close(layer)
            return found

        return _on_fresh_loop(read())

    @cached_property
    def closes(self) -> bool:
        """Whether there is a verb to close it."""

        async def read() -> bool:
            layer = self.make()
            found = any(hasattr(layer, verb) for verb in CLOSING_VERBS)
            await self.close(layer)
            return found

        return _on_fresh_loop(read())

    async def _probe_distributed(self) -> bool:
        config: dict[str, object] = {}
        if self.refuses("prefix", "probe") is None:
            config["prefix"] = f"t{secrets.token_hex(6)}"
        one, other = self.make(**config), self.make(**config)
        try:
            channel = await other.new_channel()
            await one.send(channel, {"type": "probe"})
            async with asyncio.timeout(PROBE_SECONDS):
                return (await other.receive(channel)) == {"type": "probe"}
        except TimeoutError:
            return False
        finally:
            await self.close(one)
            await self.close(other)

    def config_json(self, overrides: Mapping[str, object]) -> str:
        """The CONFIG for another process."""
        return json.dumps({**self.config, **overrides})


_EXTENSIONS: Final = frozenset({"groups", "flush", "history"})
_OPTIONAL: Final = frozenset(
    {"close", "close_channel", "group_channels", "ping", "send_many", "stats", "sync"}
)
_FAULTS: Final[Mapping[str, tuple[type, str]]] = {
    "cut": (Cuts, "the kit cannot cut its connections (LayerUnderTest.faults)"),
    "restart": (Restarts, "the kit cannot restart its broker (LayerUnderTest.faults)"),
    "pause": (Pauses, "the kit cannot pause its broker (LayerUnderTest.faults)"),
}


def _on_fresh_loop(main: Coroutine[object, object, T]) -> T:
    with asyncio.Runner() as runner:
        return runner.run(main)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
