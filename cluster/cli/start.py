"""``remora start NODE``."""

from __future__ import annotations

import typer

from cluster.cli.options import DEFAULT_NAME, Name, Process, TimeoutSeconds
from cluster.cli.running import launcher, run


def start(process: Process, name: Name = DEFAULT_NAME, timeout: TimeoutSeconds = 30.0) -> None:
    """Starts a process that was killed, with its data, on its old port."""
    run(_start, process, name, timeout)


async def _start(process: str, name: str, timeout_seconds: float) -> None:
    record = await launcher(name, ready_seconds=timeout_seconds).start(process)
    typer.echo(f"{record.id} is ready at {record.grpc} (pid {record.pid})")
