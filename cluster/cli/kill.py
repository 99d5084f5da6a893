"""``remora kill NODE``."""

from __future__ import annotations

import typer

from cluster.cli.options import DEFAULT_NAME, Name, Process
from cluster.cli.running import launcher, run


def kill(process: Process, name: Name = DEFAULT_NAME) -> None:
    """Kills a process with SIGKILL, as a power cut would. Acknowledged rows survive it."""
    run(_kill, process, name)


async def _kill(process: str, name: str) -> None:
    record = await launcher(name).kill(process)
    typer.echo(f"{record.id} is killed (pid {record.pid})")
