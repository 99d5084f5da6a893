"""What can be wrong with a policy of a database that its text alone does not show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cluster.catalog.changes import apply, entity_not_found, find_table
from cluster.catalog.policies import update_of
from cluster.commands.columns import place_of
from cluster.errors import InvalidRequestError
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database, Table
    from cluster.commands.context import Context


def check_row_order(table: Table, policy: str) -> None:
    """Its columns are the table's, each named once. Raises EntityNotFoundError, RequestError."""
    seen: set[str] = set()
    for item in json.loads(policy):
        place_of(table, item["ColumnName"])
        if item["ColumnName"] in seen:
            raise InvalidRequestError(
                f"Column '{item['ColumnName']}' is named twice in the row order.",
                metadata={"column": item["ColumnName"]},
            )
        seen.add(item["ColumnName"])


def check_update(database: Database, target: str, policy: str) -> None:
    """Sources of an update policy are tables of the database, and not the target itself.

    Chains that come back to a table are not refused: each table is ingested once, as Kusto does.
    """
    for entry in json.loads(policy):
        if entry["SourceIsWildCard"]:
            continue
        source = entry["Source"]
        if source not in database.tables:
            raise entity_not_found("Table", source)
        if source == target:
            raise InvalidRequestError(
                f"The update policy of table '{target}' has the table itself as its source.",
                metadata={"table": target},
            )


async def check_update_query(
    context: Context, database: Database, changes: Sequence[Change]
) -> None:
    """Has the queries of the update policies that ``changes`` set looked at by the node."""
    if not changes:
        return
    after = apply(database, changes, LIMITS)
    for name, table in after.tables.items():
        if table is not database.tables.get(name):
            entries = update_of(find_table(after, name))
            await context.node.services.update_policies.check(after, table.name, entries)
