"""What is sealed when, and how rows are cut for the writer."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog.model import Column, RowStoreKey, RowStoreReference, ScalarType, Table
from cluster.extents.keeping import SealReason
from cluster.extents.sealing import (
    SLICE_ROWS,
    SealRule,
    Streamed,
    conform,
    next_due_us,
    plan_seals,
    slack_bytes,
    slices,
)

RULE = SealRule(
    threshold_bytes=1000,
    interval_us=60_000_000,
    pressure_bytes=5000,
    relief_bytes=2000,
    log_bytes=10_000,
    log_ratio=2.0,
)
NOW = 1_000_000_000


def streamed(name, byte_count, *, rows=1, age_us=0, streaming=True, by_store=None, log=None):
    return Streamed(
        database="D",
        table=name,
        key=RowStoreKey(sum(name.encode())),
        is_streaming=streaming,
        row_count=rows,
        byte_count=byte_count,
        oldest_us=NOW - age_us,
        by_store=by_store or {0: byte_count},
        log_by_store=log or {},
    )


def planned(*tables, rule=RULE):
    return [(task.table, task.reason) for task in plan_seals(tables, rule, NOW)]


@pytest.mark.parametrize(("size", "sealed"), [(999, False), (1000, True), (1001, True)])
def test_a_table_is_sealed_when_it_has_reached_the_threshold(size, sealed):
    assert planned(streamed("T", size)) == ([("T", SealReason.SIZE)] if sealed else [])


@pytest.mark.parametrize(
    ("age", "sealed"), [(59_999_999, False), (60_000_000, True), (60_000_001, True)]
)
def test_a_table_is_sealed_when_its_oldest_row_has_waited_long_enough(age, sealed):
    assert planned(streamed("T", 1, age_us=age)) == ([("T", SealReason.AGE)] if sealed else [])


def test_rows_left_when_the_policy_was_removed_are_sealed():
    assert planned(streamed("T", 1, streaming=False)) == [("T", SealReason.POLICY)]
    assert planned(streamed("T", 0, rows=0, streaming=False)) == []


@pytest.mark.parametrize(("others", "sealed"), [(4099, 0), (4100, 4), (4101, 4)])
def test_a_row_store_that_is_too_full_seals_its_largest_tables_until_it_is_relieved(others, sealed):
    # 900 + others: below, at and above 5000; then the largest go until 2000 are left.
    tables = [streamed("small", 900), *(streamed(f"big{i}", 820) for i in range(4))]
    tables.append(streamed("rest", others - 4 * 820))
    found = [name for name, reason in planned(*tables) if reason is SealReason.PRESSURE]
    assert len(found) == sealed
    assert "rest" not in found or others - 4 * 820 >= 820


def test_pressure_is_of_one_row_store_not_of_all_together():
    tables = [streamed(f"T{i}", 900, by_store={i: 900}) for i in range(8)]
    assert planned(*tables) == []
    rule = replace(RULE, threshold_bytes=10_000, pressure_bytes=800, relief_bytes=100)
    assert planned(*tables, rule=rule) == [(f"T{i}", SealReason.PRESSURE) for i in range(8)]


@pytest.mark.parametrize(
    ("distance", "held", "sealed"),
    [
        (10_000, 100, False),
        (10_001, 100, True),
        (12_000, 6000, False),
        (12_001, 6000, True),
    ],
)
def test_a_table_whose_oldest_row_keeps_the_log_of_others_is_sealed(distance, held, sealed):
    trickle = streamed("trickle", 1, log={0: distance})
    rule = replace(RULE, threshold_bytes=10**9, pressure_bytes=10**9)
    expected = [("trickle", SealReason.LOG)] if sealed else []
    assert planned(trickle, streamed("busy", held - 1), rule=rule) == expected


def test_the_most_urgent_comes_first_and_a_table_is_sealed_once():
    full = streamed("full", 6000, streaming=False, by_store={1: 6000})
    old = streamed("old", 10, age_us=60_000_000)
    big = streamed("big", 1500)
    gone = streamed("gone", 10, streaming=False)
    assert planned(old, gone, big, full) == [
        ("full", SealReason.PRESSURE),
        ("big", SealReason.SIZE),
        ("gone", SealReason.POLICY),
        ("old", SealReason.AGE),
    ]


def test_the_next_seal_by_age_is_that_of_the_oldest_row():
    assert next_due_us([], RULE, NOW) == NOW + 60_000_000
    tables = [streamed("a", 1, age_us=10), streamed("b", 1, age_us=30)]
    assert next_due_us(tables, RULE, NOW) == NOW - 30 + 60_000_000


@given(
    st.lists(
        st.tuples(st.integers(1, 3000), st.integers(0, 2), st.integers(0, 30_000)), max_size=8
    ),
    st.integers(1, 10_000),
    st.integers(0, 7),
)
def test_no_table_is_due_before_as_many_bytes_as_the_slack_have_come(drawn, coming, lucky):
    def tables(extra):
        return [
            streamed(
                f"T{n}",
                size + (extra if n == lucky else 0),
                by_store={store: size + (extra if n == lucky else 0)},
                log={store: distance + extra},
            )
            for n, (size, store, distance) in enumerate(drawn)
        ]

    slack = slack_bytes(tables(0), RULE)
    if planned(*tables(0)):
        assert slack <= 0
    else:
        assert slack >= 0, "no look in vain, but at the very bound"
    if coming < slack:
        assert planned(*tables(coming)) == []


A, B, C = (Column(name, ScalarType.LONG) for name in "abc")
TEXT = Column("text", ScalarType.STRING)
TABLE = Table(
    name="T",
    table_id="id",
    references=(RowStoreReference(0, RowStoreKey(1)),),
    # b was dropped, a renamed to c, text came.
    schemas=((A, B), (C, TEXT)),
    column_ids=((0, 1), (0, 2)),
)


def old_rows(*values):
    return pa.RecordBatch.from_pydict({"a": list(values), "b": [-v for v in values]})


def test_rows_of_an_old_schema_are_taken_by_column_id():
    assert conform(old_rows(1, 2), TABLE, 0).to_pydict() == {"c": [1, 2], "text": ["", ""]}


def test_slices_are_small_and_in_order_and_each_row_keeps_its_time():
    count = SLICE_ROWS + 3
    new = pa.RecordBatch.from_pydict({"c": [7], "text": ["x"]})
    times = pa.array(range(count + 1), pa.timestamp("us"))
    rows = SimpleNamespace(
        batches=(old_rows(*range(count)), new),
        schema_versions=(0, 1),
        first_ordinal=10,
        ingestion_times=lambda first, count: times.slice(first - 10, count),
    )
    parts = list(slices(rows, TABLE, with_times=True))
    assert [part.num_rows for part in parts] == [SLICE_ROWS, 3, 1]
    joined = pa.Table.from_batches(parts)
    assert joined.column("c").to_pylist() == [*range(count), 7]
    assert joined.column("$IngestionTime").cast(pa.int64()).to_pylist() == list(range(count + 1))
    bare = list(slices(rows, TABLE, with_times=False))
    assert bare[0].schema.names == ["c", "text"]


def test_slices_of_long_rows_have_fewer_of_them():
    table = Table("T", "id", TABLE.references, ((TEXT,),), ((0,),))
    batch = pa.RecordBatch.from_pydict({"text": ["x" * 1_000_000] * 20})
    rows = SimpleNamespace(batches=(batch,), schema_versions=(0,), first_ordinal=0)
    assert [part.num_rows for part in slices(rows, table, with_times=False)] == [8, 8, 4]
