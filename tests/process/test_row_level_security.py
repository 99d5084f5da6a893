"""Row level security on real nodes: leader, follower, another cluster, streamed rows, commands."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
import trio
from azure.kusto.data import ClientRequestProperties
from azure.kusto.data.data_format import DataFormat
from azure.kusto.ingest import IngestionProperties, KustoStreamingIngestClient
from guarded_setup import address_as, client_as, guarded_setup, guarded_topology, rows_of

from cluster.testing.local import LocalSetup, launcher_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.kusto.data import KustoClient

    from cluster.launcher.setup import Setup

pytestmark = [pytest.mark.process, pytest.mark.slow]

POLICY = "let mine = Owners | where who == current_principal() | project a; T | where a in ((mine))"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    topology = guarded_topology("leader", "follower")
    with guarded_setup(tmp_path_factory.mktemp("rows"), topology) as setup:
        yield setup


def read(client: KustoClient, text: str, database: str = "Home", **options: Any) -> list[Any]:
    properties = ClientRequestProperties()
    for name, value in options.items():
        properties.set_option(name, value)
    return sorted(row[0] for row in rows_of(client, database, text, properties))


async def test_everybody_reads_what_the_policy_gives_them_wherever_they_ask(
    guarded: Setup,
) -> None:
    await trio.to_thread.run_sync(prepare, guarded)
    local_setup = LocalSetup.connected(launcher_in(guarded.folder.parent), guarded, database="Home")
    async with local_setup as local:
        await local.attach("follower")
        seen = (await local.client("leader").query("Home", "Owners | count")).position
        assert seen is not None
        await local.wait_for("follower", seen)
        await trio.to_thread.run_sync(look, guarded)
        await local.detach("follower")


def prepare(setup: Setup) -> None:
    with client_as(setup, "leader", "boss") as boss:
        boss.execute("NetDefaultDB", ".create database Home")
        for command in (
            ".create table T (a:long)",
            ".create table Owners (a:long, who:string)",
            ".set-or-append T <| print a = long(1)",
            ".alter table T policy streamingingestion enable",
            ".add database Home viewers ('aadapp=ann')",
            ".ingest inline into table Owners <|\n9,nobody",
        ):
            boss.execute("Home", command)
        me = read(boss, "print current_principal()")[0]
        boss.execute("Home", f".set-or-append Owners <| print a = long(1), who = '{me}'")
        with client_as(setup, "leader", "ann") as ann:
            me = read(ann, "print current_principal()")[0]
        boss.execute(
            "Home", f".set-or-append Owners <| range a from 2 to 3 step 1 | extend who = '{me}'"
        )
        boss.execute("Home", f'.alter table T policy row_level_security disable "{POLICY}"')
        assert read(boss, "T") == [1]
        boss.execute("Home", f'.alter table T policy row_level_security enable "{POLICY}"')
        streaming = KustoStreamingIngestClient(address_as(setup, "leader", "boss"))
        given = IngestionProperties("Home", "T", data_format=DataFormat.CSV)
        streaming.ingest_from_stream(io.BytesIO(b"2\n3\n4\n"), given)
        streaming.close()


def look(setup: Setup) -> None:
    for cluster in ("leader", "follower"):
        with client_as(setup, cluster, "boss") as boss, client_as(setup, cluster, "ann") as ann:
            assert read(boss, "T") == [1], "an administrator too"
            assert read(ann, "T") == [2, 3], "streamed rows"
            assert read(ann, "T | count") == [2]
            assert read(ann, "search '4'") == []
            assert read(ann, "database('Home').T", "Home") == [2, 3]
    far = "cluster('leader').database('Home').T"
    with client_as(setup, "follower", "ann") as ann:
        assert read(ann, far) == [2, 3]
    with client_as(setup, "leader", "boss") as boss:
        boss.execute("Home", ".set Taken <| T")
        assert read(boss, "Taken") == [1]
        boss.execute("Home", f'.alter table T policy row_level_security disable "{POLICY}"')
        assert read(boss, "T") == [1, 2, 3, 4]
        assert read(boss, "T", query_force_row_level_security=True) == [1]
