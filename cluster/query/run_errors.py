"""Refusals that only the rows can give cause for: as SQL that raises them, and as errors. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cluster.errors import LimitExceededError, NotSupportedError, RemoraError, SemanticError

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK: Final = "E_REMORA"
_CHANGED: Final = (
    "The rows before {} were not the same when they were read again: its columns depend on them."
)


def message(code: str, detail: str) -> str:
    """The text of an error that stands for the refusal ``code``."""
    return f"{_MARK} {code} {detail}"


def raising(code: str, detail: str) -> str:
    """SQL that raises the refusal ``code``; to be put where it is computed for its rows only."""
    quoted = message(code, detail).replace("'", "''")
    return f"error('{quoted}')"


def raised(text: str) -> RemoraError | None:
    """The refusal that the text of a DuckDB error stands for, None if it is none."""
    found = _RAISED.search(text)
    return None if found is None else _REFUSALS[found[1]](found[2])


def _slot_type(detail: str) -> RemoraError:
    slot, _, kind = detail.rpartition(" ")
    return SemanticError(
        f"Semantic error: evaluate bag_unpack(): a value of the slot '{slot}' does not have the "
        f"type {kind} of the output schema.",
        remedy="Declare the column as dynamic, and convert it with extend.",
    )


def _slot_conflict(detail: str) -> RemoraError:
    return SemanticError(
        f"Semantic error: evaluate bag_unpack(): a column named '{detail}' exists already.",
        remedy="Give a prefix, or columnsConflict='replace_source' or 'keep_source'.",
    )


def _changed(detail: str) -> RemoraError:
    return NotSupportedError(
        _CHANGED.format(f"{detail}()"),
        remedy="Put sort before take, leave out what is random, or give an output schema.",
    )


def _pairs(detail: str) -> RemoraError:
    return NotSupportedError(
        f"'parse-kv' operator: a text has {detail}: not supported by Remora.",
        remedy="Leave such rows out with where, or use with (regex=...).",
    )


def _partitions(detail: str) -> RemoraError:
    return LimitExceededError(
        f"'partition' operator: the column has more than {detail} values.",
        remedy="Use hint.strategy=native, which has no limit, or fewer values.",
        metadata={"limit": "query_partitions", "limit_value": detail},
    )


_REFUSALS: Final[dict[str, Callable[[str], RemoraError]]] = {
    "slot_type": _slot_type,
    "slot_conflict": _slot_conflict,
    "changed": _changed,
    "pairs": _pairs,
    "partitions": _partitions,
}
_RAISED: Final = re.compile(rf"{_MARK} ({'|'.join(_REFUSALS)}) (.*)\Z", re.DOTALL)
"""A value that a refusal quotes may have the mark too, but what is behind it is no code then."""
