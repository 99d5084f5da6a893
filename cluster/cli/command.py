"""``remora command CLUSTER DB TEXT``."""

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

Text = Annotated[str, typer.Argument(metavar="TEXT", help="For example '.show tables'.")]


def command(
    cluster: ClusterName,
    database: DatabaseName,
    text: Text,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    timeout: TimeoutSeconds = 60.0,
) -> None:
    """Runs a management command (text that starts with a dot)."""
    one_format(as_json, as_csv)
    run(_command, cluster, database, text, name, as_json, as_csv, timeout)


async def _command(
    cluster: str,
    database: str,
    text: str,
    name: str,
    as_json: bool,
    as_csv: bool,
    timeout_seconds: float,
) -> None:
    from cluster.cli.session import open_cluster
    from cluster.client import Client

    async with open_cluster(load_setup(name), cluster) as channel:
        result = await Client(channel).command(database, text, timeout_seconds=timeout_seconds)
    print_result(result, as_json=as_json, as_csv=as_csv)
