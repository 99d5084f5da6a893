"""Update policies: which table's new rows go where, and what streaming allows of it. Pure.

``update-policy.md`` and the limitations of ``ingest-data-streaming.md``. A table's policy names the
tables it reads; the rows of a request go down the tree that makes, and a chain that comes back to
a table it has passed is cut there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa

from cluster.catalog.arrow_types import ARROW_TYPES
from cluster.catalog.model import ScalarType
from cluster.catalog.policies import update_of
from cluster.errors import UpdatePolicyCycleError, UpdatePolicyRequestError, UpdatePolicySchemaError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from cluster.catalog.model import Column, Database, Table
    from cluster.catalog.policies import UpdatePolicy
    from cluster.query.binding import QueryResult, ResultColumn

SOURCE_SYMBOL: Final = "$source_table"
"""What the query of a wildcard policy calls its source."""

_QUOTED: Final = re.compile(
    r"""```.*?```|[hH]?@?"(?:[^"\\]|\\.)*"|[hH]?@?'(?:[^'\\]|\\.)*'|//[^\n]*""", re.DOTALL
)
_JOIN: Final = re.compile(r"\b(?:join|lookup)\b")
_OPERATOR: Final = re.compile(r"\s*([a-z][a-z-]*)")
_TABLE: Final = re.compile(r"\s*(?:\[\s*)?([A-Za-z_$][A-Za-z0-9_]*)?(?:\s*\])?\s*")
_ROW_BY_ROW: Final = frozenset(
    {
        "where", "filter", "extend", "project", "project-away", "project-keep", "project-rename",
        "project-reorder", "parse", "parse-where", "mv-expand",
    }
)  # fmt: skip


class Step(NamedTuple):
    """New rows of ``source`` go through ``query`` into ``target``."""

    source: Table
    target: Table
    policy: UpdatePolicy
    query: str


def steps_from(database: Database, source: Table) -> tuple[Step, ...]:
    """The enabled policies that read the table, by the name of their tables."""
    return tuple(
        Step(source, target, policy, query_of(policy, source.name))
        for _, target in sorted(database.tables.items())
        for policy in update_of(target)
        if policy.is_enabled and target.name != source.name and reads(policy, source.name)
    )


def reads(policy: UpdatePolicy, table: str) -> bool:
    """Whether the policy's source is that table. A wildcard is ``*`` for any characters."""
    if not policy.is_source_wildcard:
        return policy.source == table
    pattern = ".*".join(map(re.escape, policy.source.split("*")))
    return re.fullmatch(pattern, table, re.DOTALL) is not None


def query_of(policy: UpdatePolicy, source: str) -> str:
    """The query with the name of its source in it."""
    if not policy.is_source_wildcard:
        return policy.query
    escaped = source.replace("\\", "\\\\").replace("'", "\\'")
    return policy.query.replace(SOURCE_SYMBOL, f"['{escaped}']")


def sources_of(database: Database, target: str, policy: UpdatePolicy) -> tuple[Table, ...]:
    """The tables the policy of ``target`` reads now.

    Raises UpdatePolicyCycleError for itself, UpdatePolicyRequestError for one that is not there.
    """
    if not policy.is_source_wildcard:
        if policy.source == target:
            raise UpdatePolicyCycleError(f"table '{target}' cannot be its own source")
        if policy.source not in database.tables:
            raise UpdatePolicyRequestError(
                f"the update policy of table '{target}' reads table '{policy.source}', which does "
                "not exist"
            )
    return tuple(
        table
        for name, table in sorted(database.tables.items())
        if name != target and reads(policy, name)
    )


def is_derived(database: Database, table: Table) -> bool:
    """Whether an update policy writes into the table."""
    return any(policy.is_enabled for policy in update_of(table))


def receives_streamed(database: Database, table: Table) -> bool:
    """Whether streamed rows reach the table: by a policy of its own, or from a table they reach."""
    seen: set[str] = set()
    waiting = [table]
    while waiting:
        current = waiting.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        policy = database.effective_streaming(current)
        if policy is not None and policy.is_enabled:
            return True
        for update in update_of(current):
            if update.is_enabled:
                waiting += [t for t in database.tables.values() if reads(update, t.name)]
    return False


def has_join(query: str) -> bool:
    """Whether the query joins; names in quotes and comments do not count."""
    return _JOIN.search(_QUOTED.sub(" ", query)) is not None


def is_row_by_row(query: str, source: str, functions: Collection[str]) -> bool:
    """Whether rows of several requests can go through the query together.

    True only if every operator is known to look at one row at a time, so that what comes out does
    not depend on which rows come in with it.
    """
    if _QUOTED.search(query) and "['" in query.split("|", 1)[0]:
        return False
    first, *operators = _QUOTED.sub("''", query).split("|")
    match = _TABLE.fullmatch(first)
    if match is None or match[1] != source:
        return False
    for text in operators:
        found = _OPERATOR.match(text)
        if found is None or found[1] not in _ROW_BY_ROW:
            return False
        if any(re.search(rf"\b{re.escape(name)}\b", text) for name in functions):
            return False
    return True


def check_types(found: Sequence[ResultColumn], step: Step) -> None:
    """Raises UpdatePolicySchemaError unless the types are the target's, in its order."""
    columns = step.target.columns
    if tuple(column.type for column in found) == tuple(column.type for column in columns):
        return
    given = ", ".join(f"{column.name}:{column.type.value}" for column in found)
    wanted = ", ".join(f"{column.name}:{column.type.value}" for column in columns)
    raise UpdatePolicySchemaError(
        f"the update policy of table '{step.target.name}' gives ({given}), the table has "
        f"({wanted})",
        metadata={"table": step.target.name, "source": step.source.name},
    )


def batches_of(result: QueryResult, columns: Sequence[Column]) -> tuple[pa.RecordBatch, ...]:
    """The rows as they are stored, under the columns' names. Empty batches are left out."""
    schema = pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in columns])
    return tuple(
        pa.RecordBatch.from_arrays(
            [_stored(array, c) for array, c in zip(batch.columns, columns, strict=True)],
            schema=schema,
        )
        for batch in _whole(result.table)
        if batch.num_rows
    )


def _whole(table: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from table.combine_chunks().to_batches()


def _stored(array: pa.Array, column: Column) -> pa.Array:
    """A column of a result in its storage type: a guid there is text, here it is bytes."""
    if column.type is ScalarType.GUID and not pa.types.is_fixed_size_binary(array.type):
        values = [
            None if text is None else bytes.fromhex(text.replace("-", ""))
            for text in array.to_pylist()
        ]
        return pa.array(values, type=ARROW_TYPES[ScalarType.GUID])
    if column.type is ScalarType.STRING and array.null_count:
        return array.fill_null("")
    return array.cast(ARROW_TYPES[column.type])
