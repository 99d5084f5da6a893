"""Short runs of every target, the same examples each time. ``scripts/fuzz`` runs longer ones."""

from __future__ import annotations

from importlib import import_module

import pytest
from fuzz_main import TARGETS
from fuzzing import run_round

EXAMPLES = {"parser": 60, "commands": 40, "formats": 80, "files": 60}


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_gets_more_than_a_typed_refusal(name: str) -> None:
    module, attribute = TARGETS[name]
    target = getattr(import_module(module), attribute)
    run_round(target, 0, start=20261121, examples=EXAMPLES[name])
    assert target.outcomes.total() >= EXAMPLES[name] // 2
    assert len(target.outcomes) > 1, f"every example ended alike: {target.outcomes}"
