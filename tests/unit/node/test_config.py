"""A node's configuration line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.errors import InvalidRequestError
from cluster.limits import LIMITS, Limits
from cluster.node.config import NodeConfig

GOOD = {"cluster": "leader", "node": "leader/0", "data": "/d", "coordinator": "127.0.0.1:1"}


def test_defaults() -> None:
    config = NodeConfig.from_json(json.dumps(GOOD))
    assert config == NodeConfig("leader", "leader/0", Path("/d"), "127.0.0.1:1")
    assert config.limits == LIMITS
    assert not config.streaming_ingestion


def test_everything_set() -> None:
    line = json.dumps(
        GOOD
        | {
            "grpc_port": 5,
            "streaming_ingestion": True,
            "strict": True,
            "ready_fd": 3,
            "storage_root": "s3://bucket/extents",
            "ingest_folder": "/in",
            "limits": {"lease_seconds": 2, "query_rows": 7},
        }
    )
    config = NodeConfig.from_json(line)
    assert (config.grpc_port, config.ready_fd) == (5, 3)
    assert (config.storage_root, config.ingest_folder) == ("s3://bucket/extents", "/in")
    assert config.streaming_ingestion
    assert config.strict
    assert config.limits == Limits(lease_seconds=2, query_rows=7)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "unknown keys: list"),
        (json.dumps(GOOD | {"colour": 1}), "colour"),
        (json.dumps(GOOD | {"data": 5}), "wants a str as 'data', not 5"),
        (json.dumps(GOOD | {"strict": "no"}), "wants a bool as 'strict'"),
        (json.dumps(GOOD | {"grpc_port": True}), "wants a int as 'grpc_port'"),
        (json.dumps(GOOD | {"limits": []}), "wants a dict as 'limits'"),
        (json.dumps({"cluster": "c"}), "lacks"),
        (json.dumps(GOOD | {"limits": {"nonsense": 1}}), "no limit named 'nonsense'"),
        (json.dumps(GOOD | {"limits": {"query_rows": 0}}), "positive"),
        (json.dumps(GOOD | {"limits": {"query_rows": 1.5}}), "positive"),
        (json.dumps(GOOD | {"limits": {"query_rows": True}}), "positive"),
        (json.dumps(GOOD | {"limits": {"query_rows": "many"}}), "positive"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(line: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        NodeConfig.from_json(line)
