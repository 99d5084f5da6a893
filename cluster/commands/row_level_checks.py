"""What keeps a policy of row level security from being enabled, and what it keeps from being set.

``rowlevelsecuritypolicy.md``, limitations. Managed identities are not supported, so no update
policy reads a table under such a policy.

A name that a policy reads and that a table and a function have closes its table, for it could be
either one. So nobody gives such a name: whoever may query may create functions, and tables too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import (
    CreateTable,
    RenameTables,
    RestoreTable,
    SetFunction,
    apply,
    find_table,
)
from cluster.catalog.naming import quote_name
from cluster.catalog.policies import (
    UpdatePolicy,
    restricted_view_access_of,
    row_level_security_of,
    update_of,
)
from cluster.errors import (
    InvalidRequestError,
    NotSupportedError,
    SemanticError,
    SyntaxRefusedError,
)
from cluster.ingest.update_policy import reads
from cluster.limits import LIMITS
from cluster.query.binding import BoundTable, QuerySnapshot
from cluster.query.lexical import is_command, names_mentioned
from cluster.query.row_level import unclear_names, whole_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database, Function, Table
    from cluster.commands.context import Context
    from cluster.limits import Limits

_FORCED: Final = "set query_force_row_level_security; "
_NAMING: Final = (CreateTable, RenameTables, RestoreTable, SetFunction)
"""Changes that may give a name another meaning."""


def check_row_level(database: Database, table: Table, policy: str) -> None:
    """Whether a policy may be set on the table, and be enabled.

    Raises InvalidRequestError for a command, and where its view is restricted; NotSupportedError
    where an update policy reads it.
    """
    given = json.loads(policy)
    if is_command(given["Query"]):
        raise _invalid(table.name, "it is a command")
    if not given["IsEnabled"]:
        return
    if restricted_view_access_of(table):
        raise _with_restricted_view(table)
    _check_read(database, table.name)


def check_row_level_name(database: Database, table: Table, name: str) -> None:
    """Whether a table may have that name. Raises NotSupportedError: an update policy reads it."""
    if _is_secured(table):
        _check_read(database, name)


def check_restricted(table: Table, policy: str) -> None:
    """Whether the view of the table may be restricted. Raises InvalidRequestError."""
    if json.loads(policy)["IsEnabled"] and _is_secured(table):
        raise _with_restricted_view(table)


def check_update_reads(database: Database, policy: str) -> None:
    """Whether an update policy reads tables that it may. Raises NotSupportedError."""
    entries = [
        UpdatePolicy(item["Source"], item["Query"], is_source_wildcard=item["SourceIsWildCard"])
        for item in json.loads(policy)
    ]
    for table in database.tables.values():
        if _is_secured(table) and any(
            _reads(entry, table.name, database.functions) for entry in entries
        ):
            raise _with_update_policy(table.name, "")


def check_row_level_meaning(database: Database, changes: Sequence[Change], limits: Limits) -> None:
    """Whether names keep their meaning in the policies that are enabled.

    Raises NotSupportedError if one would be of a table and of a function, and what applying
    ``changes`` raises.
    """
    if not any(isinstance(change, _NAMING) for change in changes):
        return
    # Most databases have no such policy; then the changes are applied once, where they are made.
    is_secured = any(map(_is_secured, database.tables.values()))
    if is_secured or any(isinstance(change, RestoreTable) for change in changes):
        after = apply(database, changes, limits)
        _check_clear(database, after.tables.values(), after.functions, after.tables.keys())


def check_row_level_new(database: Database, name: str) -> None:
    """The same for a table that is not there yet, without changes."""
    tables = database.tables
    _check_clear(database, tables.values(), database.functions, tables.keys() | {name})


async def check_row_level_query(
    context: Context, database: Database, changes: Sequence[Change]
) -> None:
    """Has the queries of the policies that ``changes`` set tried by their caller, over no rows.

    Raises InvalidRequestError unless a query gives the columns of its table, NotSupportedError
    where it is not supported.
    """
    after = apply(database, changes, LIMITS) if changes else database
    tables = {name: BoundTable(table, database=after) for name, table in after.tables.items()}
    # Without functions: the names here are those of tables. The policies have theirs.
    snapshot = QuerySnapshot(after.name, tables)
    for name, found in after.tables.items():
        if found is database.tables.get(name) or row_level_security_of(found) is None:
            continue
        text = f"{_FORCED}{quote_name(name)} | take 0"
        caller = context.request.caller
        try:
            result = await context.node.services.queries.run(text, snapshot, caller=caller)
        except (SemanticError, SyntaxRefusedError) as error:
            raise _invalid(name, error.message.rstrip(".")) from error
        except NotSupportedError as error:
            raise NotSupportedError(
                f"The query of the row level security policy of table '{name}' is not supported: "
                f"{error.message}",
                remedy=error.remedy,
            ) from error
        given = [(column.name, column.type) for column in result.columns]
        if given != [(c.name, c.type) for c in find_table(after, name).columns]:
            said = ", ".join(f"{column}:{kind.value}" for column, kind in given)
            raise _invalid(name, f"it gives ({said}), not the columns of the table in their order")


def _check_clear(
    before: Database,
    tables: Iterable[Table],
    functions: Mapping[str, Function],
    names: Collection[str],
) -> None:
    known = before.tables
    unclear = _unclear(tables, functions, names)
    if new := unclear.keys() - _unclear(known.values(), before.functions, known.keys()).keys():
        key = min(new)
        table, name = unclear[key], key[1]
        raise NotSupportedError(
            f"The row level security policy of table '{table}' reads '{name}', which would be a "
            "table and a stored function: not supported by Remora.",
            remedy=f"Choose another name, or have the policy of '{table}' changed before.",
            metadata={"table": table, "name": name},
        )


def _unclear(
    tables: Iterable[Table], functions: Mapping[str, Function], names: Collection[str]
) -> dict[tuple[str, str], str]:
    """Names of tables with enabled policies, by their ids and a name that is unclear there."""
    found = {}
    for table in tables:
        policy = row_level_security_of(table)
        if policy is not None and policy.is_enabled:
            for name in unclear_names(table.name, policy.query, functions, names):
                found[table.table_id, name] = table.name
    return found


def _check_read(database: Database, name: str) -> None:
    for target in database.tables.values():
        if any(_reads(entry, name, database.functions) for entry in update_of(target)):
            raise _with_update_policy(name, target.name)


def _is_secured(table: Table) -> bool:
    policy = row_level_security_of(table)
    return policy is not None and policy.is_enabled


def _reads(entry: UpdatePolicy, table: str, functions: Mapping[str, Function]) -> bool:
    text = whole_text(entry.query, functions)
    return reads(entry, table) or bool(names_mentioned(text, {table}))


def _invalid(table: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The query of the row level security policy of table '{table}' is not valid: {why}.",
        remedy=f"Test it with 'set query_force_row_level_security;' before: {table} | take 10.",
        metadata={"table": table},
    )


def _with_restricted_view(table: Table) -> InvalidRequestError:
    return InvalidRequestError(
        f"Table '{table.name}' cannot be under a row level security policy and have a restricted "
        "view.",
        remedy="Disable one of the two policies.",
        metadata={"table": table.name},
    )


def _with_update_policy(table: str, target: str) -> NotSupportedError:
    whose = f"of table '{target}' " if target else ""
    return NotSupportedError(
        f"The update policy {whose}reads table '{table}', which then cannot be under a row level "
        "security policy: managed identities are not supported by Remora.",
        remedy="Disable one of the two policies.",
        metadata={"table": table},
    )
