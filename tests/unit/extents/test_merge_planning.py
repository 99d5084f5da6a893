"""Which extents merge: the bounds of the policy, and what tiers promise."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog.model import Extent, Provenance, RowStoreKey, RowStoreReference, Table
from cluster.errors import EntityNotFoundError, InvalidRequestError
from cluster.extents.merging import (
    FAN_IN,
    TAG_CHARACTERS,
    MergeRule,
    check_merge,
    drop_by_tags,
    merged_sources,
    merged_tags,
    plan_merges,
)

HOUR_US = 3600 * 1_000_000
RULE = MergeRule(
    rows_max=16_000_000,
    original_bytes_max=2**50,
    file_bytes_max=2**50,
    extents_max=100,
    range_us=24 * HOUR_US,
)


def extent(number, rows=1000, *, created=0, tags=(), original=0, size=0):
    return Extent(
        extent_id=f"{number:08}",
        file=f"f{number}",
        file_bytes=size,
        file_checksum=0,
        column_ids=(0,),
        row_count=rows,
        original_bytes=original,
        created_min_us=created,
        created_max_us=created,
        tags=tags,
    )


def sizes(groups):
    return [len(group) for group in groups]


def alike(count, **changes):
    return [extent(number, **changes) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "merged"), [(FAN_IN - 1, []), (FAN_IN, [FAN_IN]), (FAN_IN + 1, [FAN_IN + 1])]
)
def test_extents_of_like_size_merge_when_there_are_enough(count, merged):
    assert sizes(plan_merges(alike(count), RULE)) == merged


def test_no_more_extents_than_the_policy_says():
    assert sizes(plan_merges(alike(25), replace(RULE, extents_max=10))) == [10, 10]
    assert sizes(plan_merges(alike(4), replace(RULE, extents_max=2))) == [2, 2]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        (replace(RULE, rows_max=10_000), {"rows": 1000}),
        (replace(RULE, original_bytes_max=10_000), {"original": 1000}),
        (replace(RULE, file_bytes_max=10_000), {"size": 1000}),
    ],
)
def test_a_merge_stays_within_rows_and_bytes(rule, changes):
    assert sizes(plan_merges(alike(20, **changes), rule)) == [10, 10]


@pytest.mark.parametrize(("last", "merged"), [(24, 1), (24 + 1 / 3600, 0)])
def test_creation_times_of_a_merge_are_within_the_range(last, merged):
    extents = alike(FAN_IN - 1)
    extents.append(extent(99, created=int(last * HOUR_US)))
    assert len(plan_merges(extents, RULE)) == merged


def test_extents_before_the_lookback_are_left_alone():
    assert plan_merges(alike(20, created=9), replace(RULE, oldest_us=10)) == []
    assert sizes(plan_merges(alike(20, created=10), replace(RULE, oldest_us=10))) == [20]


def test_only_extents_with_equal_drop_by_tags_merge():
    extents = [
        extent(number, tags=("drop-by:a", "x") if number % 2 else ("y", "drop-by:b"))
        for number in range(2 * FAN_IN)
    ]
    groups = plan_merges(extents, RULE)
    assert sizes(groups) == [FAN_IN, FAN_IN]
    assert all(len({drop_by_tags(item) for item in group}) == 1 for group in groups)


def test_the_tags_of_a_merge_stay_within_a_million_characters():
    length = TAG_CHARACTERS // 10
    extents = [extent(n, tags=(f"{n:04}" + "x" * (length - 4),)) for n in range(20)]
    assert sizes(plan_merges(extents, RULE)) == [10, 10]
    shared = [extent(n, tags=("y" * TAG_CHARACTERS,)) for n in range(20)]
    assert sizes(plan_merges(shared, RULE)) == [20], "equal tags count once"


def test_a_large_extent_is_not_rewritten_to_take_in_small_ones():
    extents = [*alike(FAN_IN, rows=10), extent(99, rows=1_000_000)]
    (group,) = plan_merges(extents, RULE)
    assert [item.row_count for item in group] == [10] * FAN_IN


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**6),
            st.integers(0, 100 * HOUR_US),
            st.sampled_from([(), ("drop-by:a",), ("b",), ("drop-by:a", "drop-by:b")]),
        ),
        max_size=60,
    ),
    st.integers(2, 20),
    st.integers(2, 10**7),
)
def test_every_group_keeps_every_bound(drawn, extents_max, rows_max):
    rule = replace(RULE, extents_max=extents_max, rows_max=rows_max)
    extents = [extent(n, rows, created=us, tags=tags) for n, (rows, us, tags) in enumerate(drawn)]
    groups = plan_merges(extents, rule)
    used = Counter(item.extent_id for group in groups for item in group)
    assert all(count == 1 for count in used.values())
    for group in groups:
        rows = [item.row_count for item in group]
        assert 2 <= len(group) <= extents_max
        assert sum(rows) <= rows_max
        assert 2 * max(rows) <= sum(rows), "each rewrite doubles the extent a row is in"
        times = [item.created_min_us for item in group]
        assert max(times) - min(times) <= rule.range_us
        assert len({drop_by_tags(item) for item in group}) == 1


def test_rows_are_rewritten_a_logarithm_of_times_and_few_extents_stay():
    rng = random.Random(5)
    live, number, ingested, rewritten = [], 0, 0, 0
    for _ in range(3000):
        number += 1
        rows = rng.randint(500, 1500)
        ingested += rows
        live.append(extent(number, rows))
        for group in plan_merges(live, RULE):
            number += 1
            total = sum(item.row_count for item in group)
            rewritten += total
            gone = {item.extent_id for item in group}
            live = [item for item in live if item.extent_id not in gone]
            live.append(extent(number, total))
    tiers = math.log(3000, FAN_IN) + 1
    assert rewritten <= tiers * ingested
    assert len(live) <= FAN_IN * tiers
    assert sum(item.row_count for item in live) == ingested


def test_tags_are_united_and_adjacent_sources_joined():
    key, other = RowStoreKey(1), RowStoreKey(2)
    one = replace(
        extent(1, tags=("a", "b")), sources=(Provenance(key, 5, 9), Provenance(other, 0, 2))
    )
    two = replace(
        extent(2, tags=("b", "c")), sources=(Provenance(key, 0, 5), Provenance(key, 12, 20))
    )
    assert merged_tags([one, two]) == ("a", "b", "c")
    assert merged_sources([one, two]) == (
        Provenance(key, 0, 9),
        Provenance(key, 12, 20),
        Provenance(other, 0, 2),
    )


def table_of(*extents):
    import immutables

    return Table(
        name="T",
        table_id="id",
        references=(RowStoreReference(0, RowStoreKey(1)),),
        schemas=((),),
        column_ids=((),),
        extents=immutables.Map({item.extent_id: item for item in extents}),
    )


def test_a_merge_by_command_is_checked():
    one, two = extent(1, 10**9), extent(2, 5, created=10**15)
    tagged = extent(3, tags=("drop-by:x",))
    table = table_of(one, two, tagged)
    assert check_merge(table, [two.extent_id, one.extent_id]) == (two, one)
    for ids, error in [
        ([one.extent_id], InvalidRequestError),
        ([one.extent_id, one.extent_id], InvalidRequestError),
        ([one.extent_id, tagged.extent_id], InvalidRequestError),
        ([one.extent_id, "nowhere"], EntityNotFoundError),
    ]:
        with pytest.raises(error):
            check_merge(table, ids)
