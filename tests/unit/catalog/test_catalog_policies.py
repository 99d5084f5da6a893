"""Policies: what is taken, how it is stored and shown, what is in force where."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog import policies as p
from cluster.catalog import policy_text as t
from cluster.catalog.changes import CreateTable, SetPolicy, apply
from cluster.catalog.model import Column, Database, RowStoreKey, ScalarType
from cluster.catalog.policy_fields import (
    DAY_US,
    HOUR_US,
    SECOND_US,
    datetime_text,
    datetime_us,
    timespan_text,
    timespan_us,
)
from cluster.catalog.policy_kinds import POLICY_KINDS, Form, Scope
from cluster.errors import InvalidRequestError, ZeroRetentionError
from cluster.limits import LIMITS

MIB = 1024 * 1024
DATABASE = apply(
    Database("D", "guid"),
    [
        CreateTable(name, name, RowStoreKey(key), (Column("a", ScalarType.LONG),))
        for key, name in enumerate("TU", 1)
    ],
    LIMITS,
)

WHOLE = {
    "auto_delete": '{"ExpiryDate":"2026-12-01T00:00:00Z","DeleteIfNotEmpty":false}',
    "caching": '{"DataHotSpan":{"Value":"30.00:00:00"},"IndexHotSpan":{"Value":"30.00:00:00"}}',
    "encoding": '{"Type":"BigObject"}',
    "extent_tags_retention": '[{"TagPrefix":"drop-by:","RetentionPeriod":"3.00:00:00"}]',
    "ingestionbatching": (
        '{"MaximumBatchingTimeSpan":"00:05:00","MaximumNumberOfItems":500,'
        '"MaximumRawDataSizeMB":1024}'
    ),
    "ingestiontime": '{"IsEnabled":true}',
    "merge": (
        '{"RowCountUpperBoundForMerge":16000000,"OriginalSizeMBUpperBoundForMerge":30000,'
        '"MaxExtentsToMerge":100,"MaxRangeInHours":24,"AllowRebuild":true,"AllowMerge":true,'
        '"Lookback":{"Kind":"Default","CustomPeriod":null}}'
    ),
    "partitioning": '{"PartitionKeys":[]}',
    "restricted_view_access": '{"IsEnabled":false}',
    "retention": '{"SoftDeletePeriod":"365000.00:00:00","Recoverability":"Enabled"}',
    "row_level_security": '{"IsEnabled":true,"Query":"T | where a > 0"}',
    "roworder": '[{"ColumnName":"a","SortOrder":"desc"}]',
    "rowstore": (
        '{"TableSealThresholdBytes":209715200,"SealIntervalLimit":"1.00:00:00",'
        '"WriteAheadDistanceToSizeRatioThreshold":2.0}'
    ),
    "sharding": (
        '{"MaxRowCount":750000,"MaxExtentSizeInMb":1024,"MaxOriginalSizeInMb":2048,'
        '"UseShardEngine":true,"ShardEngineMaxRowCount":1048576,'
        '"ShardEngineMaxExtentSizeInMb":8192,"ShardEngineMaxOriginalSizeInMb":3072}'
    ),
    "update": (
        '[{"IsEnabled":true,"Source":"S","SourceIsWildCard":false,"Query":"S | take 1",'
        '"IsTransactional":false,"PropagateIngestionProperties":false,"ManagedIdentity":null}]'
    ),
}


def having(table="", **policies):
    changes = [SetPolicy(table, kind, t.altered(kind, text)) for kind, text in policies.items()]
    tree = apply(DATABASE, changes, LIMITS) if changes else DATABASE
    return tree, tree.tables["T"]


def test_every_kind_has_a_name_and_a_golden():
    assert WHOLE.keys() == POLICY_KINDS.keys()
    assert len({kind.policy_name for kind in POLICY_KINDS.values()}) == len(POLICY_KINDS)
    assert all(kind.scopes and kind.when_unset for kind in POLICY_KINDS.values())


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_shown_can_be_set_again(kind):
    assert t.altered(kind, WHOLE[kind]) == WHOLE[kind]
    assert t.shown(WHOLE[kind]) == WHOLE[kind]
    assert t.shown(None) == "null"


@pytest.mark.fidelity(
    "batching-policy.md", "Properties that .alter does not give have their defaults"
)
@pytest.mark.parametrize(
    "kind", ["ingestionbatching", "merge", "retention", "rowstore", "sharding"]
)
def test_an_empty_object_sets_the_defaults(kind):
    assert t.altered(kind, "{}") == WHOLE[kind]


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize(
    "text", ["", "{", "null", "1", '"x"', '{"Nothing":1}', "[1]", '{"a":NaN}', "[" * 99999]
)
def test_what_no_kind_takes(kind, text):
    if POLICY_KINDS[kind].form is Form.RAW and text == '{"Nothing":1}':
        return
    with pytest.raises(InvalidRequestError, match="is not valid"):
        t.altered(kind, text)


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("retention", '{"SoftDeletePeriod":"-1.00:00:00"}', "must be a timespan"),
        ("retention", '{"SoftDeletePeriod":7}', "must be a timespan"),
        ("retention", '{"softdeleteperiod":"7.00:00:00"}', "not a property"),
        ("retention", '{"Recoverability":"Maybe"}', "must be one of Enabled, Disabled"),
        ("retention", '{"Recoverability":"Enabled","Recoverability":"Disabled"}', "given twice"),
        ("caching", '{"DataHotSpan":"7.00:00:00"}', "IndexHotSpan is missing"),
        (
            "caching",
            (
                '{"DataHotSpan":"1","IndexHotSpan":"1","HotWindows":[{"MinValue":"2026-01-02",'
                '"MaxValue":"2026-01-02"}]}'
            ),
            "does not end after",
        ),
        ("merge", '{"MaxExtentsToMerge":1}', "MaxExtentsToMerge should be greater"),
        ("merge", '{"AllowMerge":1}', "AllowMerge must be true or false"),
        ("merge", '{"Lookback":{"Kind":"Custom"}}', "CustomPeriod"),
        ("merge", '{"Lookback":{"Kind":"All","CustomPeriod":"1.00:00:00"}}', "CustomPeriod"),
        ("update", '[{"Source":"S"}]', "Query is missing"),
        ("update", '[{"Source":"","Query":"S"}]', "Source must be text"),
        ("update", '{"Source":"S","Query":"S"}', "must be a JSON array"),
        ("extent_tags_retention", '[{"TagPrefix":"a","RetentionPeriod":"1"}]', "end with a colon"),
        ("extent_tags_retention", '[{"TagPrefix":"a:b:","RetentionPeriod":"1"}]', "no other"),
        ("auto_delete", "{}", "ExpiryDate is missing"),
        ("auto_delete", '{"ExpiryDate":"tomorrow"}', "must be a datetime"),
        ("ingestiontime", '"true"', "one JSON object"),
        ("roworder", '[{"ColumnName":"a","SortOrder":"up"}]', "must be one of asc, desc"),
        ("rowstore", '{"WriteAheadDistanceToSizeRatioThreshold":1e999}', "less than or equal"),
        ("row_level_security", '{"IsEnabled":true,"Query":" "}', "Query must be a query"),
        ("nothing", "{}", "is not a kind of policy"),
    ],
)
def test_refusals_say_what_is_wrong(kind, text, problem):
    with pytest.raises(InvalidRequestError, match=problem):
        t.altered(kind, text)


@pytest.mark.parametrize(
    ("kind", "name", "minimum", "maximum"),
    [
        ("ingestionbatching", "MaximumNumberOfItems", 1, 25_000),
        ("ingestionbatching", "MaximumRawDataSizeMB", 100, 4096),
        ("rowstore", "TableSealThresholdBytes", 10 * MIB, 200 * MIB),
        ("merge", "MaxExtentsToMerge", 2, 2**31 - 1),
    ],
)
def test_ranges_of_numbers(kind, name, minimum, maximum):
    for value, fits in [
        (minimum - 1, False),
        (minimum, True),
        (minimum + 1, True),
        (maximum - 1, True),
        (maximum, True),
        (maximum + 1, False),
    ]:
        text = json.dumps({name: value})
        if fits:
            assert json.loads(t.altered(kind, text))[name] == value
        else:
            with pytest.raises(InvalidRequestError, match=f"{name} should be"):
                t.altered(kind, text)


@pytest.mark.fidelity("batching-policy.md", "MaximumBatchingTimeSpan is 10 seconds to 30 minutes")
@pytest.mark.parametrize(
    ("kind", "name", "minimum_us", "maximum_us"),
    [
        ("ingestionbatching", "MaximumBatchingTimeSpan", 10 * SECOND_US, 1800 * SECOND_US),
        ("rowstore", "SealIntervalLimit", HOUR_US, 24 * HOUR_US),
    ],
)
def test_ranges_of_timespans(kind, name, minimum_us, maximum_us):
    for us, fits in [
        (minimum_us - 1, False),
        (minimum_us, True),
        (maximum_us, True),
        (maximum_us + 1, False),
    ]:
        text = json.dumps({name: timespan_text(us)})
        if fits:
            assert json.loads(t.altered(kind, text))[name] == timespan_text(us)
        else:
            with pytest.raises(InvalidRequestError, match=f"{name} should be"):
                t.altered(kind, text)


@pytest.mark.fidelity(
    "batching-policy.md", "A value out of its range is refused in the service's words"
)
def test_the_message_of_a_range_is_kustos():
    with pytest.raises(
        InvalidRequestError,
        match=r"Error during execution of a policy operation: .*MaximumBatchingTimeSpan should be "
        r"greater than or equal to 00:00:10",
    ):
        t.altered("ingestionbatching", '{"MaximumBatchingTimeSpan":"00:00:09"}')


def test_merging_changes_only_what_is_given():
    batching = t.merged("ingestionbatching", None, '{"MaximumNumberOfItems":7}')
    batching = t.merged("ingestionbatching", batching, '{"MaximumRawDataSizeMB":300}')
    assert json.loads(batching) == {
        "MaximumBatchingTimeSpan": "00:05:00",
        "MaximumNumberOfItems": 7,
        "MaximumRawDataSizeMB": 300,
    }
    assert list(json.loads(batching)) == list(json.loads(WHOLE["ingestionbatching"]))
    entry = '[{"Source":"S","Query":"S"}]'
    twice = t.merged("update", t.merged("update", None, entry), entry)
    assert len(json.loads(twice)) == 2
    raw = t.merged("partitioning", '{"a":1,"b":2}', '{"b":3}')
    assert json.loads(raw) == {"a": 1, "b": 3}
    with pytest.raises(InvalidRequestError):
        t.merged("ingestionbatching", batching, '{"MaximumNumberOfItems":0}')


def test_a_flag_takes_the_words_of_its_command():
    assert t.altered("ingestiontime", "true") == '{"IsEnabled":true}'
    assert t.altered("restricted_view_access", "false") == '{"IsEnabled":false}'


def test_scopes():
    t.check_scope("caching", Scope.COLUMN)
    with pytest.raises(InvalidRequestError, match="only on: cluster"):
        t.check_scope("rowstore", Scope.TABLE)


def test_defaults_are_in_force_where_nothing_is_set():
    tree, table = having()
    assert p.retention_of(tree, table) == p.RetentionPolicy(365000 * DAY_US, is_recoverable=True)
    assert p.caching_of(tree, table) == p.CachingPolicy(None)
    assert p.merge_of(tree, table) == p.MergePolicy(
        16_000_000, 30_000 * MIB, 100, 24 * HOUR_US, True, True, 14 * DAY_US, False
    )
    assert p.sharding_of(tree, table) == p.ShardingPolicy(1_048_576, 8192 * MIB, 3072 * MIB)
    assert p.ingestionbatching_of(tree, table) == p.IngestionBatchingPolicy(
        300 * SECOND_US, 500, 1024 * MIB
    )
    assert p.update_of(table) == ()
    assert p.ingestiontime_of(table)
    assert not p.restricted_view_access_of(table)
    assert p.row_level_security_of(table) is None
    assert p.roworder_of(table) == ()
    assert p.auto_delete_of(table) is None
    assert p.extent_tags_retention_of(tree, table) == ()
    assert p.rowstore_of(tree) == p.RowStorePolicy(200 * MIB, 24 * HOUR_US, 2.0)


@pytest.mark.fidelity("retention-policy.md", "A table's policy wins over its database's")
def test_a_tables_policy_wins_over_its_databases():
    tree, table = having(retention='{"SoftDeletePeriod":"7.00:00:00"}')
    assert p.retention_of(tree, table).soft_delete_us == 7 * DAY_US
    own = t.altered("retention", '{"SoftDeletePeriod":"1.00:00:00","Recoverability":"Disabled"}')
    tree = apply(tree, [SetPolicy("T", "retention", own)], LIMITS)
    assert p.retention_of(tree, tree.tables["T"]) == p.RetentionPolicy(DAY_US, False)
    assert p.retention_of(tree, tree.tables["U"]).soft_delete_us == 7 * DAY_US


def test_the_clusters_policy_is_the_last_resort():
    span = t.caching_text(DAY_US, DAY_US)
    cluster = replace(
        DATABASE,
        policies={
            t.cluster_kind("caching"): span,
            t.cluster_kind("sharding"): t.altered("sharding", '{"ShardEngineMaxRowCount":9}'),
            t.cluster_kind("ingestionbatching"): t.altered(
                "ingestionbatching", '{"MaximumNumberOfItems":9}'
            ),
            t.cluster_kind("rowstore"): t.altered("rowstore", '{"SealIntervalLimit":"02:00:00"}'),
        },
    )
    tree, table = having()
    assert p.caching_of(tree, table, cluster).data_hot_us == DAY_US
    assert p.sharding_of(tree, table, cluster).row_count == 9
    assert p.ingestionbatching_of(tree, table, cluster).items == 9
    assert p.rowstore_of(cluster).seal_interval_us == 2 * HOUR_US
    tree, table = having(caching=t.caching_text(2 * DAY_US, DAY_US))
    assert p.caching_of(tree, table, cluster).data_hot_us == 2 * DAY_US


@pytest.mark.fidelity("cache-policy.md", "hot and hot_window decide which extents are hot")
def test_caching_decides_what_is_hot():
    tree, table = having("T", caching=t.caching_text(DAY_US, DAY_US, [(10, 20)]))
    policy = p.caching_of(tree, table)
    now = 100 * DAY_US
    assert policy.is_hot(now - DAY_US, now)
    assert not policy.is_hot(now - DAY_US - 1, now)
    assert policy.is_hot(10, now)
    assert not policy.is_hot(20, now)
    assert p.CachingPolicy(None).is_hot(0, now)


@pytest.mark.fidelity("merge-policy.md", "Lookback bounds which extents are merged")
@pytest.mark.parametrize(
    ("lookback", "period_us", "is_hot"),
    [
        ({"Kind": "All"}, None, False),
        ({"Kind": "HotCache"}, None, True),
        ({"Kind": 0}, 14 * DAY_US, False),
        ({"Kind": "Custom", "CustomPeriod": "2.00:00:00"}, 2 * DAY_US, False),
    ],
)
def test_lookback_of_merging(lookback, period_us, is_hot):
    policy = p.merge_of(*having(merge=json.dumps({"Lookback": lookback})))
    assert (policy.lookback_us, policy.is_lookback_hot) == (period_us, is_hot)


def test_the_others_as_values():
    tree, table = having(
        "T",
        update='[{"Source":"S","Query":"S | take 1","IsTransactional":true,"IsEnabled":false}]',
        ingestiontime="false",
        restricted_view_access="true",
        roworder='[{"ColumnName":"b","SortOrder":"DESC"},{"ColumnName":"a","SortOrder":"asc"}]',
        auto_delete='{"ExpiryDate":"1970-01-02","DeleteIfNotEmpty":true}',
        extent_tags_retention='[{"TagPrefix":"drop-by:","RetentionPeriod":"1"}]',
    )
    assert p.update_of(table) == (
        p.UpdatePolicy("S", "S | take 1", is_enabled=False, is_transactional=True),
    )
    assert not p.ingestiontime_of(table)
    assert p.restricted_view_access_of(table)
    assert p.roworder_of(table) == (("b", False), ("a", True))
    assert p.auto_delete_of(table) == p.AutoDeletePolicy(DAY_US, delete_if_not_empty=True)
    assert p.extent_tags_retention_of(tree, table) == (("drop-by:", DAY_US),)


def test_a_property_of_a_newer_leader_is_left_out():
    newer = '{"SoftDeletePeriod":"1.00:00:00","Recoverability":"Enabled","Tier":"Cold"}'
    tree = apply(DATABASE, [SetPolicy("", "retention", newer)], LIMITS)
    assert p.retention_of(tree, tree.tables["T"]).soft_delete_us == DAY_US


ZERO = '{"SoftDeletePeriod":"00:00:00","Recoverability":"Disabled"}'


@pytest.mark.parametrize(
    ("table", "retention", "update", "fits"),
    [
        ("S", ZERO, '[{"Source":"S","Query":"S","IsTransactional":true}]', True),
        ("S", ZERO, '[{"Source":"S","Query":"S"}]', False),
        ("S", ZERO, '[{"Source":"S","Query":"S","IsTransactional":true,"IsEnabled":false}]', False),
        ("", ZERO, '[{"Source":"S","Query":"S","IsTransactional":true}]', False),
        ("S", '{"SoftDeletePeriod":"00:00:00"}', '[{"Source":"S","Query":"S"}]', False),
        ("S", '{"SoftDeletePeriod":"00:00:01"}', "[]", True),
    ],
)
def test_no_retention_only_where_an_update_policy_takes_the_rows(table, retention, update, fits):
    tree, _ = having("T", update=update)
    text = t.altered("retention", retention)
    if fits:
        p.check_retention(tree, table, text)
    else:
        with pytest.raises(ZeroRetentionError):
            p.check_retention(tree, table, text)


@given(st.integers(0, 10_675_199 * DAY_US))
def test_timespans_are_read_as_they_are_written(us):
    assert timespan_us(timespan_text(us)) == us


@given(st.datetimes())
def test_datetimes_are_read_as_they_are_written(moment):
    us = datetime_us(moment.isoformat())
    assert datetime_us(datetime_text(us)) == us


@pytest.mark.parametrize(
    "text", ["7d", "1:2:3:4", "24:00:00", "00:60:00", "٣", "1.2.3", "00:00:00."]
)
def test_texts_that_are_no_timespan(text):
    with pytest.raises(ValueError, match="must be a timespan"):
        timespan_us(text)


@given(st.sampled_from(sorted(POLICY_KINDS)), st.text(max_size=30))
def test_any_text_gives_a_policy_or_one_error(kind, text):
    try:
        stored = t.altered(kind, text)
    except InvalidRequestError:
        return
    assert t.altered(kind, stored) == stored
