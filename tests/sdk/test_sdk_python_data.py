"""The unmodified ``azure-kusto-data``: queries, commands, and errors by their own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.kusto.data import KustoClient
from sdk_setup import localhost, sdk_call

if TYPE_CHECKING:
    from cluster.testing.kusto import KustoPair


@sdk_call("python", "KustoClient.execute", "works", "query and command, told apart by the dot")
def test_what_the_leader_has_is_read_on_the_follower(pair: KustoPair) -> None:
    with KustoClient(localhost(pair.leader.url)) as leader:
        leader.execute(pair.database, ".create table T (a: int, b: string)")
        leader.execute(pair.database, ".ingest inline into table T <|\n1,x\n2,y")
    pair.wait_until_followed()
    with KustoClient(localhost(pair.follower.url)) as follower:
        response = follower.execute(pair.database, "T | order by a asc")
    assert [list(row) for row in response.primary_results[0]] == [[1, "x"], [2, "y"]]
