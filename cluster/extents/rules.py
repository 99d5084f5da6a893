"""The policies in force, as the planners take them: microseconds, bytes, rows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import (
    auto_delete_of,
    caching_of,
    extent_tags_retention_of,
    ingestiontime_of,
    merge_of,
    retention_of,
    rowstore_of,
    sharding_of,
)
from cluster.extents.merging import MergeRule
from cluster.extents.sealing import SealRule

if TYPE_CHECKING:
    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, DroppedTable, Table
    from cluster.catalog.policies import MergePolicy, ShardingPolicy
    from cluster.limits import Limits


class Rules:
    """Reads policies of the trees it is given; those of the cluster from the catalog."""

    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self._catalog = catalog
        self._limits = limits

    def sealing(self) -> SealRule:
        """The row-store policy of the cluster, and how full a row store may get."""
        policy = rowstore_of(self._cluster())
        store_bytes = self._limits.row_store_bytes
        return SealRule(
            threshold_bytes=policy.seal_bytes,
            interval_us=policy.seal_interval_us,
            pressure_bytes=int(store_bytes * self._limits.seal_pressure_ratio),
            relief_bytes=int(store_bytes * self._limits.seal_relief_ratio),
            log_bytes=store_bytes,
            log_ratio=policy.write_ahead_ratio,
        )

    def merging(self, database: Database, table: Table, now_us: int) -> MergeRule | None:
        """The merge policy; None: it allows no merge.

        Every merge here is a rebuild in Kusto's words; either permission is enough.
        """
        policy = merge_of(database, table)
        if not (policy.allow_merge or policy.allow_rebuild) or policy.extents < 2:
            return None
        return MergeRule(
            rows_max=policy.row_count,
            original_bytes_max=policy.original_bytes,
            file_bytes_max=self.sharding(database, table).extent_bytes,
            extents_max=policy.extents,
            range_us=policy.range_us,
            oldest_us=self._oldest_us(database, table, policy, now_us),
        )

    def _oldest_us(self, database: Database, table: Table, policy: MergePolicy, now_us: int) -> int:
        lookback_us = policy.lookback_us
        if policy.is_lookback_hot:
            lookback_us = caching_of(database, table, self._cluster()).data_hot_us
        return 0 if lookback_us is None else now_us - lookback_us

    def sharding(self, database: Database, table: Table) -> ShardingPolicy:
        """Where a seal begins another extent, and how large a merge may make one."""
        return sharding_of(database, table, self._cluster())

    def records_times(self, table: Table) -> bool:
        """Whether rows keep their ingestion times."""
        return ingestiontime_of(table)

    def soft_delete_us(self, database: Database, table: Table) -> int:
        """How long after its creation an extent goes."""
        return retention_of(database, table).soft_delete_us

    def is_recoverable(self, database: Database, dropped: DroppedTable) -> bool:
        """Whether its drop can be undone for 14 days."""
        return retention_of(database, dropped.table).is_recoverable

    def tag_periods_us(self, database: Database, table: Table) -> tuple[tuple[str, int], ...]:
        """Prefixes of tags that go, and after how long."""
        return extent_tags_retention_of(database, table)

    def auto_delete(self, table: Table) -> tuple[int, bool] | None:
        """When the table goes, and whether even if it is not empty; None: never."""
        policy = auto_delete_of(table)
        return None if policy is None else (policy.expiry_us, policy.delete_if_not_empty)

    def _cluster(self) -> Database:
        return self._catalog.get(DEFAULT_DATABASE)
