"""``remora query CLUSTER DB KQL``."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.options import (
    DEFAULT_NAME,
    AsCsv,
    AsJson,
    ClusterName,
    DatabaseName,
    Name,
    TimeoutSeconds,
)
from cluster.cli.output import one_format, print_result
from cluster.cli.running import load_setup, run

Kql = Annotated[str, typer.Argument(metavar="KQL", help="For example 'MyTable | count'.")]

MaxStaleness = Annotated[
    float | None,
    typer.Option(
        "--max-staleness",
        envvar="REMORA_MAX_STALENESS",
        metavar="SECONDS",
        min=0.0,
        help="Refuse an answer that may be further behind the leader than this.",
    ),
]


def query(
    cluster: ClusterName,
    database: DatabaseName,
    kql: Kql,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    timeout: TimeoutSeconds = 240.0,
    max_staleness: MaxStaleness = None,
) -> None:
    """Answers a KQL query from what a leader or follower shows now."""
    one_format(as_json, as_csv)
    run(_query, cluster, database, kql, name, as_json, as_csv, timeout, max_staleness)


async def _query(
    cluster: str,
    database: str,
    kql: str,
    name: str,
    as_json: bool,
    as_csv: bool,
    timeout_seconds: float,
    max_staleness_seconds: float | None,
) -> None:
    from cluster.cli.session import open_cluster
    from cluster.client import Client

    async with open_cluster(load_setup(name), cluster) as channel:
        result = await Client(channel).query(
            database,
            kql,
            max_staleness_seconds=max_staleness_seconds,
            timeout_seconds=timeout_seconds,
        )
    print_result(result, as_json=as_json, as_csv=as_csv)
    if result.hidden_reason:
        typer.echo(f"note: streaming rows are hidden here: {result.hidden_reason}", err=True)
