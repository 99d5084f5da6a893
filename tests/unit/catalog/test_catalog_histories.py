"""Random histories: the tree in memory, the journal replayed and the file reopened agree."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.catalog.changes import (
    AppendColumns,
    CreateTable,
    DescribeTable,
    DropTable,
    SetDatabaseStreamingPolicy,
    SetTableStreamingPolicy,
    apply,
)
from cluster.catalog.codec import (
    decode_changes,
    decode_database,
    encode_changes,
    encode_database,
)
from cluster.catalog.driver import Catalog
from cluster.catalog.journal import replay
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
    Version,
)
from cluster.errors import ProtocolError, RequestError
from cluster.limits import Limits

LIMITS = Limits(
    tables_per_database=4,
    columns_per_table=5,
    catalog_snapshot_bytes=600,
    catalog_history_deltas=1000,
)

tables = st.sampled_from(["T", "t", "my table", "größe", "U", "V"])
columns = st.builds(Column, st.sampled_from("abcdefg"), st.sampled_from(ScalarType))
column_lists = st.lists(columns, max_size=3).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
policies = st.none() | st.builds(
    StreamingIngestionPolicy,
    st.booleans(),
    st.none() | st.floats(0, allow_infinity=False, allow_nan=False),
)
changes = st.one_of(
    st.builds(
        CreateTable,
        tables,
        texts,
        st.integers(1, 2**64 - 1).map(RowStoreKey),
        column_lists,
        texts,
        texts,
    ),
    st.builds(AppendColumns, tables, column_lists),
    st.builds(DescribeTable, tables, texts, texts),
    st.builds(DropTable, tables),
    st.builds(SetTableStreamingPolicy, tables, policies),
    st.builds(SetDatabaseStreamingPolicy, policies),
)
transactions = st.lists(st.lists(changes, min_size=1, max_size=4), max_size=25)


class StoppedClock:
    def now_ns(self):
        return 1

    def monotonic(self):
        return 0.0


def check_invariants(database):
    assert len(database.tables) <= LIMITS.tables_per_database
    assert len({table.key for table in database.tables.values()}) == len(database.tables)
    for name, table in database.tables.items():
        assert table.name == name
        for schema, longer in itertools.pairwise(table.schemas):
            assert longer[: len(schema)] == schema
            assert len(longer) > len(schema)
        names = [column.name for column in table.columns]
        assert 1 <= len(set(names)) == len(names) <= LIMITS.columns_per_table


@given(transactions)
def test_apply_is_all_or_nothing_and_keeps_the_invariants(history):
    tree = Database("D", "guid")
    for transaction in history:
        before = encode_database(tree)
        try:
            after = apply(tree, transaction, LIMITS)
        except RequestError:
            assert encode_database(tree) == before
            continue
        assert after.version == tree.version.next()
        assert encode_database(tree) == before
        check_invariants(after)
        assert decode_database(encode_database(after)) == after
        assert decode_changes(encode_changes(transaction)) == tuple(transaction)
        tree = after


async def _committed(path, history):
    """Commits a history; gives the tree and the journal as seen before closing."""
    catalog = await Catalog.open(
        path, clock=StoppedClock(), mint=itertools.count(1).__next__, limits=LIMITS
    )
    async with catalog:
        for transaction in history:
            try:
                await catalog.commit("NetDefaultDB", transaction, text="text")
            except RequestError:
                continue
        tree = catalog.get("NetDefaultDB")
        return tree, catalog.deltas_since("NetDefaultDB", Version(1, 0))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(transactions)
def test_memory_journal_file_and_follower_agree(history):
    async def check(folder):
        tree, deltas = await _committed(folder / "leader", history)
        start = Database("NetDefaultDB", tree.database_id)
        assert replay(start, deltas) == tree
        async with await Catalog.open(
            folder / "leader", clock=StoppedClock(), mint=itertools.count(1).__next__
        ) as reopened:
            assert reopened.get("NetDefaultDB") == tree
            assert reopened.deltas_since("NetDefaultDB", Version(1, 0)) == deltas
        async with await Catalog.open(
            folder / "follower", clock=StoppedClock(), mint=itertools.count(1).__next__
        ) as follower:
            await follower.install_snapshot("F", "leader", "NetDefaultDB", start)
            for delta in deltas:
                await follower.apply_delta("F", delta)
            assert follower.get("F").tables == tree.tables
            assert follower.get("F").version == tree.version

    with tempfile.TemporaryDirectory() as folder:
        trio.run(check, Path(folder))


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_decoding_anything_raises_one_error(data):
    for decode in (decode_changes, decode_database):
        try:
            decode(data)
        except ProtocolError:
            continue
        raise AssertionError("random bytes were taken for metadata")


@given(transactions.filter(bool), st.data())
def test_decoding_damaged_bytes_gives_a_value_or_one_error(history, data):
    encoded = bytearray(encode_changes(history[0]))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_changes(bytes(encoded))
    except ProtocolError:
        return
    assert decode_changes(encode_changes(decoded)) == decoded
