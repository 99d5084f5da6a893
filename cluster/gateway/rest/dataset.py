"""What an answer of ``/v1/rest`` or ``/v2/rest`` is made of, before it is encoded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.query.binding import QueryResult

VISUALIZATION: Final[Mapping[str, object]] = MappingProxyType(
    {
        "Visualization": None,
        "Title": None,
        "XColumn": None,
        "Series": None,
        "YColumns": None,
        "AnomalyColumns": None,
        "XTitle": None,
        "YTitle": None,
        "XAxis": None,
        "YAxis": None,
        "Legend": None,
        "YSplit": None,
        "Accumulate": False,
        "IsQuerySorted": False,
        "Kind": None,
        "Ymin": "NaN",
        "Ymax": "NaN",
    }
)
"""The properties of a result without ``render``, in the documented order."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The request that has been answered, and when. Seconds are of the node's steady clock."""

    request_id: str
    activity_id: str
    ended_ns: int
    seconds: float

    @property
    def timestamp(self) -> str:
        """When it ended, as a JSON text."""
        whole, rest = divmod(self.ended_ns, 10**9)
        return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 100:07d}Z"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why only a part of the results is there. ``error`` is the object clients know."""

    error: Mapping[str, Any]
    message: str

    def errors(self) -> list[dict[str, Any]]:
        """``OneApiErrors``: a list of one."""
        return [{"error": dict(self.error)}]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The results of one request, at least one.

    With a ``failure`` the last result is cut short where it happened.
    """

    results: Sequence[QueryResult]
    completion: Completion
    failure: Failure | None = None


def properties_of(result: QueryResult) -> list[tuple[str, str]]:
    """The extended properties of a result: names, and values as JSON texts."""
    found = [("Visualization", json_text({**VISUALIZATION, **(result.visualization or {})}))]
    if result.cursor:
        found.append(("Cursor", result.cursor))
    return found


def resource_statistics(dataset: Dataset) -> dict[str, Any]:
    """``QueryResourceConsumption``: what is known of the work done; what is not is left out."""
    scanned = [result.scanned for result in dataset.results]
    return {
        "ExecutionTime": round(dataset.completion.seconds, 7),
        "input_dataset_statistics": {
            "extents": {
                "total": sum(one.extents_total for one in scanned),
                "scanned": sum(one.extents_hot + one.extents_cold for one in scanned),
            },
            "rows": {"total": sum(one.rows_total for one in scanned)},
            "rowstores": {"scanned_rows": sum(one.streamed_rows for one in scanned)},
        },
        "dataset_statistics": [
            {"table_row_count": result.table.num_rows, "table_size": result.table.nbytes}
            for result in dataset.results
        ],
    }


def json_text(value: object) -> str:
    """JSON without spaces, names in the order given."""
    return msgspec.json.encode(value).decode()
