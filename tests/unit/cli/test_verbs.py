from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from cluster.rpc.v1 import coordinator_pb2, types_pb2

GUID = bytes(range(16))
COLUMNS = [
    ("At", "datetime"),
    ("Name", "string"),
    ("Ok", "bool"),
    ("Took", "timespan"),
    ("Price", "decimal"),
    ("Id", "guid"),
    ("Bag", "dynamic"),
    ("Ratio", "real"),
]
ROWS = pa.table(
    {
        "At": pa.array([datetime(2026, 11, 21, 8, 0, 0, 5), None], pa.timestamp("us")),
        "Name": ["a [b]", ""],
        "Ok": [True, None],
        "Took": pa.array([timedelta(days=1, seconds=2, microseconds=3), None], pa.duration("us")),
        "Price": pa.array([Decimal("1.50"), None], pa.decimal128(38, 18)),
        "Id": pa.array([GUID, None], pa.binary(16)),
        "Bag": ['{"a": [1]}', None],
        "Ratio": [float("inf"), 0.5],
    }
)


@pytest.fixture
def rows(world):
    world.columns, world.table = COLUMNS, ROWS
    return world


@pytest.mark.parametrize("verb", ["query", "command"])
def test_json_has_columns_and_rows_in_one_line(rows, verb):
    result = rows.run(verb, "leader", "D", "T", "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    answer = json.loads(result.stdout)
    assert answer["columns"] == [{"name": name, "type": kind} for name, kind in COLUMNS]
    assert answer["rows"] == [
        [
            "2026-11-21T08:00:00.000005Z",
            "a [b]",
            True,
            "1.00:00:02.0000030",
            "1.5",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            {"a": [1]},
            "Infinity",
        ],
        [None, "", None, None, None, None, None, 0.5],
    ]


@pytest.mark.parametrize("verb", ["query", "command"])
def test_csv_has_a_header_and_empty_nulls(rows, verb):
    result = rows.run(verb, "leader", "D", "T", "--csv")
    assert result.stdout.splitlines() == [
        "At,Name,Ok,Took,Price,Id,Bag,Ratio",
        (
            "2026-11-21T08:00:00.000005Z,a [b],true,1.00:00:02.0000030,1.5,"
            '00010203-0405-0607-0809-0a0b0c0d0e0f,"{""a"": [1]}",Infinity'
        ),
        ",,,,,,,0.5",
    ]


def test_a_table_for_people_is_not_cut_and_not_markup(rows):
    result = rows.run("query", "leader", "D", "T")
    lines = result.stdout.splitlines()
    assert lines[0].split() == [name for name, _ in COLUMNS]
    assert "a [b]" in lines[2]
    assert "Infinity" in lines[2]
    assert lines[-1] == "(2 rows)"


def test_a_query_says_what_is_hidden_on_standard_error(world):
    world.hidden_reason = "follower2 has no streaming capability"
    result = world.run("query", "follower2", "D", "T | count", "--json")
    assert json.loads(result.stdout)["rows"] == [[1]]
    assert result.stderr == (
        "note: streaming rows are hidden here: follower2 has no streaming capability\n"
    )
    assert world.addresses == ["127.0.0.1:5004"]
    assert (world.requests[0].database, world.requests[0].kql) == ("D", "T | count")


def test_attach_says_whether_rows_may_pass(world):
    world.grant = coordinator_pb2.Grant(database="Db", rows=True, epoch=3)
    result = world.run("attach", "leader/db", "follower1")
    assert result.stdout == "follower1 follows leader/Db\n"
    request = world.requests[0]
    assert (request.leader_cluster, request.database, request.follower_cluster) == (
        "leader",
        "db",
        "follower1",
    )
    assert world.addresses == ["127.0.0.1:5001"]


def test_attach_prints_a_refusal_and_still_succeeds(world):
    world.grant = coordinator_pb2.Grant(database="Db", epoch=3, reason="follower2 is off.")
    result = world.run("attach", "leader/Db", "follower2")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "streaming rows are refused: follower2 is off."
    result = world.run("attach", "leader/Db", "follower2", "--json")
    assert json.loads(result.stdout) == {
        "leader": "leader",
        "database": "Db",
        "follower": "follower2",
        "epoch": 3,
        "rows": False,
        "refusal": "follower2 is off.",
        "configuration": json.loads(result.stdout)["configuration"],
    }


def test_attach_asks_for_what_is_written(world):
    world.run(
        "attach",
        *("follower1", "leader/Db", "--as", "Copy", "--prefix", "p-", "--config", "Mine"),
        *("--include", "T1, Logs*,function:F", "--exclude", "LogsOld,materialized-view:V"),
        *("--principals", "none", "--data-share"),
    )
    (request,) = world.requests
    assert request == coordinator_pb2.AttachRequest(
        leader_cluster="leader",
        database="Db",
        follower_cluster="follower1",
        configuration="Mine",
        database_name_override="Copy",
        database_name_prefix="p-",
        default_principals_modification_kind="none",
        origin="DataShare",
        sharing=types_pb2.TableLevelSharing(
            tables_to_include=["T1", "Logs*"],
            functions_to_include=["F"],
            tables_to_exclude=["LogsOld"],
            materialized_views_to_exclude=["V"],
        ),
    )
    world.run("attach", "leader/Db", "follower1")
    assert not world.requests[1].HasField("sharing")  # as it is


def test_a_strict_follower_is_not_said_to_follow(world):
    reason = "streaming ingestion is off; 'Db' is not followed at all."
    world.grant = coordinator_pb2.Grant(database="Db", epoch=3, reason=reason, strict=True)
    result = world.run("attach", "leader/Db", "follower2")
    assert result.stdout.splitlines() == [
        "follower2 is to follow leader/Db, and does not yet:",
        reason,
    ]


def all_of_the_leader():
    return coordinator_pb2.AttachmentConfigurationStatus(
        configuration=coordinator_pb2.AttachmentConfiguration(
            follower_cluster="follower1",
            name="leader.*",
            leader_cluster="leader",
            database="*",
            database_name_prefix="x-",
            default_principals_modification_kind="union",
            origin="Direct",
        ),
        attached=[coordinator_pb2.Grant(database="Db", follower_database="x-Db", rows=True)],
        unattached=[
            coordinator_pb2.UnattachedDatabase(
                database="Ev", follower_database="x-Ev", reason="there is one"
            )
        ],
    )


def test_attach_of_all_says_what_is_in_the_way(world):
    world.grant, world.configuration = None, all_of_the_leader()
    assert world.run("attach", "leader/*", "follower1").stdout.splitlines() == [
        "follower1 follows leader/Db as x-Db",
        "follower1 does not follow leader/Ev now: there is one",
        "follower1 follows every database that leader gets",
    ]
    shown = json.loads(world.run("attach", "leader/*", "follower1", "--json").stdout)
    assert shown["database"] == "*"
    assert shown["configuration"]["unattached"] == [
        {"database": "Ev", "follower_database": "x-Ev", "reason": "there is one"}
    ]


def test_followers_of_a_leader(world):
    assert world.run("followers", "leader").stdout == "nobody follows leader\n"
    part = coordinator_pb2.AttachmentConfigurationStatus(
        configuration=coordinator_pb2.AttachmentConfiguration(
            follower_cluster="follower2",
            name="C",
            leader_cluster="leader",
            database="Db",
            sharing=types_pb2.TableLevelSharing(
                tables_to_include=["T", "L*"], functions_to_exclude=["F"]
            ),
            origin="DataShare",
        )
    )
    world.status = coordinator_pb2.GetStatusResponse(configurations=[all_of_the_leader(), part])
    lines = world.run("followers", "leader").stdout.splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["follower1", "leader.*", "Db", "x-Db", "everything", "Direct", "attached"],
        ["Ev", "x-Ev", "everything", "Direct", "there", "is", "one"],
        [
            *("follower2", "C", "Db", "tables", "T,", "L*;", "not", "functions", "F"),
            *("DataShare", "nothing", "to", "attach", "yet"),
        ],
    ]
    shown = json.loads(world.run("followers", "leader", "--json").stdout)
    assert [item["configuration"] for item in shown["configurations"]] == ["leader.*", "C"]
    assert shown["configurations"][1]["sharing"] == {
        "tables_to_include": ["T", "L*"],
        "functions_to_exclude": ["F"],
    }


@pytest.mark.parametrize("targets", [("leader/Db", "follower2"), ("follower2", "leader/Db")])
def test_detach(world, targets):
    result = world.run("detach", *targets)
    assert result.stdout == "follower2 does not follow leader/Db any more\n"
    assert world.requests[0].follower_cluster == "follower2"


def test_detach_of_a_configuration_from_either_side(world):
    result = world.run("detach", "follower2", "--config", "C")
    assert result.stdout == "attachment configuration 'C' of follower2 is deleted\n"
    world.run("detach", "leader", "follower2", "--config", "C")
    assert world.requests == [
        coordinator_pb2.DeleteAttachmentConfigurationRequest(
            follower_cluster="follower2", name="C"
        ),
        coordinator_pb2.DetachFollowerDatabasesRequest(
            leader_cluster="leader", follower_cluster="follower2", configuration="C"
        ),
    ]


def test_capability_says_how_sure_it_is(world):
    result = world.run("capability", "follower1", "off")
    assert result.stdout == (
        "streaming ingestion of follower1 is off; every node concerned has confirmed it\n"
    )
    assert world.requests[0].streaming_ingestion is False
    result = world.run("capability", "follower1", "on", "--json")
    assert json.loads(result.stdout) == {
        "cluster": "follower1",
        "capability": "on",
        "epoch": 7,
        "certainty": "confirmed",
    }
    assert world.requests[1].streaming_ingestion is True


def test_logs_prints_the_last_lines(world):
    log = world.setup.process("leader/0").log
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(300)))
    assert world.run("logs", "leader").stdout.splitlines()[0] == "line 100"
    assert world.run("logs", "leader/0", "-n", "2").stdout == "line 298\nline 299\n"
    assert world.run("logs", "nobody").exit_code == 1


def test_logs_follows_with_tail(world, monkeypatch):
    log = world.setup.process("leader/0").log
    assert world.run("logs", "leader", "-f").exit_code == 1
    log.parent.mkdir(parents=True)
    log.write_text("")
    called = []
    monkeypatch.setattr("os.execvp", lambda file, command: called.append(command))
    world.run("logs", "leader", "-f", "-n", "5")
    assert called == [["tail", "-n", "5", "-F", "--", str(log)]]
