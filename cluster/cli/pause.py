"""``remora pause NODE``."""

from __future__ import annotations

import typer

from cluster.cli.options import DEFAULT_NAME, Name, Process
from cluster.cli.running import launcher, run


def pause(process: Process, name: Name = DEFAULT_NAME) -> None:
    """Stops a process in its tracks (SIGSTOP): its connections stay, it does nothing."""
    run(_pause, process, name)


async def _pause(process: str, name: str) -> None:
    record = await launcher(name).pause(process)
    typer.echo(f"{record.id} is paused (pid {record.pid})")
