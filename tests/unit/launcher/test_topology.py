from __future__ import annotations

import re

import pytest

from cluster.errors import InvalidRequestError, LimitExceededError, NotSupportedError
from cluster.launcher.topology import (
    DEFAULT_TOPOLOGY,
    parse_topology,
    topology_from_values,
    topology_to_values,
)
from cluster.limits import Limits


def test_the_default_has_one_follower_that_may_stream_and_one_that_may_not():
    assert [(c.name, c.streaming_ingestion) for c in DEFAULT_TOPOLOGY.clusters] == [
        ("leader", True),
        ("follower1", True),
        ("follower2", False),
    ]
    assert DEFAULT_TOPOLOGY.process_ids() == (
        "coordinator",
        "leader/0",
        "follower1/0",
        "follower2/0",
    )


def test_a_file_says_everything_and_cluster_limits_win():
    topology = parse_topology(
        """
        allow_hosts = ["Kusto", "*.kusto.windows.net"]
        [limits]
        lease_seconds = 2.0
        queries_per_core = 3
        [[clusters]]
        name = "west"
        streaming_ingestion = true
        strict = true
        nodes = 1
        storage_root = "s3://bucket/extents"
        ingest_folder = "/data/incoming"
        location = "westus2"
        http_port = 8080
        [clusters.limits]
        queries_per_core = 4
        [[clusters]]
        name = "east"
        """
    )
    west, east = topology.clusters
    assert (west.name, west.streaming_ingestion, west.strict, west.nodes) == ("west", True, True, 1)
    assert (west.storage_root, west.ingest_folder) == ("s3://bucket/extents", "/data/incoming")
    assert (east.storage_root, east.ingest_folder) == ("", "")
    assert (west.http_port, east.http_port) == (8080, 0)
    assert topology.allow_hosts == ("kusto", "*.kusto.windows.net")
    assert (west.location, east.location) == ("westus2", "local")
    assert west.limits == {"lease_seconds": 2.0, "queries_per_core": 4}
    assert (east.streaming_ingestion, east.strict) == (False, False)
    assert east.limits == topology.limits == {"lease_seconds": 2.0, "queries_per_core": 3}
    assert topology_from_values(topology_to_values(topology)) == topology


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[clusters]\n", "line 1"),
        ("[[clusters]]\nname == 'b'", "line 2"),
        ("", "at least one [[clusters]]"),
        ("clusters = 3", "clusters: must be tables, not 3"),
        ("clusters = [3]", "clusters[0]: must be a table"),
        ("cluster = []", "cluster: there is no such key; known are clusters, limits"),
        ("[[clusters]]\nname='a'\nnode=1", "clusters[0].node: there is no such key"),
        ("[[clusters]]", "clusters[0].name: is missing"),
        ("[[clusters]]\nname=1", "clusters[0].name: must be text, not 1"),
        ("[[clusters]]\nname=''", "clusters[0].name: '' is not 1 to 63"),
        ("[[clusters]]\nname='A'", "clusters[0].name: 'A' is not"),
        ("[[clusters]]\nname='../up'", "clusters[0].name: '../up' is not"),
        ("[[clusters]]\nname='coordinator'", "the coordinator's own name"),
        ("[[clusters]]\nname='a'\n[[clusters]]\nname='a'", "clusters[1].name: 'a' is there twice"),
        ("[[clusters]]\nname='a'\nstrict=1", "clusters[0].strict: must be true or false, not 1"),
        ("[[clusters]]\nname='a'\nnodes=true", "clusters[0].nodes: must be a whole number"),
        ("[[clusters]]\nname='a'\nnodes=0", "clusters[0].nodes: must be at least 1"),
        ("[[clusters]]\nname='a'\nlimits=1", "clusters[0].limits: must be a table of numbers"),
        ("[[clusters]]\nname='a'\n[clusters.limits]\nx=1", "clusters[0].limits: there is no limit"),
        ("[limits]\nlease_seconds=0\n[[clusters]]\nname='a'", "limits: limit 'lease_seconds'"),
    ],
)
def test_a_mistake_names_its_line_or_key(text, message):
    with pytest.raises(InvalidRequestError) as caught:
        parse_topology(text)
    assert message in caught.value.message


def test_several_nodes_are_refused_in_so_many_words():
    with pytest.raises(NotSupportedError, match=r"clusters\[0\]\.nodes: 2 nodes"):
        parse_topology("[[clusters]]\nname = 'a'\nnodes = 2")


@pytest.mark.parametrize("length", [1, 62, 63])
def test_names_up_to_63_characters_are_taken(length):
    name = "a" * length
    assert parse_topology(f"[[clusters]]\nname = '{name}'").clusters[0].name == name


def test_a_name_of_64_characters_is_refused():
    with pytest.raises(InvalidRequestError, match="1 to 63"):
        parse_topology(f"[[clusters]]\nname = '{'a' * 64}'")


@pytest.mark.parametrize(("count", "allowed"), [(2, True), (3, True), (4, False)])
def test_the_number_of_clusters_is_limited(count, allowed):
    text = "\n".join(f"[[clusters]]\nname = 'c{number}'" for number in range(count))
    limits = Limits(clusters=3)
    if allowed:
        assert len(parse_topology(text, limits=limits).clusters) == count
    else:
        with pytest.raises(LimitExceededError, match="4 clusters, the limit is 3"):
            parse_topology(text, limits=limits)


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (65536, "clusters[0].http_port: 65536 is not a port"),
        (-1, "clusters[0].http_port: -1 is not a port"),
        ("x", "clusters[0].http_port: must be a whole number"),
    ],
)
def test_a_port_must_be_one(port, text):
    with pytest.raises(InvalidRequestError, match=re.escape(text)):
        topology_from_values({"clusters": [{"name": "a", "http_port": port}]})
    assert topology_from_values({"clusters": [{"name": "a", "http_port": 65535}]})


def test_two_clusters_cannot_have_one_port():
    both = [{"name": "a", "http_port": 80}, {"name": "b", "http_port": 80}]
    with pytest.raises(InvalidRequestError, match="node 0 would have port 80, which cluster 'a'"):
        topology_from_values({"clusters": both})
    both[1]["http_port"] = 81
    assert topology_from_values({"clusters": both}).clusters[1].http_port == 81


@pytest.mark.parametrize("name", ["", "http://kusto", "kusto:80", "a*", "*.", "a b"])
def test_what_cannot_be_a_host_is_not_allowed(name):
    with pytest.raises(InvalidRequestError, match="is not a host name that can be allowed"):
        topology_from_values({"clusters": [{"name": "a"}], "allow_hosts": [name]})


def test_names_are_allowed_once_each():
    topology = DEFAULT_TOPOLOGY.allowing(["kusto", "KUSTO", "*"])
    assert topology.allow_hosts == ("kusto", "*")
    assert topology.allowing(["*", "other"]).allow_hosts == ("kusto", "*", "other")
