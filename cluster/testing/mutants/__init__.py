"""Defects to plant, a module for each part of the system; see ``cluster/conformance/mutation.py``.

They patch private names of the code under test from outside: production code knows nothing of
them, and a name that moves makes its mutant fail loudly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cluster.testing.mutants.model import Mutant

_MODULES: Final = (
    "ingest",
    "follow",
    "reads",
    "storage",
    "gate",
    "attachments",
    "control",
)


def _collected() -> tuple[Mutant, ...]:
    found: list[Mutant] = []
    for name in _MODULES:
        path = f"{__name__}.{name}"
        if find_spec(path) is not None:
            found += import_module(path).MUTANTS
    return tuple(found)


MUTANTS: Final[tuple[Mutant, ...]] = _collected()
"""All of them, in the order of their modules."""
