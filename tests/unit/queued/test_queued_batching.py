"""The ingestion batching policy: when a batch is sealed, by what, and what is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.batch.properties import IngestionProperties
from cluster.catalog.policies import IngestionBatchingPolicy
from cluster.queued.batching import Aggregator, GroupKey, Item, SealReason

SECOND = 1_000_000
MIB = 1024 * 1024
KEY = GroupKey("D", "T", IngestionProperties())
POLICY = IngestionBatchingPolicy(time_us=300 * SECOND, items=3, raw_bytes=100 * MIB)


def aggregator(policy: IngestionBatchingPolicy | None = POLICY) -> Aggregator:
    return Aggregator(lambda key: policy, flush_us=1_500_000)


def item(number: int, at: float = 0, size: int = 1, key: GroupKey = KEY, **more: bool) -> Item:
    return Item(number, key, int(at * SECOND), size, **more)


@pytest.mark.parametrize(("now", "sealed"), [(299.999, []), (300, [1, 2]), (301, [1, 2])])
def test_by_time_since_the_first(now: float, sealed: list[int]) -> None:
    waiting = aggregator()
    waiting.add(item(1))
    waiting.add(item(2, at=200))
    assert waiting.next_due_us() == 300 * SECOND
    found = waiting.due(int(now * SECOND))
    assert [number for batch in found for number in batch.numbers] == sealed
    assert {batch.reason for batch in found} <= {SealReason.TIME}
    assert len(waiting) == 2 - len(sealed)


@pytest.mark.parametrize(("count", "batches"), [(2, []), (3, [3]), (4, [3]), (7, [3, 3])])
def test_by_number(count: int, batches: list[int]) -> None:
    waiting = aggregator()
    for number in range(count):
        waiting.add(item(number))
    found = waiting.due(0)
    assert [len(batch.numbers) for batch in found] == batches
    assert all(batch.reason is SealReason.COUNT for batch in found)
    assert len(waiting) == count - sum(batches)


@pytest.mark.parametrize(("size", "sealed"), [(50 * MIB - 1, 0), (50 * MIB, 2), (50 * MIB + 1, 2)])
def test_by_size(size: int, sealed: int) -> None:
    waiting = aggregator()
    waiting.add(item(1, size=size))
    waiting.add(item(2, size=50 * MIB))
    found = waiting.due(0)
    assert sum(len(batch.numbers) for batch in found) == sealed
    assert all(batch.reason is SealReason.SIZE for batch in found)


def test_one_blob_larger_than_a_batch_goes_alone() -> None:
    waiting = aggregator()
    waiting.add(item(1, size=200 * MIB))
    waiting.add(item(2))
    assert [batch.numbers for batch in waiting.due(0)] == [(1,)]


@pytest.mark.parametrize(("now", "sealed"), [(11.499, 0), (11.5, 2), (12, 2)])
def test_flush_takes_all_that_waits(now: float, sealed: int) -> None:
    waiting = aggregator()
    waiting.add(item(1))
    waiting.add(item(2, at=10, is_flush=True))
    assert waiting.next_due_us() == 11_500_000
    found = waiting.due(int(now * SECOND))
    assert sum(len(batch.numbers) for batch in found) == sealed
    assert all(batch.reason is SealReason.FLUSH for batch in found)


def test_what_a_full_batch_leaves_keeps_its_own_time() -> None:
    waiting = aggregator()
    for number in range(3):
        waiting.add(item(number, is_flush=True))
    waiting.add(item(3, at=5))
    waiting.due(5 * SECOND)
    assert waiting.next_due_us() == 305 * SECOND


def test_without_a_table_nothing_waits_long() -> None:
    waiting = aggregator(None)
    waiting.add(item(1))
    assert waiting.next_due_us() == 1_500_000
    assert [batch.numbers for batch in waiting.due(1_500_000)] == [(1,)]
    assert waiting.next_due_us() is None


def test_groups_are_apart() -> None:
    waiting = aggregator()
    others = [
        replace(KEY, table="U"),
        replace(KEY, properties=IngestionProperties(format="json")),
        replace(KEY, principal="aadapp=x"),
        replace(KEY, alone=7),
    ]
    for number, key in enumerate([KEY, KEY, *others]):
        waiting.add(item(number, key=key))
    assert [batch.numbers for batch in waiting.due(300 * SECOND)] == [
        (0, 1), (2,), (3,), (4,), (5,),
    ]  # fmt: skip


def test_a_policy_that_changed_counts_at_once() -> None:
    policy = [POLICY]
    waiting = Aggregator(lambda key: policy[0], flush_us=0)
    waiting.add(item(1))
    waiting.add(item(2))
    assert waiting.due(SECOND) == []
    policy[0] = replace(POLICY, items=2)
    assert len(waiting.due(SECOND)) == 1
