"""Statistics and pruning: what is pruned has no matching row, whatever the values."""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pytest
from extent_data import LONGS
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.catalog.arrow_types import ARROW_TYPES
from cluster.catalog.model import Column, Extent, ScalarType
from cluster.extents.pruning import (
    INGESTION_TIME_ID,
    Comparison,
    Conjunct,
    columns_by_id,
    may_match,
)
from cluster.extents.stats import (
    StatisticsCache,
    StatisticsCollector,
    decode_statistics,
    encode_statistics,
)

LONG = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=12) | st.sampled_from(
    ["\ud7ff" * 9, "\U0010ffff" * 9, "a" + "\U0010ffff" * 9]
)
VALUES = {
    ScalarType.BOOL: st.booleans(),
    ScalarType.DATETIME: LONG,
    ScalarType.DECIMAL: st.decimals(-(10**19), 10**19, places=18).map(
        lambda value: value.quantize(Decimal("0.1"))
    ),
    ScalarType.GUID: st.binary(min_size=16, max_size=16),
    ScalarType.INT: st.integers(-(2**31), 2**31 - 1),
    ScalarType.LONG: LONG,
    ScalarType.REAL: st.floats(),
    ScalarType.STRING: TEXT,
    ScalarType.TIMESPAN: LONG,
}
MATCHES = {
    Comparison.EQUAL: lambda row, value: row == value,
    Comparison.LESS: lambda row, value: row < value,
    Comparison.LESS_OR_EQUAL: lambda row, value: row <= value,
    Comparison.GREATER: lambda row, value: row > value,
    Comparison.GREATER_OR_EQUAL: lambda row, value: row >= value,
}


def statistics_of(kind, *groups, characters=64):
    collector = StatisticsCollector(["x"], [kind], characters)
    for group in groups:
        collector.add(pa.table({"x": pa.array(group, ARROW_TYPES[kind])}))
    found = collector.collected()
    assert decode_statistics(encode_statistics(found)) == found
    return found


def extent_of(column_ids=(0,), ingested=(None, None), rows=1):
    return Extent("e", "f", 1, 1, column_ids, rows, 1, 1, 1, *ingested)


def could(statistics, comparison, *values, kind=ScalarType.LONG, extent=None):
    conjunct = Conjunct(0, comparison, values)
    return may_match([conjunct], extent or extent_of(), statistics, {0: Column("x", kind)})


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_an_extent_with_a_matching_row_is_never_pruned(kind, data):
    groups = st.lists(st.lists(st.none() | VALUES[kind], max_size=4), min_size=1, max_size=3)
    groups = data.draw(groups)
    statistics = statistics_of(kind, *groups, characters=3)
    value = data.draw(VALUES[kind])
    rows = [row for group in groups for row in group]
    assert could(statistics, Comparison.IS_NULL) == (None in rows)
    there = [row for row in rows if row is not None]
    assert could(statistics, Comparison.IS_NOT_NULL) == bool(there)
    for comparison, matches in MATCHES.items():
        if any(matches(row, value) for row in there):
            assert could(statistics, comparison, value)
    if kind is ScalarType.STRING:
        for row in there:
            assert could(statistics, Comparison.STARTS_WITH, row[: len(value)])


@given(rows=st.lists(LONG, min_size=1), value=st.floats(allow_nan=False))
@example(rows=[9007199254740993], value=9007199254740992.0)
def test_integers_and_reals_are_compared_as_engines_do(rows, value):
    statistics = statistics_of(ScalarType.LONG, rows)
    for comparison, matches in MATCHES.items():
        if any(matches(float(row), value) for row in rows):
            assert could(statistics, comparison, value)


def test_what_cannot_match_is_pruned():
    statistics = statistics_of(ScalarType.LONG, [3, None], [7])
    assert not could(statistics, Comparison.EQUAL, 2)
    assert not could(statistics, Comparison.EQUAL, 2, 8)
    assert could(statistics, Comparison.EQUAL, 2, 5)
    assert not could(statistics, Comparison.LESS, 3)
    assert not could(statistics, Comparison.GREATER, 7)
    assert not could(statistics, Comparison.LESS_OR_EQUAL, 2)
    assert not could(statistics, Comparison.GREATER_OR_EQUAL, 8)
    text = statistics_of(ScalarType.STRING, ["bb", "dd"])
    assert not could(text, Comparison.STARTS_WITH, "a")
    assert not could(text, Comparison.STARTS_WITH, "e")
    assert not could(text, Comparison.STARTS_WITH, "dda")
    assert could(text, Comparison.STARTS_WITH, "c")
    conjuncts = [Conjunct(0, Comparison.GREATER, (3,)), Conjunct(0, Comparison.GREATER, (8,))]
    assert not may_match(conjuncts, extent_of(), statistics, {0: LONGS.columns[0]})


def test_values_of_another_kind_prune_nothing():
    statistics = statistics_of(ScalarType.LONG, [3])
    assert could(statistics, Comparison.EQUAL, "3")
    assert could(statistics, Comparison.EQUAL, math.nan)
    assert could(statistics_of(ScalarType.STRING, ["a"]), Comparison.EQUAL, 3)
    assert could(statistics_of(ScalarType.STRING, ["a"]), Comparison.EQUAL, b"3")
    assert could(statistics_of(ScalarType.REAL, [1.0]), Comparison.EQUAL, 10**400)


def test_dynamic_and_not_a_number_have_no_bounds():
    for statistics in (
        statistics_of(ScalarType.DYNAMIC, ["1"]),
        statistics_of(ScalarType.REAL, [1.0], [math.nan]),
    ):
        assert statistics.columns[0].minimum is None
        assert could(statistics, Comparison.GREATER, 5.0)
        assert not could(statistics, Comparison.IS_NULL)


def test_without_statistics_nothing_is_pruned():
    assert could(None, Comparison.EQUAL, 3)


def test_a_column_the_extent_lacks_reads_null_or_empty():
    extent = extent_of(column_ids=(5, -1))
    assert not could(None, Comparison.EQUAL, 3, extent=extent)
    assert not could(None, Comparison.IS_NOT_NULL, extent=extent)
    assert could(None, Comparison.IS_NULL, extent=extent)
    text = {"kind": ScalarType.STRING, "extent": extent}
    assert could(None, Comparison.EQUAL, "", **text)
    assert not could(None, Comparison.EQUAL, "a", **text)
    assert not could(None, Comparison.IS_NULL, **text)
    assert may_match([Conjunct(77, Comparison.EQUAL, (1,))], extent, None, {})


@pytest.mark.parametrize(
    ("ingested", "comparison", "value", "answer"),
    [
        ((5, 9), Comparison.LESS, 5, False),
        ((5, 9), Comparison.LESS, 6, True),
        ((5, 9), Comparison.GREATER, 9, False),
        ((5, 9), Comparison.IS_NULL, None, True),
        ((5, 5), Comparison.IS_NULL, None, False),
        ((5, 5), Comparison.EQUAL, 5, True),
        ((None, None), Comparison.EQUAL, 5, False),
        ((None, None), Comparison.IS_NOT_NULL, None, False),
        ((None, None), Comparison.IS_NULL, None, True),
    ],
)
def test_ingestion_times_prune_without_statistics(ingested, comparison, value, answer):
    values = () if value is None else (value,)
    conjunct = Conjunct(INGESTION_TIME_ID, comparison, values)
    extent = extent_of(column_ids=(0, -1), ingested=ingested)
    assert may_match([conjunct], extent, None, {}) == answer


def test_columns_by_id():
    assert columns_by_id(LONGS.columns, (4,)) == {4: LONGS.columns[0]}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rows":1,"columns":[[1]]}', '{"columns":[]}'])
def test_what_is_no_statistics_is_refused(text):
    with pytest.raises(ValueError, match="no statistics"):
        decode_statistics(text)


@pytest.mark.parametrize(("entries", "kept"), [(1, "c"), (2, "ac"), (3, "abc")])
def test_the_cache_keeps_so_many(entries, kept):
    cache = StatisticsCache(entries)
    statistics = statistics_of(ScalarType.LONG, [1])
    for file in "ab":
        cache.put(file, statistics)
    cache.get("a")
    cache.put("c", statistics)
    assert "".join(file for file in "abc" if cache.get(file)) == kept
    assert len(cache) == len(kept)
    cache.forget("c")
    cache.forget("c")
    assert cache.get("c") is None
