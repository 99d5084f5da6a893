"""Reading another cluster takes a right there: the caller's token goes along, no secret does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio
from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.exceptions import KustoServiceError

from cluster.launcher.topology import parse_topology
from cluster.testing.local import launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.launcher.setup import Setup

pytestmark = [pytest.mark.process, pytest.mark.slow]

TOPOLOGY = """
[limits]
lease_seconds = 2.0
heartbeat_seconds = 0.25

[auth]
mode = "required"
admins = ["aadapp=boss"]

[[auth.applications]]
id = "boss"
secret = "boss-s3cret-0"

[[auth.applications]]
id = "ann"
secret = "ann-s3cret-00"

[tls]
enabled = true

[[clusters]]
name = "near"
streaming_ingestion = true

[[clusters]]
name = "far"
streaming_ingestion = true
"""
FAR = "cluster('far').database('Far').T | count"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    folder: Path = tmp_path_factory.mktemp("far")

    async def start() -> tuple[Any, Setup]:
        return await launch(folder, limits={}, topology=parse_topology(TOPOLOGY))

    launcher, setup = trio.run(start)
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = str(folder / "home" / "tls" / "trust.pem")
    yield setup
    os.environ.pop("REQUESTS_CA_BUNDLE")
    if before is not None:
        os.environ["REQUESTS_CA_BUNDLE"] = before
    trio.run(launcher.destroy)


def client(setup: Setup, cluster: str, who: str, secret: str) -> KustoClient:
    return KustoClient(
        KustoConnectionStringBuilder.with_aad_application_key_authentication(
            setup.node_of(cluster).https, who, secret, "contoso"
        )
    )


def test_only_who_may_read_there_reads_from_here(guarded: Setup) -> None:
    with (
        client(guarded, "far", "boss", "boss-s3cret-0") as far,
        client(guarded, "near", "boss", "boss-s3cret-0") as near,
        client(guarded, "near", "ann", "ann-s3cret-00") as ann,
    ):
        far.execute("NetDefaultDB", ".create database Far")
        far.execute("Far", ".set T <| range a from 1 to 4 step 1")
        near.execute("NetDefaultDB", ".create database Near")
        near.execute("Near", ".add database Near viewers ('aadapp=ann;contoso')")
        assert [list(row) for row in near.execute("Near", FAR).primary_results[0]] == [[4]]
        assert [list(row) for row in ann.execute("Near", "print 1").primary_results[0]] == [[1]]
        with pytest.raises(KustoServiceError) as refused:
            ann.execute("Near", FAR)
        assert "Far" in str(refused.value)
        far.execute("Far", ".add database Far viewers ('aadapp=ann;contoso')")
        assert [list(row) for row in ann.execute("Near", FAR).primary_results[0]] == [[4]]
