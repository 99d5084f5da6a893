"""``remora detach LEADER/DB FOLLOWER``."""

from __future__ import annotations

import typer

from cluster.cli.attach import Follower, Source, split_source
from cluster.cli.options import DEFAULT_NAME, Name, TimeoutSeconds
from cluster.cli.running import load_setup, run


def detach(
    source: Source,
    follower: Follower,
    name: Name = DEFAULT_NAME,
    timeout: TimeoutSeconds = 30.0,
) -> None:
    """Ends an attachment; returns when no node of the follower can show it any more."""
    leader, database = split_source(source)
    run(_detach, leader, database, follower, name, timeout)


async def _detach(
    leader: str, database: str, follower: str, name: str, timeout_seconds: float
) -> None:
    from cluster.cli.session import open_coordinator
    from cluster.rpc.v1 import coordinator_pb2

    async with open_coordinator(load_setup(name)) as coordinator:
        await coordinator.Detach(
            coordinator_pb2.DetachRequest(
                leader_cluster=leader, database=database, follower_cluster=follower
            ),
            timeout=timeout_seconds,
        )
    typer.echo(f"{follower} does not follow {leader}/{database} any more")
