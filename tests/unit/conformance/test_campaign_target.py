"""Profile files: every mistake is named by its key."""

from __future__ import annotations

import pytest

from cluster.conformance.request import Endpoint
from cluster.conformance.target import TargetError, parse_target, plain_target

FILE = """
database = "conform"
coordinator = "grpc://127.0.0.1:5001"
features = ["SEAL", "ATTACH"]
strict = ["follow"]
confirmed = true
liveness_seconds = 900
visible_seconds = 0
unsealed_seconds = 86400
command_seconds = 0.5
[[leader]]
name = "lead"
url = "https://lead.westeurope.kusto.windows.net/"
token_variable = "TOKEN"
[[follower]]
name = "follow"
url = "grpc://127.0.0.1:5003"
streaming = false
[commands]
detach = "./detach.sh"
capability-on = "./on.sh"
"""


def test_everything():
    target = parse_target(FILE)
    url = "https://lead.westeurope.kusto.windows.net"
    assert target.leaders == (Endpoint("lead", url, token_variable="TOKEN"),)
    assert target.followers == (Endpoint("follow", "grpc://127.0.0.1:5003", streaming=False),)
    assert (target.database, target.table_prefix) == ("conform", "Conform")
    assert target.coordinator_url == "grpc://127.0.0.1:5001"
    assert target.features == {"SEAL", "ATTACH"}
    assert target.strict == {"follow"}
    assert target.commands == (("capability-on", "./on.sh"), ("detach", "./detach.sh"))
    assert (target.confirmed, target.keep, target.liveness_seconds) == (True, False, 900)
    assert (target.visible_seconds, target.unsealed_seconds) == (0, 86400)
    assert target.command_seconds == 0.5


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('database = "conform"', "", "^database: must be a name"),
        ("[[leader]]", "[[leader]", "line 11"),
        ("database =", "data =", "^data: no such key; there are: database"),
        ('"SEAL"', '"SEALS"', "^features: no 'SEALS'; there are: CAPABILITY"),
        ('["SEAL", "ATTACH"]', '"SEAL"', "^features: must be a list"),
        ('strict = ["follow"]', 'strict = ["x"]', "strict names 'x'"),
        ('name = "follow"', 'name = "lead"', "two endpoints have the name 'lead'"),
        ('name = "follow"', 'name = "9"', r"^follower\[0\].name: must be a name"),
        ("streaming = false", 'streaming = "no"', r"^follower\[0\].streaming: must be true"),
        ("streaming = false", "speed = 1", r"^follower\[0\].speed: no such key"),
        ('"TOKEN"', "7", r"^leader\[0\].token_variable: must be"),
        ("https://lead", "ftp://lead", r"^leader\[0\].url: .* scheme grpc or http or https"),
        ("https://lead", "https://me:pw@lead", "holds no secrets"),
        ("127.0.0.1:5003", "127.0.0.1", r"^follower\[0\].url: .* has no port"),
        ("127.0.0.1:5003", "127.0.0.1:x", r"^follower\[0\].url: .* is no URL"),
        ("grpc://127.0.0.1:5001", "http://h", "^coordinator: .* scheme grpc"),
        ("confirmed = true", "confirmed = 1", "^confirmed: must be true or false"),
        ("= 900", "= -1", "^liveness_seconds: must be seconds from 0 to 86400"),
        ("= 86400", "= 86401", "^unsealed_seconds: must be seconds"),
        ("visible_seconds = 0", "visible_seconds = true", "^visible_seconds: must be seconds"),
        ("= 0.5", "= 0", "^command_seconds: must be more than 0"),
        ("= 0.5", '= "x"', "^command_seconds: must be seconds"),
        ("detach =", "destroy =", "^commands.destroy: no such key"),
        ('"./on.sh"', '" "', "^commands.capability-on: must be a shell command"),
        ('[commands]\ndetach = "./detach.sh"\ncapability-on = "./on.sh"', "", ""),
    ],
)
def test_mistakes(old, new, why):
    assert old in FILE
    text = FILE.replace(old, new)
    if not why:
        assert parse_target(text).commands == ()
        return
    with pytest.raises(TargetError, match=why):
        parse_target(text)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_both_sides_are_needed(role):
    with pytest.raises(TargetError, match=rf"^{role}: at least one \[\[{role}\]\] is needed"):
        parse_target(FILE.replace(f"[[{role}]]", "[[commands.x]]").replace("[commands]\n", ""))


def test_without_a_file():
    target = plain_target("grpc://a:1", ["grpc://b:2", "https://c"], "D")
    assert [e.cluster for e in target.followers] == ["follower1", "follower2"]
    assert [e.url for e in (*target.leaders, *target.followers)] == [
        "grpc://a:1",
        "grpc://b:2",
        "https://c",
    ]


@pytest.mark.parametrize(
    ("leader", "followers", "database"),
    [("", ["grpc://b:2"], "D"), ("grpc://a:1", [], "D"), ("grpc://a:1", ["grpc://b:2"], "")],
)
def test_without_a_file_three_things_are_needed(leader, followers, database):
    with pytest.raises(TargetError, match="--leader URL, --follower URL and --database DB"):
        plain_target(leader, followers, database)
