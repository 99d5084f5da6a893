"""What policies are in force, typed: one reader a kind. Pure.

A table's own policy wins over its database's, that over the cluster's where there is one, and
defaults fill what is unset. How policies are given, stored and shown:
:mod:`cluster.catalog.policy_text`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog import policy_fields as f
from cluster.catalog.policy_kinds import HOT_WINDOWS, POLICY_KINDS
from cluster.catalog.policy_text import cluster_kind
from cluster.errors import ZeroRetentionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.catalog.model import Database, Table

_MIB: Final = 1024 * 1024
DEFAULT_LOOKBACK_US: Final = 14 * f.DAY_US


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long rows stay after they were ingested, and whether a drop can be undone."""

    soft_delete_us: int
    is_recoverable: bool


@dataclass(frozen=True, slots=True)
class CachingPolicy:
    """What is hot: extents not older than ``data_hot_us`` (None: all), or within a window.

    Windows are ``(from, to)`` in microseconds since 1970, the end not included.
    """

    data_hot_us: int | None
    hot_windows: tuple[tuple[int, int], ...] = ()

    def is_hot(self, created_us: int, now_us: int) -> bool:
        """Whether an extent of that ``created_max_us`` is hot now."""
        if self.data_hot_us is None or created_us >= now_us - self.data_hot_us:
            return True
        return any(first <= created_us < end for first, end in self.hot_windows)


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """Bounds of one merge. ``lookback_us``: extents older than that stay; None: none is too old.

    ``is_lookback_hot``: instead, extents that are not hot stay.
    """

    row_count: int
    original_bytes: int
    extents: int
    range_us: int
    allow_rebuild: bool
    allow_merge: bool
    lookback_us: int | None
    is_lookback_hot: bool


@dataclass(frozen=True, slots=True)
class ShardingPolicy:
    """Bounds of one new extent: rows, bytes of its file, bytes as ingested."""

    row_count: int
    extent_bytes: int
    original_bytes: int


@dataclass(frozen=True, slots=True)
class IngestionBatchingPolicy:
    """When a batch of queued ingestion is closed, whatever comes first."""

    time_us: int
    items: int
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class UpdatePolicy:
    """One entry of a table's update policy: rows of ``source`` go through ``query`` into it."""

    source: str
    query: str
    is_enabled: bool = True
    is_source_wildcard: bool = False
    is_transactional: bool = False
    propagate_ingestion_properties: bool = False
    managed_identity: str | None = None


@dataclass(frozen=True, slots=True)
class AutoDeletePolicy:
    """When a table is dropped, and whether also if it has rows."""

    expiry_us: int
    delete_if_not_empty: bool


@dataclass(frozen=True, slots=True)
class RowLevelSecurityPolicy:
    """The query that stands in the place of a table, while it is enabled."""

    is_enabled: bool
    query: str


@dataclass(frozen=True, slots=True)
class RowStorePolicy:
    """When the unsealed rows of a table are sealed: bytes, or age of the oldest."""

    seal_bytes: int
    seal_interval_us: int
    write_ahead_ratio: float


def check_retention(database: Database, table: str, text: str) -> None:
    """Refuses a period of zero where rows would be lost (``retention-policy.md``).

    It is for the source table of a transactional update policy, with no recoverability.
    ``table`` empty: the policy is the database's. Raises ZeroRetentionError.
    """
    policy = _retention(text)
    if policy.soft_delete_us:
        return
    if table and not policy.is_recoverable and _has_transactional_target(database, table):
        return
    raise ZeroRetentionError(
        "A SoftDeletePeriod of zero needs a table that is the source of a transactional update "
        "policy, and Recoverability 'Disabled'.",
        metadata={"database": database.name, "table": table},
    )


# What is in force


def retention_of(database: Database, table: Table) -> RetentionPolicy:
    """Retention of a table's rows."""
    return _retention(database.effective_policy(table, "retention"))


def caching_of(database: Database, table: Table, cluster: Database | None = None) -> CachingPolicy:
    """Caching of a table. ``cluster``: the tree of ``NetDefaultDB``, if it is to count."""
    text = database.effective_policy(table, "caching")
    if text is None and cluster is not None:
        text = cluster.policies.get(cluster_kind("caching"))
    if text is None:
        return CachingPolicy(None)
    value = _value("caching", text)
    windows = tuple(
        (f.datetime_us(item["MinValue"]), f.datetime_us(item["MaxValue"]))
        for item in value.get(HOT_WINDOWS) or ()
    )
    return CachingPolicy(f.timespan_us(value["DataHotSpan"]["Value"]), windows)


def merge_of(database: Database, table: Table) -> MergePolicy:
    """Merging of a table's extents."""
    value = _value("merge", database.effective_policy(table, "merge"))
    lookback = value["Lookback"]
    period = {
        "Default": DEFAULT_LOOKBACK_US,
        "Custom": lookback["CustomPeriod"] and f.timespan_us(lookback["CustomPeriod"]),
    }
    return MergePolicy(
        row_count=value["RowCountUpperBoundForMerge"],
        original_bytes=value["OriginalSizeMBUpperBoundForMerge"] * _MIB,
        extents=value["MaxExtentsToMerge"],
        range_us=value["MaxRangeInHours"] * f.HOUR_US,
        allow_rebuild=value["AllowRebuild"],
        allow_merge=value["AllowMerge"],
        lookback_us=period.get(lookback["Kind"]),
        is_lookback_hot=lookback["Kind"] == "HotCache",
    )


def sharding_of(
    database: Database, table: Table, cluster: Database | None = None
) -> ShardingPolicy:
    """Size of a table's new extents. ``cluster``: as in :func:`caching_of`."""
    text = database.effective_policy(table, "sharding")
    if text is None and cluster is not None:
        text = cluster.policies.get(cluster_kind("sharding"))
    value = _value("sharding", text)
    return ShardingPolicy(
        value["ShardEngineMaxRowCount"],
        value["ShardEngineMaxExtentSizeInMb"] * _MIB,
        value["ShardEngineMaxOriginalSizeInMb"] * _MIB,
    )


def ingestionbatching_of(
    database: Database, table: Table, cluster: Database | None = None
) -> IngestionBatchingPolicy:
    """Batching of queued ingestion. ``cluster``: as in :func:`caching_of`."""
    text = database.effective_policy(table, "ingestionbatching")
    if text is None and cluster is not None:
        text = cluster.policies.get(cluster_kind("ingestionbatching"))
    value = _value("ingestionbatching", text)
    return IngestionBatchingPolicy(
        f.timespan_us(value["MaximumBatchingTimeSpan"]),
        value["MaximumNumberOfItems"],
        value["MaximumRawDataSizeMB"] * _MIB,
    )


def update_of(table: Table) -> tuple[UpdatePolicy, ...]:
    """The entries of a table's update policy, disabled ones included, in order."""
    return tuple(
        UpdatePolicy(
            source=item["Source"],
            query=item["Query"],
            is_enabled=item["IsEnabled"],
            is_source_wildcard=item["SourceIsWildCard"],
            is_transactional=item["IsTransactional"],
            propagate_ingestion_properties=item["PropagateIngestionProperties"],
            managed_identity=item["ManagedIdentity"],
        )
        for item in _items("update", table.policies.get("update"))
    )


def ingestiontime_of(table: Table) -> bool:
    """Whether rows of the table get an ingestion time; True if never set."""
    text = table.policies.get("ingestiontime")
    return text is None or bool(_value("ingestiontime", text)["IsEnabled"])


def restricted_view_access_of(table: Table) -> bool:
    """Whether the table is for unrestricted viewers only; False if never set."""
    text = table.policies.get("restricted_view_access")
    return text is not None and bool(_value("restricted_view_access", text)["IsEnabled"])


def row_level_security_of(table: Table) -> RowLevelSecurityPolicy | None:
    """The row level security policy of a table, enabled or not; None if never set."""
    text = table.policies.get("row_level_security")
    if text is None:
        return None
    value = _value("row_level_security", text)
    return RowLevelSecurityPolicy(bool(value["IsEnabled"]), value["Query"])


def roworder_of(table: Table) -> tuple[tuple[str, bool], ...]:
    """Columns to sort an extent by, each with whether ascending; empty if never set."""
    return tuple(
        (item["ColumnName"], item["SortOrder"] == "asc")
        for item in _items("roworder", table.policies.get("roworder"))
    )


def auto_delete_of(table: Table) -> AutoDeletePolicy | None:
    """When the table goes; None if never."""
    text = table.policies.get("auto_delete")
    if text is None:
        return None
    value = _value("auto_delete", text)
    return AutoDeletePolicy(f.datetime_us(value["ExpiryDate"]), value["DeleteIfNotEmpty"])


def extent_tags_retention_of(database: Database, table: Table) -> tuple[tuple[str, int], ...]:
    """Tag prefixes, each with the microseconds such tags stay."""
    text = database.effective_policy(table, "extent_tags_retention")
    return tuple(
        (item["TagPrefix"], f.timespan_us(item["RetentionPeriod"]))
        for item in _items("extent_tags_retention", text)
    )


def rowstore_of(cluster: Database) -> RowStorePolicy:
    """The row store policy of the cluster; ``cluster`` is the tree of ``NetDefaultDB``."""
    value = _value("rowstore", cluster.policies.get(cluster_kind("rowstore")))
    return RowStorePolicy(
        value["TableSealThresholdBytes"],
        f.timespan_us(value["SealIntervalLimit"]),
        value["WriteAheadDistanceToSizeRatioThreshold"],
    )


# Inside


def _retention(text: str | None) -> RetentionPolicy:
    value = _value("retention", text)
    return RetentionPolicy(
        f.timespan_us(value["SoftDeletePeriod"]), value["Recoverability"] == "Enabled"
    )


def _has_transactional_target(database: Database, source: str) -> bool:
    return any(
        item.is_enabled and item.is_transactional and item.source == source
        for table in database.tables.values()
        for item in update_of(table)
    )


def _value(name: str, text: str | None) -> dict[str, Any]:
    """The properties in force of an object or flag: those stored, defaults for the others.

    A leader of a newer version may store properties that are not known here; they are left out.
    """
    kind = POLICY_KINDS[name]
    stored = {} if text is None else f.parse_json(text)
    return f.filled(kind.properties, stored)


def _items(name: str, text: str | None) -> Iterator[dict[str, Any]]:
    for item in () if text is None else f.parse_json(text):
        yield f.filled(POLICY_KINDS[name].properties, item)
