"""``remora detach LEADER/DB FOLLOWER``."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.attach import ConfigurationName, in_order, split_source
from cluster.cli.options import DEFAULT_NAME, Name, TimeoutSeconds
from cluster.cli.running import load_setup, run

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="LEADER/DB FOLLOWER",
        help="leader/* for all of a leader; with --config: FOLLOWER, or LEADER FOLLOWER.",
    ),
]


def detach(
    targets: Targets,
    config: ConfigurationName = "",
    name: Name = DEFAULT_NAME,
    timeout: TimeoutSeconds = 30.0,
) -> None:
    """Ends an attachment; returns when no node of the follower can show it any more.

    With --config: everything of a configuration, from the follower's side or from the leader's.
    """
    if config:
        if len(targets) not in (1, 2) or any("/" in target for target in targets):
            raise typer.BadParameter("with --config: FOLLOWER, or LEADER FOLLOWER")
        leader = targets[0] if len(targets) == 2 else ""
        run(_delete, leader, targets[-1], config, name, timeout)
        return
    if len(targets) != 2:
        raise typer.BadParameter("two are needed: LEADER/DB FOLLOWER")
    source, follower = in_order(*targets)
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


async def _delete(
    leader: str, follower: str, config: str, name: str, timeout_seconds: float
) -> None:
    from cluster.cli.session import open_coordinator
    from cluster.rpc.v1 import coordinator_pb2

    async with open_coordinator(load_setup(name)) as coordinator:
        if leader:
            await coordinator.DetachFollowerDatabases(
                coordinator_pb2.DetachFollowerDatabasesRequest(
                    leader_cluster=leader, follower_cluster=follower, configuration=config
                ),
                timeout=timeout_seconds,
            )
        else:
            await coordinator.DeleteAttachmentConfiguration(
                coordinator_pb2.DeleteAttachmentConfigurationRequest(
                    follower_cluster=follower, name=config
                ),
                timeout=timeout_seconds,
            )
    typer.echo(f"attachment configuration '{config}' of {follower} is deleted")
