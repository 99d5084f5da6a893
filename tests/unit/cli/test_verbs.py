from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from cluster.rpc.v1 import coordinator_pb2

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
    }


def test_detach(world):
    result = world.run("detach", "leader/Db", "follower2")
    assert result.stdout == "follower2 does not follow leader/Db any more\n"


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
