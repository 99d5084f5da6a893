"""``remora attach LEADER/DB FOLLOWER``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.options import DEFAULT_NAME, AsJson, Name, TimeoutSeconds
from cluster.cli.output import print_json
from cluster.cli.running import load_setup, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.rpc.v1 import coordinator_pb2

Source = Annotated[
    str,
    typer.Argument(
        metavar="LEADER/DB", help="For example leader/MyDatabase; leader/* is all of them."
    ),
]
Follower = Annotated[str, typer.Argument(metavar="FOLLOWER", help="The cluster that follows.")]
As = Annotated[
    str,
    typer.Option("--as", envvar="REMORA_AS", help="Name of the database on the follower."),
]
Prefix = Annotated[
    str,
    typer.Option(
        "--prefix", envvar="REMORA_PREFIX", help="Goes before each database's name there."
    ),
]
Include = Annotated[
    str,
    typer.Option(
        "--include",
        envvar="REMORA_INCLUDE",
        help="Tables that are shared, no others: T1,Logs*. Also function:F, external-table:E and "
        "materialized-view:V. What is excluded is excluded all the same.",
    ),
]
Exclude = Annotated[
    str,
    typer.Option(
        "--exclude",
        envvar="REMORA_EXCLUDE",
        help="Tables that are not shared, written as for --include.",
    ),
]
Principals = Annotated[
    str,
    typer.Option(
        "--principals",
        envvar="REMORA_PRINCIPALS",
        help="How principals of the follower combine with the leader's: none, union or replace.",
    ),
]
ConfigurationName = Annotated[
    str,
    typer.Option(
        "--config",
        envvar="REMORA_CONFIG",
        help="Name of the attachment configuration; by default LEADER.DB.",
    ),
]
DataShare = Annotated[
    bool,
    typer.Option(
        "--data-share", envvar="REMORA_DATA_SHARE", help="Attach as Azure Data Share does."
    ),
]

_KINDS = {
    "table": "tables",
    "function": "functions",
    "external-table": "external_tables",
    "materialized-view": "materialized_views",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for besides leader, database and follower; empty: as it is."""

    override: str = ""
    prefix: str = ""
    principals: str = ""
    configuration: str = ""
    data_share: bool = False
    sharing: Mapping[str, list[str]] = field(default_factory=dict)


def split_source(source: str) -> tuple[str, str]:
    """``leader/MyDatabase`` as cluster and database; wrong usage without a slash."""
    cluster, slash, database = source.partition("/")
    if not (cluster and slash and database):
        raise typer.BadParameter(
            f"'{source}' is not LEADER/DB, for example leader/NetDefaultDB", param_hint="LEADER/DB"
        )
    return cluster, database


def in_order(one: str, other: str) -> tuple[str, str]:
    """Source and follower, in whichever order they were written: only a source has a slash."""
    return (other, one) if "/" in other and "/" not in one else (one, other)


def sharing_lists(include: str, exclude: str) -> dict[str, list[str]]:
    """The lists of ``TableLevelSharing`` that ``--include`` and ``--exclude`` name."""
    lists: dict[str, list[str]] = {}
    for option, entries in (("include", include), ("exclude", exclude)):
        for entry in filter(None, map(str.strip, entries.split(","))):
            kind, colon, name = entry.rpartition(":")
            if colon and kind not in _KINDS:
                known = ", ".join(f"{kind}:" for kind in _KINDS)
                raise typer.BadParameter(
                    f"'{entry}': there is no kind '{kind}'; known are {known}",
                    param_hint=f"--{option}",
                )
            lists.setdefault(f"{_KINDS[kind or 'table']}_to_{option}", []).append(name)
    return lists


def attach(
    source: Source,
    follower: Follower,
    override: As = "",
    prefix: Prefix = "",
    include: Include = "",
    exclude: Exclude = "",
    principals: Principals = "",
    config: ConfigurationName = "",
    data_share: DataShare = False,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    timeout: TimeoutSeconds = 30.0,
) -> None:
    """Lets a cluster follow a database of another one, or all of them.

    Again with another --include, --exclude or --principals: changes what is shared. --include '*'
    shares everything again.
    """
    source, follower = in_order(source, follower)
    leader, database = split_source(source)
    wanted = Wanted(
        override, prefix, principals, config, data_share, sharing_lists(include, exclude)
    )
    run(_attach, leader, database, follower, wanted, name, as_json, timeout)


async def _attach(
    leader: str,
    database: str,
    follower: str,
    wanted: Wanted,
    name: str,
    as_json: bool,
    timeout_seconds: float,
) -> None:
    from cluster.cli.session import open_coordinator
    from cluster.rpc.v1 import coordinator_pb2, types_pb2

    setup = load_setup(name)
    for cluster in (leader, follower):
        setup.node_of(cluster)
    request = coordinator_pb2.AttachRequest(
        leader_cluster=leader,
        database=database,
        follower_cluster=follower,
        configuration=wanted.configuration,
        database_name_override=wanted.override,
        database_name_prefix=wanted.prefix,
        default_principals_modification_kind=wanted.principals,
        origin="DataShare" if wanted.data_share else "",
    )
    if wanted.sharing:
        request.sharing.CopyFrom(types_pb2.TableLevelSharing(**wanted.sharing))
    async with open_coordinator(setup) as coordinator:
        response: coordinator_pb2.AttachResponse = await coordinator.Attach(
            request, timeout=timeout_seconds
        )
    if as_json:
        print_json(_as_json(leader, database, follower, response))
    else:
        for line in _as_text(leader, follower, response):
            typer.echo(line)


def _as_json(
    leader: str, database: str, follower: str, response: coordinator_pb2.AttachResponse
) -> dict[str, object]:
    from cluster.cli.view import configuration_view

    grant = response.grant
    return {
        "leader": leader,
        "database": grant.database or database,
        "follower": follower,
        "epoch": grant.epoch,
        "rows": grant.rows,
        "refusal": grant.reason,
        "configuration": configuration_view(response.status),
    }


def _as_text(leader: str, follower: str, response: coordinator_pb2.AttachResponse) -> list[str]:
    status = response.status
    lines = []
    for grant in status.attached:
        renamed = grant.follower_database not in ("", grant.database)
        name = f" as {grant.follower_database}" if renamed else ""
        words = f"{follower} follows {leader}/{grant.database}{name}"
        if grant.rows:
            lines.append(words)
        elif grant.strict:
            lines.append(
                f"{follower} is to follow {leader}/{grant.database}{name}, and does not yet:"
            )
            lines.append(grant.reason)
        else:
            lines.append(f"{words}, sealed data only:")
            lines.append(f"streaming rows are refused: {grant.reason}")
    lines += [
        f"{follower} does not follow {leader}/{item.database} now: {item.reason}"
        for item in status.unattached
    ]
    if status.configuration.database == "*":
        lines.append(f"{follower} follows every database that {leader} gets")
    return lines
