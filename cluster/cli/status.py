"""``remora status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli.options import DEFAULT_NAME, AsJson, Name
from cluster.cli.output import console, plain_table, print_json
from cluster.cli.running import load_setup, run

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cluster.launcher.identity import ProcessState
    from cluster.launcher.setup import Setup

Watch = Annotated[
    bool, typer.Option("--watch", "-w", envvar="REMORA_WATCH", help="Redraw every second.")
]

ANSWER_SECONDS = 2.0
WATCH_SECONDS = 1.0


def status(name: Name = DEFAULT_NAME, as_json: AsJson = False, watch: Watch = False) -> None:
    """Shows processes, capabilities, attachments, gates, positions and lag.

    With --watch and --json: one line a second.
    """
    run(_status, name, as_json, watch)


async def _status(name: str, as_json: bool, watch: bool) -> None:
    import trio

    if not watch:
        view = await read_status(load_setup(name))
        if as_json:
            print_json(view)
        else:
            console().print(render(view))
        return
    if as_json:
        while True:
            print_json(await read_status(load_setup(name)))
            await trio.sleep(WATCH_SECONDS)
    from rich.live import Live

    with Live(console=console(), auto_refresh=False, screen=False) as live:
        while True:
            live.update(render(await read_status(load_setup(name))), refresh=True)
            await trio.sleep(WATCH_SECONDS)


async def read_status(setup: Setup) -> dict[str, Any]:
    """Asks the operating system and the coordinator. Works when either has nothing to say.

    Raises UnavailableError if the whole setup is down.
    """
    from cluster.cli.session import open_coordinator
    from cluster.cli.view import status_view
    from cluster.errors import RemoraError
    from cluster.launcher.identity import state_of
    from cluster.launcher.lifecycle import check_up
    from cluster.rpc.v1 import coordinator_pb2

    check_up(setup)
    states: dict[str, ProcessState] = {
        record.id: state_of(record.identity) for record in setup.processes.values()
    }
    answer: coordinator_pb2.GetStatusResponse | None = None
    problem = ""
    try:
        async with open_coordinator(setup) as coordinator:
            answer = await coordinator.GetStatus(
                coordinator_pb2.GetStatusRequest(), timeout=ANSWER_SECONDS
            )
    except RemoraError as error:
        problem = f"the coordinator does not answer: {error.message}"
    return status_view(setup, states, answer, problem)


def render(view: dict[str, Any]) -> RenderableType:
    """The view for people: one line a node, then a sentence for each closed gate."""
    from rich.console import Group
    from rich.text import Text

    columns = ("node", "pid", "state", "lease", "gRPC", "streaming", "follows", "gate")
    numbers = ("pid", "rows", "lag ms p50/p99")
    table = plain_table((*columns, "position", "lag ms p50/p99", "rows"), right=numbers)
    coordinator = view["coordinator"]
    table.add_row(
        "coordinator",
        str(coordinator["pid"]),
        _state(coordinator["state"]),
        "",
        coordinator["grpc"],
    )
    notes: list[Text] = []
    for cluster in view["clusters"]:
        for node in cluster["nodes"]:
            row = [
                node["id"],
                str(node["pid"]),
                _state(node["state"]),
                "yes" if node["lease"] else Text("no", style="red"),
                node["grpc"],
                cluster["capability"] + (" (changing)" if cluster["changing"] else ""),
            ]
            for attachment in cluster["attachments"] or [None]:
                table.add_row(*row, *_attachment(attachment))
                row = [""] * len(row)  # further attachments stand below the node's line
        notes += [
            Text(
                f"{cluster['name']} shows no streaming rows of {source['leader']}/"
                f"{source['database']}: {source['refusal']}"
            )
            for source in cluster["attachments"]
            if source["gate"] == "closed"
        ]
    head = Text(f"setup '{view['name']}' in {view['folder']}\n")
    if view["problem"]:
        notes.insert(0, Text(view["problem"], style="red"))
    return Group(head, table, *([Text("")] if notes else []), *notes)


def _attachment(attachment: dict[str, Any] | None) -> list[RenderableType]:
    from rich.text import Text

    if attachment is None:
        return ["", "", "", "", ""]
    position = attachment["position"]
    p50, p99 = attachment["lag_ms_p50"], attachment["lag_ms_p99"]
    is_open = attachment["gate"] == "open"
    return [
        f"{attachment['leader']}/{attachment['database']}",
        Text(attachment["gate"], style="green" if is_open else "red"),
        "-" if position is None else f"{position['version']} @{position['rows']:,}",
        "-" if p50 is None or p99 is None else f"{p50:.2f} / {p99:.2f}",
        f"{attachment['rows']:,}",
    ]


def _state(state: str) -> RenderableType:
    from rich.text import Text

    return Text(state, style={"running": "green", "paused": "yellow"}.get(state, "red"))
