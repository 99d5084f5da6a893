"""What is supported of KQL, as tables made from the code that supports it; used by gen_docs.py."""

from __future__ import annotations

from pathlib import Path

from duckdb_kql.translate import _SPECIAL_FORMS
from duckdb_kql.translate.functions import AGGREGATE_FUNCTIONS, SCALAR_FUNCTIONS

from cluster.query import (
    aggregates,
    calls,
    functions,
    hidden,
    native_calls,
    rewritten_calls,
    vocabulary,
    windows,
)
from cluster.query import nodes as own
from cluster.query.known_functions import OF_COLUMNS
from cluster.query.operators import NAMES

PAGE = Path(__file__).resolve().parent.parent / "cluster" / "query" / "KQL.md"
_CHOICES = ("project-keep", "project-away", "project-reorder")
_ALSO = ("fork", "invoke", "limit", "order", "parse-where", "sample-distinct", "mv-apply")


def _listed(names: set[str]) -> str:
    return " ".join(f"`{name}`" for name in sorted(names) if not name.startswith("$"))


def _registered() -> tuple[set[str], set[str]]:
    aggregates.register()
    functions.register()
    windows.register()
    scalar = set(SCALAR_FUNCTIONS) | set(_SPECIAL_FORMS) | calls.NAMES | OF_COLUMNS
    scalar |= native_calls.NAMES | rewritten_calls.NAMES
    scalar |= {*hidden.FUNCTIONS, *hidden.CURSOR_TESTS, *hidden.CURRENT_CURSOR}
    scalar |= {"current_database", "current_cluster_endpoint", "toscalar"}
    scalar |= {"current_principal", "current_principal_details", "current_principal_is_member_of"}
    collected = set(AGGREGATE_FUNCTIONS) | {"percentiles"}
    return scalar - collected, collected


def operators() -> str:
    """Tabular operators and sources."""
    names = {name for kind, name in NAMES.items() if kind is not own.Choose} | {*_CHOICES, *_ALSO}
    return (
        _listed(names)
        + "\n\nSources: `datatable` `print` `range` `union` `search` tables "
        + ("`database('d').T` `cluster('c').database('d').T` functions, stored or of `let`")
    )


def scalars() -> str:
    """Scalar functions."""
    return (
        _listed(_registered()[0] - windows.NAMES)
        + "\n\nOver rows in order (behind `sort`, "
        + (f"`serialize`, `range`): {_listed(set(windows.NAMES))}")
    )


def collectors() -> str:
    """Aggregate functions."""
    return _listed(_registered()[1])


def refused() -> str:
    """What Kusto has and is refused by name."""
    scalar, collected = _registered()
    known = scalar | collected | windows.NAMES
    hints = {f"{n}()": h for n, h in vocabulary.FUNCTION_ALTERNATIVES.items() if n not in known}
    rows = ["| refused | what to write instead |", "|---|---|"]
    rows += [
        f"| `{name}` | {hint.replace('|', chr(92) + '|')} |"
        for name, hint in sorted((vocabulary.ALTERNATIVES | hints).items())
    ]
    missing = (vocabulary.KUSTO_FUNCTIONS | vocabulary.NEXT_STEP) - known
    return "\n".join(rows) + f"\n\nFunctions: {_listed(set(missing))}"


TABLES = {
    "operators": operators,
    "scalars": scalars,
    "aggregates": collectors,
    "refused": refused,
}
