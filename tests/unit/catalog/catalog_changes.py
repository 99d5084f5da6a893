"""Random changes of every kind, of domains so small that they meet; histories that mostly fit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from cluster.catalog import changes as c
from cluster.catalog.model import (
    Column,
    Database,
    Extent,
    Function,
    IngestionMapping,
    Provenance,
    Role,
    RoleAssignment,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    StreamingIngestionPolicy,
    Version,
)
from cluster.errors import RequestError
from cluster.limits import Limits

LIMITS = Limits(
    tables_per_database=4,
    columns_per_table=5,
    catalog_snapshot_bytes=600,
    catalog_history_deltas=1000,
)

U64 = 2**64 - 1
tables = st.sampled_from(["T", "t", "my table", "größe", "U", "V"])
table_or_database = tables | st.just("")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
columns = st.builds(Column, st.sampled_from("abcdefg"), st.sampled_from(ScalarType), texts)
column_lists = st.lists(columns, max_size=3).map(tuple)
keys = st.integers(1, 12).map(RowStoreKey) | st.integers(1, U64).map(RowStoreKey)
streaming = st.none() | st.builds(
    StreamingIngestionPolicy,
    st.booleans(),
    st.none() | st.floats(0, allow_infinity=False, allow_nan=False),
)
versions = st.builds(Version, st.just(1), st.integers(0, 12))
times = st.none() | st.integers(0, 10)
extents = st.builds(
    Extent,
    extent_id=st.sampled_from(["e1", "e2", "e3", "e4", "e5"]),
    file=st.sampled_from(["a.parquet", "b.parquet", "d/c.parquet"]),
    file_bytes=st.integers(0, 9),
    file_checksum=st.integers(0, U64),
    column_ids=st.lists(st.integers(-1, 4), max_size=4).map(tuple),
    row_count=st.integers(0, 9),
    original_bytes=st.integers(0, 9),
    created_min_us=st.integers(0, 5),
    created_max_us=st.integers(5, 9),
    ingested_min_us=times,
    ingested_max_us=times,
    tags=st.lists(texts, max_size=2).map(tuple),
    sources=st.lists(
        st.builds(Provenance, keys, st.integers(0, 3), st.integers(2, 5)), max_size=2
    ).map(tuple),
)
extent_lists = st.lists(extents, max_size=2).map(tuple)
ranges = st.lists(
    st.builds(c.SealedRange, keys, st.integers(0, 9), st.integers(0, U64)), max_size=2
).map(tuple)
kinds = st.sampled_from(["csv", "json", "protobuf"])
names = st.sampled_from(["m", "n"])
json_texts = st.sampled_from(['{"IsEnabled":true}', "[]", "{"])
references = st.lists(
    st.builds(
        RowStoreReference,
        st.integers(0, 4),
        keys,
        st.booleans(),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=3,
).map(tuple)

principals = st.lists(
    st.builds(
        RoleAssignment, st.sampled_from(Role), st.sampled_from(["aaduser=a", "aadapp=b"]), texts
    ),
    max_size=2,
).map(tuple)

blind_changes = st.one_of(
    st.builds(c.CreateTable, tables, texts, keys, column_lists, texts, texts, st.integers(0, 4)),
    st.builds(c.AppendColumns, tables, column_lists),
    st.builds(
        c.SetSchema, tables, column_lists, st.lists(st.integers(0, 9), max_size=3).map(tuple)
    ),
    st.builds(c.DescribeTable, tables, texts, texts),
    st.builds(
        c.DescribeColumns,
        tables,
        st.lists(st.tuples(st.sampled_from("abcdefg"), texts), max_size=2).map(tuple),
    ),
    st.builds(c.RenameTables, st.lists(st.tuples(tables, tables), max_size=3).map(tuple)),
    st.builds(c.DropTable, tables, st.integers(0, 9)),
    st.builds(c.RestoreTable, versions, tables, keys, st.integers(0, 4), table_or_database),
    st.builds(c.ForgetDroppedTables, st.lists(versions, max_size=2).map(tuple)),
    st.builds(c.SetTableStreamingPolicy, tables, streaming),
    st.builds(c.SetDatabaseStreamingPolicy, streaming),
    st.builds(c.SetPolicy, table_or_database, st.sampled_from(["merge", ""]), json_texts),
    st.builds(c.SetPolicy, table_or_database, st.just("merge"), st.none()),
    st.builds(
        c.SetMapping,
        table_or_database,
        kinds,
        names,
        st.none() | st.builds(IngestionMapping, names, kinds, json_texts, st.integers(0, 9)),
    ),
    st.builds(
        c.SetFunction,
        st.sampled_from(["F", "G"]),
        st.none() | st.builds(Function, st.sampled_from(["F", "G"]), texts, texts, texts, texts),
    ),
    st.builds(c.SetPrettyName, texts),
    st.builds(c.SetPrincipals, table_or_database, principals),
    st.builds(c.SetReferences, tables, references),
    st.builds(c.SealRows, tables, ranges, extent_lists),
    st.builds(
        c.ReplaceExtents, tables, st.lists(st.sampled_from(["e1", "e2"])).map(tuple), extent_lists
    ),
    st.builds(c.ClearTable, tables, ranges),
)
"""Each as likely to be refused as not."""

blind_transactions = st.lists(st.lists(blind_changes, min_size=1, max_size=4), max_size=25)


@st.composite
def fitting_change(draw, tree, number):
    """A change of data or schema that fits the tree, if it has a table at all."""
    if not tree.tables:
        return draw(_creation(number))
    if draw(st.integers(0, 5)) == 0:
        return draw(blind_changes)
    table = tree.tables[draw(st.sampled_from(sorted(tree.tables)))]
    kind = draw(
        st.sampled_from(
            [
                "create",
                "describe",
                "seal",
                "seal",
                "replace",
                "schema",
                "drop",
                "restore",
                "clear",
                "rename",
            ]
        )
    )
    if kind == "create":
        return draw(_creation(number))
    if kind == "describe":
        return c.DescribeColumns(table.name, ((table.columns[-1].name, draw(texts)),))
    if kind == "rename":
        return c.RenameTables(((table.name, draw(tables)),))
    if kind == "seal":
        return draw(_seal(table, number))
    if kind == "replace":
        dropped = (
            draw(st.lists(st.sampled_from(sorted(table.extents)), unique=True, max_size=2))
            if table.extents
            else []
        )
        return c.ReplaceExtents(table.name, tuple(dropped), (_extent(table, number, draw),))
    if kind == "schema":
        return draw(_schema(table))
    if kind == "drop" and draw(st.booleans()):
        return c.DropTable(table.name, number)
    if kind == "restore" and tree.dropped_tables:
        dropped = draw(st.sampled_from(tree.dropped_tables))
        return c.RestoreTable(
            dropped.version, dropped.table.name, draw(keys), 0, draw(table_or_database)
        )
    if kind == "clear":
        return c.ClearTable(
            table.name,
            tuple(
                c.SealedRange(r.key, r.sealed_ordinal + draw(st.integers(1, 3)), number)
                for r in table.references
            ),
        )
    return draw(blind_changes)


@st.composite
def _creation(draw, number):
    columns = (Column("a", ScalarType.LONG), Column("b", draw(st.sampled_from(ScalarType))))
    return c.CreateTable(draw(tables), f"id{number}", RowStoreKey(1000 + number), columns)


@st.composite
def _seal(draw, table, number):
    ranges, sources = [], []
    for reference in table.references:
        count = draw(st.integers(0, 3))
        if count:
            first = reference.sealed_ordinal
            ranges.append(c.SealedRange(reference.key, first + count, draw(st.integers(0, U64))))
            sources.append(Provenance(reference.key, first, first + count))
    extent = _extent(table, number, draw)
    rows = sum(source.end_ordinal - source.first_ordinal for source in sources)
    sealed = replace(extent, sources=tuple(sources), row_count=rows)
    return c.SealRows(table.name, tuple(ranges), (sealed,))


@st.composite
def _schema(draw, table):
    free = c.next_column_id(table)
    kept = list(zip(table.columns, table.column_ids[-1], strict=True))
    kept = draw(st.permutations(kept))[: draw(st.integers(0, len(kept)))]
    taken = {column.name for column, _ in kept}
    added = tuple(column for column in draw(column_lists) if column.name not in taken)
    return c.SetSchema(
        table.name,
        (*(column for column, _ in kept), *added),
        (*(identity for _, identity in kept), *range(free, free + len(added))),
    )


def _extent(table, number, draw):
    return Extent(
        extent_id=f"x{number}-{draw(st.integers(0, 9))}",
        file=draw(st.sampled_from(["a.parquet", "b.parquet", f"{number}.parquet"])),
        file_bytes=number,
        file_checksum=number,
        column_ids=table.column_ids[draw(st.integers(0, len(table.column_ids) - 1))],
        row_count=1,
        original_bytes=1,
        created_min_us=1,
        created_max_us=1,
    )


@st.composite
def fitting_transactions(draw):
    """A history of which most transactions fit, from an empty database."""
    tree = Database("NetDefaultDB", "guid")
    history = []
    for number in range(draw(st.integers(0, 20))):
        transaction = []
        after = tree
        for _ in range(draw(st.integers(1, 3))):
            change = draw(fitting_change(after, number))
            transaction.append(change)
            try:
                after = replace(c.apply(after, [change], LIMITS), version=tree.version)
            except RequestError:
                break
        history.append(transaction)
        try:
            tree = c.apply(tree, transaction, LIMITS)
        except RequestError:
            continue
    return history
