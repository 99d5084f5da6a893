"""``remora adopt``: the coordinator takes the place of whatever coordinator the nodes obey."""

from __future__ import annotations

import typer

from cluster.cli.options import DEFAULT_NAME, Name, TimeoutSeconds
from cluster.cli.running import load_setup, run


def adopt(name: Name = DEFAULT_NAME, timeout: TimeoutSeconds = 30.0) -> None:
    """Ends the doubt who the coordinator is, after its data was lost, copied or restored.

    Say it only when no other coordinator of these nodes runs. What the present one knows counts
    then, also where decisions were taken since that it does not know.
    """
    run(_adopt, name, timeout)


async def _adopt(name: str, timeout_seconds: float) -> None:
    from cluster.cli.session import open_coordinator
    from cluster.rpc.v1 import coordinator_pb2

    async with open_coordinator(load_setup(name)) as coordinator:
        response: coordinator_pb2.AdoptResponse = await coordinator.Adopt(
            coordinator_pb2.AdoptRequest(), timeout=timeout_seconds
        )
    typer.echo("the coordinator takes the place of any other that nodes obey, until it stops")
    if response.doubt:
        typer.echo(f"until now: {response.doubt}")
