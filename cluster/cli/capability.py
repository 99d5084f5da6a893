"""``remora capability CLUSTER on|off``."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final

import typer

from cluster.cli.options import DEFAULT_NAME, AsJson, ClusterName, Name, TimeoutSeconds
from cluster.cli.output import print_json
from cluster.cli.running import load_setup, run
from cluster.errors import TimedOutError

STATUS_SECONDS: Final = 5.0
"""How long the coordinator may take to say why it is not done."""


class Switch(enum.StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


State = Annotated[Switch, typer.Argument(metavar="STATE", help="on or off.")]


def capability(
    cluster: ClusterName,
    state: State,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    timeout: TimeoutSeconds = 60.0,
) -> None:
    """Turns a cluster's streaming ingestion on or off; off returns when it is certain."""
    run(_capability, cluster, state is Switch.ON, name, as_json, timeout)


async def _explained(coordinator: Any, cluster: str, error: TimedOutError) -> TimedOutError:
    """The same error with who is waited for. What was decided stays decided."""
    from cluster.rpc.v1 import coordinator_pb2

    status: coordinator_pb2.GetStatusResponse = await coordinator.GetStatus(
        coordinator_pb2.GetStatusRequest(), timeout=STATUS_SECONDS
    )
    lines = [
        line for known in status.clusters if known.name == cluster for line in known.waiting_for
    ]
    if not lines:
        return error
    why = "; ".join(lines)
    return TimedOutError(
        f"streaming ingestion of {cluster} is being turned off and not done yet: {why}",
        remedy=f"Ask again to wait on, or take it back with: remora capability {cluster} on",
    )


async def _capability(
    cluster: str, on: bool, name: str, as_json: bool, timeout_seconds: float
) -> None:
    from cluster.cli.session import open_coordinator
    from cluster.rpc.v1 import coordinator_pb2

    setup = load_setup(name)
    setup.node_of(cluster)  # a mistyped name is answered with the known ones
    async with open_coordinator(setup) as coordinator:
        try:
            response: coordinator_pb2.SetCapabilityResponse = await coordinator.SetCapability(
                coordinator_pb2.SetCapabilityRequest(cluster=cluster, streaming_ingestion=on),
                timeout=timeout_seconds,
            )
        except TimedOutError as error:
            raise await _explained(coordinator, cluster, error) from error
    certainty = coordinator_pb2.Certainty.Name(response.certainty)
    certainty = certainty.removeprefix("CERTAINTY_").lower()
    word = "on" if on else "off"
    if as_json:
        print_json(
            {
                "cluster": cluster,
                "capability": word,
                "epoch": response.epoch,
                "certainty": certainty,
            }
        )
        return
    how = {
        "confirmed": "; every node concerned has confirmed it",
        "lease_expired": "; a node did not answer, its lease has run out",
    }
    typer.echo(f"streaming ingestion of {cluster} is {word}{how.get(certainty, '')}")
