"""``remora down``."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.options import DEFAULT_NAME, Name, with_name
from cluster.cli.running import launcher, run

Grace = Annotated[
    float,
    typer.Option(
        "--grace", envvar="REMORA_GRACE", min=0.001, help="Seconds before SIGKILL follows SIGTERM."
    ),
]


def down(name: Name = DEFAULT_NAME, grace: Grace = 10.0) -> None:
    """Stops every process of a setup and keeps its data."""
    run(_down, name, grace)


async def _down(name: str, grace_seconds: float) -> None:
    killed = await launcher(name, grace_seconds=grace_seconds).down()
    for process in killed:
        typer.echo(f"{process} did not stop within {grace_seconds:g} s and was killed", err=True)
    typer.echo(f"setup '{name}' is down; its data stays. Again: {with_name('remora up', name)}")
