"""The laws, one module per promise: classes of tests that take the fixture ``layer_under_test``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

__all__ = ["all_laws"]


def all_laws() -> dict[str, type]:
    """Every class of laws by name, for the namespace of a test module of your own."""
    found: dict[str, type] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for name, value in vars(module).items():
            if isinstance(value, type) and name.startswith("Test"):
                if name in found:
                    raise RuntimeError(f"Two classes of laws are called {name}.")
                found[name] = value
    return found
