"""Rows and what follows from them, into the row stores."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa

from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)
from cluster.ingest.admission import Target
from cluster.ingest.deriving import Derivation, DerivedRows
from cluster.ingest.staging import Part, Stager

BATCH = pa.record_batch([pa.array([1], pa.int64())], ["a"])


def table(name, key, *, enabled=True):
    references = (RowStoreReference(0, RowStoreKey(key), enabled),)
    return Table(name, "id", references, ((Column("a", ScalarType.LONG),),), ((0,),))


class Store:
    def __init__(self):
        self.staged = []

    def choose(self, references):
        return references[0]

    def choose_together(self, tables):
        assert all(reference.is_enabled for references in tables for reference in references)
        return tuple(references[0] for references in tables)

    def stage(self, key, version, batch, spans, *, with_next=False):
        self.staged.append((key, with_next))


class Decider:
    def await_commit(self, pending):
        self.pending = pending


def staged(*derived):
    store, source = Store(), table("T", 1)
    target = Target(Database("D", "d", tables={"T": source}), source)
    Stager(store, Decider(), None).stage(
        target, 0, Part([(SimpleNamespace(source=b""), 1)], BATCH, Derivation(derived))
    )
    return store.staged


def test_a_record_says_that_another_follows_only_if_one_does():
    one, two = table("One", 2), table("Two", 3, enabled=False)
    rows, none = DerivedRows(one, (BATCH,), True, True), DerivedRows(two, (), True, True)
    assert staged(rows, none) == [(1, True), (2, False)]
    assert staged(none) == [(1, False)]
