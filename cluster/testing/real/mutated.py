"""A process with a defect planted in it: ``python -m cluster.testing.real.mutated MUTANT MODULE``.

Runs the process that ``MODULE`` is the main module of, as if its code had been written so. It is
how a broken build is made for the checkers to find; servers know nothing of it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

from cluster.conformance.mutation import load_mutants, select_mutants

MUTANTS: Final = "cluster.testing.mutants"


def main() -> int:
    """Plants the mutant for the life of the process; returns the process's exit code."""
    name, module = sys.argv[1:3]
    del sys.argv[1:3]
    (mutant,) = select_mutants(load_mutants(MUTANTS), [name])
    with mutant.apply():
        code: int = importlib.import_module(module).main()
        return code


if __name__ == "__main__":
    raise SystemExit(main())
