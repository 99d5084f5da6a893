"""Short runs of every target, the same examples each time. ``scripts/fuzz`` runs longer ones."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fuzz_calls import AGGREGATES, NATIVE, SCALARS, WINDOWS
from fuzz_kql import SETUP, kql_target
from fuzz_rest import socket_target
from fuzzing import Target, run_round

from fuzz_main import TARGETS

if TYPE_CHECKING:
    from cluster.testing.kusto import Kusto

EXAMPLES = {"parser": 60, "commands": 40, "formats": 20, "files": 12, "rest": 80}


def run_short(target: Target, examples: int) -> None:
    """A round of the same examples each time, which do not all end alike."""
    before = target.outcomes.total()
    run_round(target, 0, start=20261121, examples=examples)
    assert target.outcomes.total() - before >= examples // 2
    assert len(target.outcomes) > 1, f"every example ended alike: {target.outcomes}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_gets_more_than_a_typed_refusal(name: str) -> None:
    module, attribute = TARGETS[name]
    run_short(getattr(import_module(module), attribute), EXAMPLES[name])


def test_functions_in_python_give_a_value_or_say_why_not() -> None:
    run_short(NATIVE, 300)


def test_every_function_there_is_can_be_called() -> None:
    known = {"scalars": SCALARS, "aggregates": AGGREGATES, "windows": WINDOWS}
    page = (Path(__file__).parents[2] / "cluster/query/KQL.md").read_text()
    listed = re.findall(
        r"`(\w+)`", page.partition("## Scalar functions")[2].partition("## Refused")[0]
    )
    made = {name for names in known.values() for name in names}
    assert len(listed) > 300
    assert set(listed) - made == {"sort", "serialize"}


@pytest.mark.process
def test_bytes_to_a_node_are_answered_or_refused_and_it_goes_on(kusto_cluster: Kusto) -> None:
    run_short(socket_target(kusto_cluster.url), 30)


@pytest.mark.process
def test_queries_to_a_node_get_rows_or_a_typed_error(kusto_cluster: Kusto) -> None:
    for command in SETUP:
        kusto_cluster.command(command)
    run_short(kql_target(kusto_cluster.url, kusto_cluster.database), 60)
