"""Random histories: the tree in memory, the journal replayed and the file reopened agree."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from pathlib import Path

import trio
from catalog_changes import LIMITS, blind_transactions, fitting_transactions
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cluster.catalog.changes import apply
from cluster.catalog.codec import (
    decode_changes,
    decode_database,
    encode_changes,
    encode_database,
)
from cluster.catalog.driver import Catalog
from cluster.catalog.garbage import FileLedger, count_files
from cluster.catalog.journal import replay
from cluster.catalog.model import Database, Version
from cluster.errors import ConflictError, ProtocolError, RequestError

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
histories = fitting_transactions() | blind_transactions


class StoppedClock:
    def now_ns(self):
        return 1

    def monotonic(self):
        return 0.0


def check_invariants(before, after):
    assert len(after.tables) <= LIMITS.tables_per_database
    everyone = [*after.tables.values(), *(dropped.table for dropped in after.dropped_tables)]
    keys = [key for table in everyone for key in table.keys]
    assert len(set(keys)) == len(keys)
    floors = {r.key: r.sealed_ordinal for t in before.tables.values() for r in t.references}
    for name, table in after.tables.items():
        assert table.name == name
        assert 1 <= len(table.references) <= 64
        assert all(r.sealed_ordinal >= floors.get(r.key, 0) for r in table.references)
        assert len(table.schemas) == len(table.column_ids)
        types = {}
        for schema, ids in zip(table.schemas, table.column_ids, strict=True):
            assert len(set(ids)) == len(ids) == len(schema)
            for column, identity in zip(schema, ids, strict=True):
                assert types.setdefault(identity, column.type) is column.type
        names = [column.name for column in table.columns]
        assert 1 <= len(set(names)) == len(names) <= LIMITS.columns_per_table
        for extent_id, extent in table.extents.items():
            assert extent.extent_id == extent_id
            assert all(identity in types for identity in extent.column_ids if identity != -1)
    check_no_row_twice(everyone)


def check_no_row_twice(everyone):
    """Sealed rows of a key are below its floor, each in one extent of the table."""
    for table in everyone:
        floors = {r.key: r.sealed_ordinal for r in table.references}
        sealed = sorted(
            (source.key, source.first_ordinal, source.end_ordinal)
            for extent_id, extent in table.extents.items()
            if extent_id.startswith("x")  # others were made up
            for source in extent.sources
            if source.key in floors  # not those of before the table was restored
        )
        for key, _, end in sealed:
            assert end <= floors[key]
        for one, other in itertools.pairwise(sealed):
            assert one[0] != other[0] or one[2] <= other[1]


@SLOW
@given(histories)
def test_apply_is_all_or_nothing_and_keeps_the_invariants(history):
    tree = Database("D", "guid")
    counts = Counter()
    for transaction in history:
        before = encode_database(tree)
        ledger = FileLedger()
        try:
            after = apply(tree, transaction, LIMITS, ledger.note)
        except RequestError as error:
            event(type(error).__name__)
            assert encode_database(tree) == before
            continue
        for change in transaction:
            event(type(change).__name__)
        assert after.version == tree.version.next()
        assert encode_database(tree) == before
        check_invariants(tree, after)
        assert decode_database(encode_database(after)) == after
        assert decode_changes(encode_changes(transaction)) == tuple(transaction)
        orphans = set(ledger.orphans(counts))
        assert orphans >= set(count_files(tree)) - set(count_files(after))
        assert not orphans & set(count_files(after))
        ledger.settle(counts)
        assert counts == count_files(after)
        tree = after


async def _committed(path, history):
    """Commits a history; gives the tree, the journal and the garbage as seen before closing."""
    catalog = await Catalog.open(
        path, clock=StoppedClock(), mint=itertools.count(100).__next__, limits=LIMITS
    )
    async with catalog:
        for transaction in history:
            try:
                await catalog.commit("NetDefaultDB", transaction, text="text")
            except (RequestError, ConflictError):  # conflict: it names a file that is garbage
                continue
        tree = catalog.get("NetDefaultDB")
        assert dict(catalog.tables_by_key()) == {
            key: table for table in tree.tables.values() for key in table.keys
        }
        deltas = catalog.deltas_since("NetDefaultDB", Version(1, 0))
        return tree, deltas, catalog.garbage()


@settings(SLOW, max_examples=60)
@given(histories)
def test_memory_journal_file_and_follower_agree(history):
    async def check(folder):
        tree, deltas, garbage = await _committed(folder / "leader", history)
        start = Database("NetDefaultDB", tree.database_id)
        assert replay(start, deltas) == tree
        assert not {item.file for item in garbage} & set(count_files(tree))
        async with await Catalog.open(
            folder / "leader",
            clock=StoppedClock(),
            mint=itertools.count(900).__next__,
            limits=LIMITS,
        ) as reopened:
            assert reopened.get("NetDefaultDB") == tree
            assert reopened.deltas_since("NetDefaultDB", Version(1, 0)) == deltas
            assert set(reopened.garbage()) == set(garbage)
        async with await Catalog.open(
            folder / "follower", clock=StoppedClock(), mint=itertools.count(1).__next__
        ) as follower:
            await follower.install_snapshot("F", "leader", "NetDefaultDB", start)
            for delta in deltas:
                await follower.apply_delta("F", delta)
            assert follower.get("F").tables == tree.tables
            assert follower.get("F").dropped_tables == tree.dropped_tables
            assert follower.get("F").version == tree.version
            assert follower.garbage() == ()

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


@SLOW
@given(blind_transactions.filter(bool), st.data())
def test_decoding_damaged_changes_gives_a_value_or_one_error(history, data):
    encoded = bytearray(encode_changes(history[0]))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_changes(bytes(encoded))
    except ProtocolError:
        return
    assert decode_changes(encode_changes(decoded)) == decoded


@SLOW
@given(fitting_transactions(), st.data())
def test_decoding_a_damaged_tree_gives_a_tree_or_one_error(history, data):
    tree = Database("D", "guid")
    for transaction in history:
        try:
            tree = apply(tree, transaction, LIMITS)
        except RequestError:
            continue
    encoded = bytearray(encode_database(tree))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_database(bytes(encoded))
    except ProtocolError:
        return
    assert decode_database(encode_database(decoded)) == decoded
