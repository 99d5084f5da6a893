"""Fresh rows: in order, few batches, snapshots that do not change."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cluster.rowstore.memory import FAN_IN, SETTLED_BYTES, FreshRows


def one(value: int) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array([value], pa.int64())})


def values(rows: FreshRows) -> list[int]:
    return [n for batch in rows.snapshot()[0] for n in batch.column("n").to_pylist()]


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([1, SETTLED_BYTES // 40, SETTLED_BYTES // 2 - 1, SETTLED_BYTES // 2]),
        ),
        max_size=120,
    )
)
def test_rows_stay_in_order_with_their_versions(steps) -> None:
    rows = FreshRows()
    for n, (version, size) in enumerate(steps):
        rows.append(one(n), version, size)
    assert values(rows) == list(range(len(steps)))
    batches, versions = rows.snapshot()
    assert len(batches) == len(versions) == rows.batch_count
    flat = [
        version
        for batch, version in zip(batches, versions, strict=True)
        for _ in range(batch.num_rows)
    ]
    assert flat == [version for version, _ in steps]
    assert rows.row_count == len(steps)
    assert rows.byte_count == sum(size for _, size in steps)


def test_ten_thousand_small_batches_leave_at_most_46() -> None:
    rows = FreshRows()
    most = 0
    for n in range(10_000):
        rows.append(one(n), 0, 100)
        most = max(most, rows.batch_count)
    assert most <= 4 * (FAN_IN - 1)
    assert rows.batch_count <= 46
    assert values(rows) == list(range(10_000))


def test_a_new_schema_version_closes_all_tiers_in_order() -> None:
    rows = FreshRows()
    for n in range(40):  # two tiers are filled
        rows.append(one(n), 0, 1)
    rows.append(one(40), 1, 1)
    assert values(rows) == list(range(41))
    assert rows.snapshot()[1] == (0, 1)


def test_batches_stop_growing_when_they_are_large() -> None:
    rows = FreshRows()
    for n in range(2000):
        rows.append(one(n), 0, SETTLED_BYTES // 100)
    assert 2000 // 100 <= rows.batch_count <= 2000 // 50 + 3 * FAN_IN
    assert max(batch.num_rows for batch in rows.snapshot()[0]) <= 100
    assert values(rows) == list(range(2000))


def test_a_snapshot_does_not_change() -> None:
    rows = FreshRows()
    rows.append(one(0), 0, 1)
    before = rows.snapshot()
    assert rows.snapshot() is before
    for n in range(1, 40):
        rows.append(one(n), 0, 1)
    assert [batch.to_pydict() for batch in before[0]] == [{"n": [0]}]
    assert len(rows.snapshot()[0]) < 40
