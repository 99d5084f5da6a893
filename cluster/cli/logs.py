"""``remora logs NODE``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cluster.cli.options import DEFAULT_NAME, EXIT_FAILED, Name, Process
from cluster.cli.running import fail, load_setup
from cluster.errors import RemoraError

Follow = Annotated[
    bool, typer.Option("--follow", "-f", envvar="REMORA_FOLLOW", help="Go on as it grows.")
]
Lines = Annotated[
    int, typer.Option("--lines", "-n", envvar="REMORA_LINES", min=1, help="How many last lines.")
]


def logs(
    process: Process, name: Name = DEFAULT_NAME, follow: Follow = False, lines: Lines = 200
) -> None:
    """Prints the log of a process; it spans restarts."""
    from cluster.launcher.processes import last_lines

    try:
        log = load_setup(name).process(process).log
    except RemoraError as error:
        fail(error)
    if not follow:
        for line in last_lines(log, lines):
            typer.echo(line)
    elif log.exists():
        command = ["tail", "-n", str(lines), "-F", "--", str(log)]
        os.execvp(command[0], command)  # noqa: S606 - tail knows how to wait for a file to grow
    else:
        typer.echo(f"there is no log at {log} yet", err=True)
        raise typer.Exit(EXIT_FAILED)
