"""Every kind of policy: its names, where it may be set, what it holds, and what honours it. Pure.

This table is the single place that knows; commands, their texts and the list in the README come
from it. Properties, ranges and defaults: the ``*-policy.md`` pages of each; where a page gives no
range, the one here is a declared choice.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog import policy_fields as f

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAXIMUM: Final = 2**63 - 1
_MIB: Final = 1024 * 1024

HOT_WINDOWS: Final = "HotWindows"
"""The one property that is not shown where it is empty."""


class Scope(enum.Enum):
    """What a policy can be set on; the value is the word of the command and the EntityType."""

    CLUSTER = "Cluster"
    DATABASE = "Database"
    TABLE = "Table"
    COLUMN = "Column"


class Form(enum.Enum):
    """The shape of a policy's JSON.

    ``OBJECT``: properties, each with a default or mandatory; ``LIST``: an array of such objects,
    which ``.alter-merge`` appends to; ``FLAG``: an object of ``IsEnabled`` alone, set by the words
    ``true`` and ``false``; ``RAW``: an object that is kept as given.
    """

    OBJECT = "object"
    LIST = "list"
    FLAG = "flag"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class PolicyKind:
    """One kind.

    ``name`` is the word in commands, ``policy_name`` what ``.show`` prints as ``PolicyName``.
    ``when_unset`` says in words what is in force where no policy is set. ``honoured_by`` says what
    acts on it; empty: it is stored and shown, and nothing more. ``can_merge``: there is an
    ``.alter-merge``.
    """

    name: str
    policy_name: str
    scopes: tuple[Scope, ...]
    form: Form
    properties: Mapping[str, f.Property]
    when_unset: str
    honoured_by: str = ""
    can_merge: bool = True


def _properties(*items: tuple[str, f.Reader, object]) -> Mapping[str, f.Property]:
    return {name: f.Property(name, read, default) for name, read, default in items}


def _lookback(value: object) -> dict[str, Any]:
    lookback: dict[str, Any] = f.read_object(_LOOKBACK)(value)
    if (lookback["Kind"] == "Custom") is not (lookback["CustomPeriod"] is not None):
        raise ValueError("has a CustomPeriod if, and only if, its Kind is Custom")
    return lookback


def _span(value: object) -> dict[str, Any]:
    """``{"Value": "30.00:00:00"}``; the timespan alone is taken too."""
    if isinstance(value, str):
        value = {"Value": value}
    span: dict[str, Any] = f.read_object(_SPAN)(value)
    return span


def _window(value: object) -> dict[str, Any]:
    window: dict[str, Any] = f.read_object(_WINDOW)(value)
    if f.datetime_us(window["MinValue"]) >= f.datetime_us(window["MaxValue"]):
        raise ValueError("has a window that does not end after it starts")
    return window


def _query(value: object) -> str:
    text = f.read_text(value)
    if not text.strip():
        raise ValueError("must be a query")
    return text


def _prefix(value: object) -> str:
    text = f.read_text(value)
    if text.count(":") != 1 or not text.endswith(":"):
        raise ValueError("must end with a colon, and have no other")
    return text


_LOOKBACK: Final = _properties(
    ("Kind", f.one_of("Default", "HotCache", "All", "Custom"), "Default"),
    ("CustomPeriod", f.or_null(f.timespan(1)), None),
)
_SPAN: Final = _properties(("Value", f.timespan(), f.REQUIRED))
_WINDOW: Final = _properties(
    ("MinValue", f.read_datetime, f.REQUIRED), ("MaxValue", f.read_datetime, f.REQUIRED)
)
_COUNT: Final = f.whole(0, _MAXIMUM)
_ENABLED: Final = _properties(("IsEnabled", f.read_boolean, f.REQUIRED))

_WHOLE: Final = (Scope.DATABASE, Scope.TABLE)
_EVERYWHERE: Final = (Scope.CLUSTER, Scope.DATABASE, Scope.TABLE)

POLICY_KINDS: Final[Mapping[str, PolicyKind]] = {
    kind.name: kind
    for kind in (
        PolicyKind(
            "auto_delete",
            "AutoDeletePolicy",
            (Scope.TABLE,),
            Form.OBJECT,
            _properties(
                ("ExpiryDate", f.read_datetime, f.REQUIRED),
                ("DeleteIfNotEmpty", f.read_boolean, False),
            ),
            "the table stays",
            "the table is dropped at its time",
            can_merge=False,
        ),
        PolicyKind(
            "caching",
            "CachingPolicy",
            (*_EVERYWHERE, Scope.COLUMN),
            Form.OBJECT,
            _properties(
                ("DataHotSpan", _span, f.REQUIRED),
                ("IndexHotSpan", _span, f.REQUIRED),
                (HOT_WINDOWS, f.read_list(_window), None),
            ),
            "everything is hot",
            "the hot cache; of a column: stored only",
            can_merge=False,
        ),
        PolicyKind(
            "encoding",
            "EncodingPolicy",
            (Scope.TABLE, Scope.COLUMN),
            Form.RAW,
            {},
            "the encoding is chosen by the engine",
            can_merge=False,
        ),
        PolicyKind(
            "extent_tags_retention",
            "ExtentTagsRetentionPolicy",
            _WHOLE,
            Form.LIST,
            _properties(
                ("TagPrefix", _prefix, f.REQUIRED), ("RetentionPeriod", f.timespan(), f.REQUIRED)
            ),
            "tags stay",
            "tags are removed when their time is over",
            can_merge=False,
        ),
        PolicyKind(
            "ingestionbatching",
            "IngestionBatchingPolicy",
            _EVERYWHERE,
            Form.OBJECT,
            _properties(
                (
                    "MaximumBatchingTimeSpan",
                    f.timespan(10 * f.SECOND_US, 1800 * f.SECOND_US),
                    "00:05:00",
                ),
                ("MaximumNumberOfItems", f.whole(1, 25_000), 500),
                ("MaximumRawDataSizeMB", f.whole(100, 4096), 1024),
            ),
            "5 minutes, 500 items or 1 GB",
            "when queued ingestion ingests a batch",
        ),
        PolicyKind(
            "ingestiontime",
            "IngestionTimePolicy",
            (Scope.TABLE,),
            Form.FLAG,
            _ENABLED,
            "rows have an ingestion time",
            "ingestion_time() and cursors; null where it is off",
            can_merge=False,
        ),
        PolicyKind(
            "merge",
            "ExtentsMergePolicy",
            _WHOLE,
            Form.OBJECT,
            _properties(
                ("RowCountUpperBoundForMerge", _COUNT, 16_000_000),
                ("OriginalSizeMBUpperBoundForMerge", _COUNT, 30_000),
                ("MaxExtentsToMerge", f.whole(2, 2**31 - 1), 100),
                ("MaxRangeInHours", f.whole(1, 2**31 - 1), 24),
                ("AllowRebuild", f.read_boolean, True),
                ("AllowMerge", f.read_boolean, True),
                ("Lookback", _lookback, {"Kind": "Default", "CustomPeriod": None}),
            ),
            "the defaults of its properties",
            "merging of extents",
        ),
        PolicyKind(
            "partitioning",
            "PartitioningPolicy",
            (Scope.TABLE,),
            Form.RAW,
            {},
            "extents are not partitioned",
        ),
        PolicyKind(
            "restricted_view_access",
            "RestrictedViewAccessPolicy",
            (Scope.TABLE,),
            Form.FLAG,
            _ENABLED,
            "access is not restricted",
            "only unrestricted viewers read the table",
            can_merge=False,
        ),
        PolicyKind(
            "retention",
            "RetentionPolicy",
            _WHOLE,
            Form.OBJECT,
            _properties(
                ("SoftDeletePeriod", f.timespan(), "365000.00:00:00"),
                ("Recoverability", f.one_of("Enabled", "Disabled"), "Enabled"),
            ),
            "rows stay for 1000 years",
            "removal of extents",
        ),
        PolicyKind(
            "roworder",
            "RowOrderPolicy",
            (Scope.TABLE,),
            Form.LIST,
            _properties(
                ("ColumnName", f.read_text, f.REQUIRED),
                ("SortOrder", f.one_of("asc", "desc"), f.REQUIRED),
            ),
            "rows are in the order of ingestion",
            can_merge=True,
        ),
        PolicyKind(
            "row_level_security",
            "RowLevelSecurityPolicy",
            (Scope.TABLE,),
            Form.OBJECT,
            _properties(("IsEnabled", f.read_boolean, f.REQUIRED), ("Query", _query, f.REQUIRED)),
            "every row is read",
            "queries read what its query gives, not the table",
            can_merge=False,
        ),
        PolicyKind(
            "rowstore",
            "RowStorePolicy",
            (Scope.CLUSTER,),
            Form.OBJECT,
            _properties(
                ("TableSealThresholdBytes", f.whole(10 * _MIB, 200 * _MIB), 200 * _MIB),
                ("SealIntervalLimit", f.timespan(f.HOUR_US, 24 * f.HOUR_US), "1.00:00:00"),
                ("WriteAheadDistanceToSizeRatioThreshold", f.ratio(1.0, 1e6), 2.0),
            ),
            "200 MB or 24 hours",
            "when rows are sealed",
        ),
        PolicyKind(
            "sharding",
            "ShardingPolicy",
            _EVERYWHERE,
            Form.OBJECT,
            _properties(
                ("MaxRowCount", f.whole(1, _MAXIMUM), 750_000),
                ("MaxExtentSizeInMb", f.whole(1, _MAXIMUM), 1024),
                ("MaxOriginalSizeInMb", f.whole(1, _MAXIMUM), 2048),
                ("UseShardEngine", f.read_boolean, True),
                ("ShardEngineMaxRowCount", f.whole(1, _MAXIMUM), 1_048_576),
                ("ShardEngineMaxExtentSizeInMb", f.whole(1, _MAXIMUM), 8192),
                ("ShardEngineMaxOriginalSizeInMb", f.whole(1, _MAXIMUM), 3072),
            ),
            "the defaults of its properties",
            "the size of new extents; what does not start with ShardEngine: stored only",
        ),
        PolicyKind(
            "update",
            "UpdatePolicy",
            (Scope.TABLE,),
            Form.LIST,
            _properties(
                ("IsEnabled", f.read_boolean, True),
                ("Source", f.read_text, f.REQUIRED),
                ("SourceIsWildCard", f.read_boolean, False),
                ("Query", f.read_text, f.REQUIRED),
                ("IsTransactional", f.read_boolean, False),
                ("PropagateIngestionProperties", f.read_boolean, False),
                ("ManagedIdentity", f.or_null(f.read_text), None),
            ),
            "nothing is derived",
            "ingestion into its source",
        ),
    )
}
"""Kinds kept as JSON. The streaming ingestion policy is not among them: it has a type of its own
(:class:`cluster.catalog.model.StreamingIngestionPolicy`)."""
