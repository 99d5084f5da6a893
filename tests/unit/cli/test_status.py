from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from cluster.cli.status import render
from cluster.cli.view import setup_view, status_view
from cluster.errors import UnavailableError
from cluster.launcher.identity import ProcessState
from cluster.rpc.v1 import coordinator_pb2, types_pb2


def cluster_status(name, *, on=True, alive=True, following=(), databases=()):
    return coordinator_pb2.ClusterStatus(
        name=name,
        streaming_ingestion=on,
        nodes=[
            coordinator_pb2.NodeStatus(
                node=f"{name}/0",
                heartbeat_age_ms=12.34,
                alive=alive,
                following=following,
                databases=databases,
            )
        ],
    )


def report(**values):
    return coordinator_pb2.FollowingReport(
        **{
            "leader_cluster": "leader",
            "database": "Db",
            "gate": "open",
            "connected": True,
            "rows_visible": 1234,
            "lag_ms": 1.5,
            "apply_lag_ms_p50": 0.5,
            "apply_lag_ms_p99": 2.25,
            "position": types_pb2.Position(
                version=types_pb2.MetadataVersion(major=1, minor=4),
                keys=[
                    types_pb2.KeyPosition(key=2**63 + 1, ordinal=1200),
                    types_pb2.KeyPosition(key=2, ordinal=34),
                ],
            ),
            **values,
        }
    )


def grant(follower, *, rows=True, reason="", **named):
    return coordinator_pb2.Grant(
        leader_cluster="leader",
        database="db",
        follower_cluster=follower,
        epoch=5,
        rows=rows,
        reason=reason,
        configuration="leader.db",
        principals_modification_kind="union",
        origin="Direct",
        **named,
    )


def answer(*, first=None, second=None):
    return coordinator_pb2.GetStatusResponse(
        clusters=[
            cluster_status(
                "leader",
                databases=[
                    coordinator_pb2.DatabaseReport(
                        name="Db", streaming_content=True, streaming_tables=["T"]
                    )
                ],
            ),
            first or cluster_status("follower1", following=[report()]),
            second
            or cluster_status(
                "follower2", on=False, following=[report(gate="closed", refusal="it is off.")]
            ),
        ],
        grants=[grant("follower1"), grant("follower2", rows=False, reason="off, says the grant.")],
    )


def running(setup):
    return dict.fromkeys(setup.processes, ProcessState.RUNNING)


def attachment(view, cluster):
    return view["clusters"][cluster]["attachments"][0]


def test_up_prints_exactly_this_shape(world):
    node = {
        "id": "leader/0",
        "grpc": "127.0.0.1:5002",
        "http": None,
        "https": None,
        "pid": world.setup.process("leader").pid,
        "data": str(world.setup.folder / "leader" / "0"),
    }
    view = setup_view(world.setup)
    assert view.keys() == {"coordinator", "clusters"}
    assert view["coordinator"].keys() == {"grpc", "http", "pid"}
    assert view["clusters"][0] == {"name": "leader", "streaming_ingestion": True, "nodes": [node]}
    assert [c["streaming_ingestion"] for c in view["clusters"]] == [True, True, False]
    view = setup_view(world.setup, {"follower2": True})
    assert [c["streaming_ingestion"] for c in view["clusters"]] == [True, True, True]


def test_status_json_is_the_shape_of_up_and_more(world):
    world.status = answer()
    result = world.run("status", "--json")
    assert result.exit_code == 0
    view = json.loads(result.stdout)
    assert view["coordinator"]["state"] == "running"
    leader, first, _ = view["clusters"]
    assert [c["capability"] for c in view["clusters"]] == ["on", "on", "off"]
    assert leader["nodes"][0].keys() >= {"id", "grpc", "http", "pid", "data", "state", "lease"}
    assert leader["databases"][0]["streaming_tables"] == ["T"]
    assert first["attachments"] == [
        {
            "leader": "leader",
            "database": "db",
            "follower_database": "db",
            "configuration": "leader.db",
            "sharing": {},
            "principals": "union",
            "origin": "Direct",
            "epoch": 5,
            "granted": "rows",
            "gate": "open",
            "refusal": "",
            "connected": True,
            "position": {
                "version": "v1.4",
                "rows": 1234,
                "keys": {"8000000000000001": 1200, "0000000000000002": 34},
            },
            "lag_ms": 1.5,
            "lag_ms_p50": 0.5,
            "lag_ms_p99": 2.25,
            "rows": 1234,
        }
    ]
    assert attachment(view, 2)["gate"] == "closed"
    assert attachment(view, 2)["refusal"] == "it is off."


def test_status_for_people_has_a_line_a_node_and_a_sentence_a_closed_gate(world):
    world.status = answer()
    lines = world.run("status").stdout.splitlines()
    assert lines[0].startswith("setup 'default' in ")
    nodes = [line.split()[0] for line in lines[4:8]]
    assert nodes == ["coordinator", "leader/0", "follower1/0", "follower2/0"]
    assert "open" in lines[6]
    assert "v1.4 @1,234" in lines[6]
    assert "0.50 / 2.25" in lines[6]
    assert lines[5].split()[-4:] == ["Db", "v0.0", "@0", "0"]
    assert lines[-1] == "follower2 shows no streaming rows of leader/db: it is off."


def test_status_tells_names_there_what_is_shared_and_what_is_not_followed(world):
    world.status = answer()
    part = types_pb2.TableLevelSharing(tables_to_exclude=["T"])
    del world.status.grants[:]
    world.status.grants.append(grant("follower1", follower_database="Copy", sharing=part))
    world.status.configurations.append(
        coordinator_pb2.AttachmentConfigurationStatus(
            configuration=coordinator_pb2.AttachmentConfiguration(
                follower_cluster="follower2", name="all", leader_cluster="leader", database="*"
            ),
            unattached=[coordinator_pb2.UnattachedDatabase(database="db", reason="it has one")],
        )
    )
    world.status.clusters[1].location = "westus"
    view = json.loads(world.run("status", "--json").stdout)
    assert attachment(view, 1)["follower_database"] == "Copy"
    assert attachment(view, 1)["sharing"] == {"tables_to_exclude": ["T"]}
    assert view["clusters"][1]["location"] == "westus"
    assert view["clusters"][2]["unattached"] == [
        {
            "leader": "leader",
            "configuration": "all",
            "database": "db",
            "follower_database": "",
            "reason": "it has one",
        }
    ]
    text = world.run("status").stdout
    assert "leader/db as Copy (in part)" in text
    assert "follower2 does not follow leader/db (all): it has one" in text


def test_a_narrow_terminal_leaves_out_what_matters_least(world):
    view = status_view(world.setup, running(world.setup), answer())
    for width, shown in ((149, False), (150, True)):
        text = io.StringIO()
        Console(file=text, width=200).print(render(view, width))
        heads = text.getvalue().splitlines()[2].split()
        assert [column in heads for column in ("pid", "lease", "HTTP")] == [shown] * 3
        assert {"node", "state", "gate", "rows"} <= set(heads)


@pytest.mark.parametrize(
    ("state", "alive"), [(ProcessState.PAUSED, True), (ProcessState.RUNNING, False)]
)
def test_a_doubt_is_shown_closed(world, state, alive):
    status = answer(first=cluster_status("follower1", alive=alive, following=[report()]))
    states = running(world.setup) | {"follower1/0": state}
    shown = attachment(status_view(world.setup, states, status), 1)
    assert (shown["gate"], shown["connected"]) == ("closed", False)
    assert shown["refusal"] == "follower1/0 is not heard from: what it shows is not known"


def test_a_follower_that_has_not_reported_is_shown_closed(world):
    status = answer(first=cluster_status("follower1"))
    shown = attachment(status_view(world.setup, running(world.setup), status), 1)
    assert shown["gate"] == "closed"
    assert shown["refusal"] == "follower1/0 has not reported yet"
    assert (shown["position"], shown["lag_ms"], shown["rows"]) == (None, None, 0)


def test_a_grant_speaks_where_the_report_is_silent(world):
    second = cluster_status("follower2", following=[report(gate="closed", refusal="")])
    shown = attachment(status_view(world.setup, running(world.setup), answer(second=second)), 2)
    assert shown["refusal"] == "off, says the grant."


def test_a_lag_that_is_not_known_is_null(world):
    first = cluster_status("follower1", following=[report(lag_ms=-1)])
    shown = attachment(status_view(world.setup, running(world.setup), answer(first=first)), 1)
    assert shown["lag_ms"] is None


def test_status_works_without_a_coordinator_and_says_so(world):
    world.error = UnavailableError("connection refused")
    result = world.run("status", "--json")
    assert result.exit_code == 0
    view = json.loads(result.stdout)
    assert view["problem"] == "the coordinator does not answer: connection refused"
    assert {c["capability"] for c in view["clusters"]} == {"unknown"}
    assert [c["attachments"] for c in view["clusters"]] == [[], [], []]
    assert view["clusters"][0]["nodes"][0]["state"] == "running"
    assert "the coordinator does not answer" in world.run("status").stdout
    world.mark("coordinator", identity=None)
    view = json.loads(world.run("status", "--json").stdout)
    assert view["coordinator"]["state"] == "down"
    assert "coordinator is not running" in view["problem"]


def test_a_setup_that_is_all_down_is_exit_3(world):
    for process in world.setup.processes:
        world.mark(process, identity=None)
    result = world.run("status", "--json")
    assert result.exit_code == 3
    assert "setup 'default' is down" in result.stderr


@pytest.mark.parametrize("width", [80, 119])
def test_eighty_columns_break_no_name_and_no_number(world, width):
    view = status_view(world.setup, running(world.setup), answer())
    text = io.StringIO()
    Console(file=text, width=width).print(render(view, width))
    words = text.getvalue().split()
    assert {"node", "state", "streaming", "gate", "rows", "follower1/0", "running"} <= set(words)
    assert max(map(len, text.getvalue().splitlines())) <= width
