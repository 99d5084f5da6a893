"""Settings of a follower on real processes: in force at once, and after SIGKILL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from cluster.errors import ReadOnlyError, RemoraError
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from cluster.client import Client
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process


async def row(client: Client, database: str, command: str) -> dict[str, Any]:
    """The one row of a command's result."""
    (found,) = (await client.command(database, command)).table.to_pylist()
    return dict(found)


async def followed_with_overrides(local_setup: LocalSetup) -> None:
    """A table with a row is followed; the follower has settings of its own for everything."""
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    name = local_setup.database
    await leader.command("", f".create database {name} ifnotexists")
    await leader.command(name, ".create table T (Number: long)")
    await leader.command(name, ".alter table T policy streamingingestion enable")
    await leader.command(name, ".alter table T policy caching hot = 30d")
    await leader.command(name, f".add database {name} admins ('aaduser=jack@contoso.com')")
    await local_setup.attach("follower1")
    await leader.ingest(name, "T", b"1\n")
    await local_setup.until_followed("follower1")

    await follower.command(name, f".alter follower database {name} table T policy caching hot = 1d")
    await follower.command(
        name, f".add follower database {name} viewers ('aaduser=jill@contoso.com')"
    )
    await follower.command(
        name, f".alter follower database {name} principals-modification-kind = replace"
    )
    with pytest.raises(ReadOnlyError, match="leader"):
        await follower.command(name, f".add database {name} users ('aaduser=x')")


async def test_overrides_outlive_a_kill_and_end_with_the_attachment(
    local_setup: LocalSetup,
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    name = local_setup.database
    await followed_with_overrides(local_setup)

    async def effective() -> tuple[str, list[str], str]:
        caching = await row(follower, name, ".show table T policy caching")
        people = await follower.command(name, f".show database {name} principals")
        shown = await row(follower, name, f".show follower database {name}")
        return (
            caching["Policy"],
            people.table.column("PrincipalDisplayName").to_pylist(),
            shown["AuthorizedPrincipalsModificationKind"],
        )

    before = await effective()
    assert '"1.00:00:00"' in before[0]
    assert before[1:] == (["jill@contoso.com"], "Replace")

    await local_setup.kill("follower1/0")
    await leader.command(name, ".alter table T policy caching hot = 60d")
    await leader.ingest(name, "T", b"2\n")
    await local_setup.start("follower1/0")
    await local_setup.until_followed("follower1")
    assert await effective() == before

    state = await row(follower, name, f".show follower database {name} details")
    assert (state["LeaderCluster"], state["Gate"], state["IsConnected"]) == ("leader", "open", True)
    assert state["Position"] == '{"T":2}'
    assert state["RowsVisible"] == 2

    await follower.command(name, f".drop follower database {name} from 'leader'")
    with trio.fail_after(20):
        while True:
            try:
                await follower.command(name, ".show tables")
            except RemoraError:
                break
            await trio.sleep(0.02)
    assert (await follower.command("", ".show follower databases")).table.num_rows == 0

    # The setup counts on the attachment it made: made again, it has no settings.
    coordinator = coordinator_pb2_grpc.CoordinatorServiceStub(local_setup.channel("coordinator"))
    await coordinator.Attach(
        coordinator_pb2.AttachRequest(
            leader_cluster="leader", database=name, follower_cluster="follower1"
        ),
        timeout=20,
    )
    await local_setup.until_followed("follower1")
    caching, people, kind = await effective()
    assert '"60.00:00:00"' in caching
    assert (people, kind) == (["jack@contoso.com"], "Union")
