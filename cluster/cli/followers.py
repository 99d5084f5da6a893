"""``remora followers LEADER``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli.options import DEFAULT_NAME, AsJson, Name, TimeoutSeconds
from cluster.cli.output import console, plain_table, print_json
from cluster.cli.running import load_setup, run

if TYPE_CHECKING:
    from rich.table import Table

Leader = Annotated[str, typer.Argument(metavar="LEADER", help="The cluster that is followed.")]


def followers(
    leader: Leader,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    timeout: TimeoutSeconds = 30.0,
) -> None:
    """Shows who follows a cluster: configurations, names there, what is shared."""
    run(_followers, leader, name, as_json, timeout)


async def _followers(leader: str, name: str, as_json: bool, timeout_seconds: float) -> None:
    from cluster.cli.session import open_coordinator
    from cluster.cli.view import configuration_view
    from cluster.rpc.v1 import coordinator_pb2

    async with open_coordinator(load_setup(name)) as coordinator:
        answer: coordinator_pb2.ListFollowerDatabasesResponse = (
            await coordinator.ListFollowerDatabases(
                coordinator_pb2.ListFollowerDatabasesRequest(leader_cluster=leader),
                timeout=timeout_seconds,
            )
        )
    found = [configuration_view(status) for status in answer.configurations]
    if as_json:
        print_json({"leader": leader, "configurations": found})
    elif not found:
        typer.echo(f"nobody follows {leader}")
    else:
        console().print(_table(found))


def _table(found: list[dict[str, Any]]) -> Table:
    table = plain_table(
        ["follower", "configuration", "database", "there", "shared", "origin", "state"]
    )
    for item in found:
        about = [item["follower"], item["configuration"]]
        shared = shared_text(item["sharing"])
        lines = [
            *((one["database"], one["follower_database"], "attached") for one in item["attached"]),
            *((one["database"], one["follower_database"], one["reason"])
              for one in item["unattached"]),
        ] or [(item["database"], "", "nothing to attach yet")]  # fmt: skip
        for database, there, state in lines:
            table.add_row(*about, database, there, shared, item["origin"], state)
            about = ["", ""]  # further databases stand below the configuration's line
    return table


def shared_text(sharing: dict[str, list[str]]) -> str:
    """What is shared, in a few words: ``tables T, Logs*; not functions F``."""
    parts = []
    for name, entries in sharing.items():
        kind, _, option = name.partition("_to_")
        words = f"{kind.replace('_', ' ')} {', '.join(entries)}"
        parts.append(words if option == "include" else f"not {words}")
    return "; ".join(parts) or "everything"
