"""What ``render`` says of the chart a result is meant for, with the keys that clients read. Pure.

The keys and their values where nothing is said are those of the ``Visualization`` row of a v2
answer (adx-behaviour.md 8.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.errors import SemanticError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEYS: Final = {
    "title": "Title", "xcolumn": "XColumn", "series": "Series", "ycolumns": "YColumns",
    "anomalycolumns": "AnomalyColumns", "xtitle": "XTitle", "ytitle": "YTitle", "xaxis": "XAxis",
    "yaxis": "YAxis", "legend": "Legend", "ysplit": "YSplit", "accumulate": "Accumulate",
    "kind": "Kind", "ymin": "Ymin", "ymax": "Ymax", "xmin": "Xmin", "xmax": "Xmax",
}  # fmt: skip

_UNSAID: Final[Mapping[str, object]] = {
    "Visualization": None, "Title": None, "XColumn": None, "Series": None, "YColumns": None,
    "AnomalyColumns": None, "XTitle": None, "YTitle": None, "XAxis": None, "YAxis": None,
    "Legend": None, "YSplit": None, "Accumulate": False, "IsQuerySorted": False, "Kind": None,
    "Ymin": "NaN", "Ymax": "NaN", "Xmin": None, "Xmax": None,
}  # fmt: skip


def visualization(
    kind: str, properties: Sequence[tuple[str, str]], *, is_sorted: bool
) -> dict[str, object]:
    """The visualization of a result. Raises SemanticError for a property Kusto does not have."""
    said: dict[str, object] = {**_UNSAID, "Visualization": kind, "IsQuerySorted": is_sorted}
    for name, value in properties:
        key = _KEYS.get(name)
        if key is None:
            raise SemanticError(f"Semantic error: 'render' operator: unknown property '{name}'.")
        said[key] = value.lower() == "true" if key == "Accumulate" else value
    return said
