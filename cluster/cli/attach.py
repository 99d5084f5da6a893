"""``remora attach LEADER/DB FOLLOWER``."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.options import DEFAULT_NAME, AsJson, Name, TimeoutSeconds
from cluster.cli.output import print_json
from cluster.cli.running import load_setup, run

Source = Annotated[str, typer.Argument(metavar="LEADER/DB", help="For example leader/MyDatabase.")]
Follower = Annotated[str, typer.Argument(metavar="FOLLOWER", help="The cluster that follows.")]


def split_source(source: str) -> tuple[str, str]:
    """``leader/MyDatabase`` as cluster and database; wrong usage without a slash."""
    cluster, slash, database = source.partition("/")
    if not (cluster and slash and database):
        raise typer.BadParameter(
            f"'{source}' is not LEADER/DB, for example leader/NetDefaultDB", param_hint="LEADER/DB"
        )
    return cluster, database


def attach(
    source: Source,
    follower: Follower,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    timeout: TimeoutSeconds = 30.0,
) -> None:
    """Lets a cluster follow a database of another one."""
    leader, database = split_source(source)
    run(_attach, leader, database, follower, name, as_json, timeout)


async def _attach(
    leader: str, database: str, follower: str, name: str, as_json: bool, timeout_seconds: float
) -> None:
    from cluster.cli.session import open_coordinator
    from cluster.rpc.v1 import coordinator_pb2

    setup = load_setup(name)
    for cluster in (leader, follower):
        setup.node_of(cluster)
    async with open_coordinator(setup) as coordinator:
        response: coordinator_pb2.AttachResponse = await coordinator.Attach(
            coordinator_pb2.AttachRequest(
                leader_cluster=leader, database=database, follower_cluster=follower
            ),
            timeout=timeout_seconds,
        )
    grant = response.grant
    if as_json:
        print_json(
            {
                "leader": leader,
                "database": grant.database,
                "follower": follower,
                "epoch": grant.epoch,
                "rows": grant.rows,
                "refusal": grant.reason,
            }
        )
    elif grant.rows:
        typer.echo(f"{follower} follows {leader}/{grant.database}")
    else:
        typer.echo(f"{follower} follows {leader}/{grant.database}, sealed data only:")
        typer.echo(f"streaming rows are refused: {grant.reason}")
