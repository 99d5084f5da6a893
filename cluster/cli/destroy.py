"""``remora destroy``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cluster.cli.options import DEFAULT_NAME, EXIT_USAGE, Name
from cluster.cli.running import fail, launcher, load_setup, run
from cluster.errors import RemoraError

Yes = Annotated[bool, typer.Option("--yes", "-y", envvar="REMORA_YES", help="Do not ask.")]


def destroy(name: Name = DEFAULT_NAME, yes: Yes = False) -> None:
    """Kills every process of a setup and deletes its data."""
    try:
        folder = load_setup(name).folder
    except RemoraError as error:
        fail(error)
    if not yes:
        if not sys.stdin.isatty():
            typer.echo(f"this deletes {folder}; say --yes if you mean it", err=True)
            raise typer.Exit(EXIT_USAGE)
        typer.confirm(f"Delete setup '{name}' with all its data in {folder}?", abort=True)
    run(_destroy, name)


async def _destroy(name: str) -> None:
    await launcher(name).destroy()
    typer.echo(f"setup '{name}' is destroyed")
