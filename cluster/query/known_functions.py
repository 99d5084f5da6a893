"""Which functions there are, and how the others are refused. Pure."""

from __future__ import annotations

from typing import Final

from duckdb_kql.translate import _SPECIAL_FORMS
from duckdb_kql.translate.functions import AGGREGATE_FUNCTIONS, SCALAR_FUNCTIONS

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import calls, hidden, native_calls, rewritten_calls, vocabulary, windows

OF_COLUMNS: Final = frozenset(["pack_all", "bag_pack_columns", "column_ifexists", "columnifexists"])
"""Functions of columns they do not name, or by whose names they go."""

OF_HIDDEN: Final = frozenset([*hidden.FUNCTIONS, *hidden.CURSOR_TESTS, *hidden.CURRENT_CURSOR])
"""Functions of hidden columns."""

_OURS: Final = frozenset(
    [
        "current_database", *windows.NAMES, *OF_COLUMNS, *OF_HIDDEN, *calls.NAMES,
        *native_calls.NAMES, *rewritten_calls.NAMES,
    ]
)  # fmt: skip


def is_built_in(name: str) -> bool:
    """Whether Kusto has a function of that name, supported here or not."""
    return (
        name in AGGREGATE_FUNCTIONS
        or name in vocabulary.NEXT_STEP
        or name in vocabulary.KUSTO_FUNCTIONS
        or _is_supported(name)
    )


def require_known(name: str) -> None:
    """Raises NotSupportedError for a scalar function only Kusto has, SemanticError for none."""
    if _is_supported(name) and name not in vocabulary.NEXT_STEP:
        return
    if name in vocabulary.NEXT_STEP or name in vocabulary.KUSTO_FUNCTIONS:
        raise NotSupportedError(
            f"Function '{name}()' is not supported by Remora.",
            remedy=vocabulary.FUNCTION_ALTERNATIVES.get(name, ""),
        )
    raise SemanticError(
        f"Semantic error: SEM0260: Unknown function: '{name}'.", metadata={"name": name}
    )


def _is_supported(name: str) -> bool:
    return (
        (name in SCALAR_FUNCTIONS and not name.startswith("$"))
        or name in _SPECIAL_FORMS
        or name in _OURS
    )
