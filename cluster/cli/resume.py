"""``remora resume NODE``."""

from __future__ import annotations

import typer

from cluster.cli.options import DEFAULT_NAME, Name, Process
from cluster.cli.running import launcher, run


def resume(process: Process, name: Name = DEFAULT_NAME) -> None:
    """Continues a paused process (SIGCONT)."""
    run(_resume, process, name)


async def _resume(process: str, name: str) -> None:
    record = launcher(name).resume(process)
    typer.echo(f"{record.id} is resumed (pid {record.pid})")
