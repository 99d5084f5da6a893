"""Executor of each command that is not refused, by its name in the table of grammars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.commands import (
    columns,
    databases,
    diagnostics,
    extent_changes,
    extent_tags,
    extents,
    followers,
    functions,
    ingestion,
    journal,
    mappings,
    operations,
    policies,
    principal_access,
    principals,
    resources,
    rowstores,
    schema,
    scripts,
    streaming_policies,
    system,
    table_views,
    tables,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.commands.context import Executor

EXECUTORS: Final[Mapping[str, Executor]] = {
    **databases.EXECUTORS,
    **schema.EXECUTORS,
    **tables.EXECUTORS,
    **table_views.EXECUTORS,
    **columns.EXECUTORS,
    **policies.EXECUTORS,
    **streaming_policies.EXECUTORS,
    **mappings.EXECUTORS,
    **functions.EXECUTORS,
    **journal.EXECUTORS,
    **system.EXECUTORS,
    **extents.EXECUTORS,
    **ingestion.EXECUTORS,
    **extent_changes.EXECUTORS,
    **extent_tags.EXECUTORS,
    **rowstores.EXECUTORS,
    **operations.EXECUTORS,
    **diagnostics.EXECUTORS,
    **principals.EXECUTORS,
    **principal_access.EXECUTORS,
    **followers.EXECUTORS,
    **resources.EXECUTORS,
    **scripts.EXECUTORS,
}
"""One module a subject; a name is in one of them only."""
