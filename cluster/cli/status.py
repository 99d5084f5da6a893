"""``remora status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli.fault import fault_line
from cluster.cli.options import DEFAULT_NAME, AsJson, Name
from cluster.cli.output import console, plain_table, print_json
from cluster.cli.running import load_setup, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from cluster.launcher.identity import ProcessState
    from cluster.launcher.setup import Setup

Watch = Annotated[
    bool, typer.Option("--watch", "-w", envvar="REMORA_WATCH", help="Redraw every second.")
]

ANSWER_SECONDS = 2.0
WATCH_SECONDS = 1.0
ROOMY_CHARACTERS = 150
"""Width of a terminal from which on every column is shown."""
NARROW_CHARACTERS = 120
"""Width below which addresses and positions are left out; ``--json`` has them."""


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
            output = console()
            output.print(render(view, output.width))
        return
    if as_json:
        while True:
            print_json(await read_status(load_setup(name)))
            await trio.sleep(WATCH_SECONDS)
    from rich.live import Live

    output = console()
    with Live(console=output, auto_refresh=False, screen=False) as live:
        while True:
            view = await read_status(load_setup(name))
            live.update(render(view, output.width), refresh=True)
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


def render(view: dict[str, Any], width: int) -> RenderableType:
    """The view for people: one line a node, then a sentence for each closed gate.

    A line of ``width`` characters has what fits: pid, lease and HTTP only if there is room, and
    neither gRPC nor position in 80 characters.
    """
    from rich.console import Group
    from rich.text import Text

    left = (
        *("node", "pid", "state", "lease", "gRPC", "HTTP"),
        *("streaming", "database", "gate", "position"),
    )
    right = ("lag ms p50/p99", "rows")
    hidden = () if width >= ROOMY_CHARACTERS else ("pid", "lease", "HTTP")
    if width < NARROW_CHARACTERS:
        hidden = (*hidden, "gRPC", "position")
    table = plain_table(
        [column for column in (*left, *right) if column not in hidden],
        right=("pid", *right),
        solid=[column for column in (*left, *right) if column not in {"database", right[0]}],
    )

    def add(values: Sequence[RenderableType]) -> None:
        columns = zip((*left, *right), values, strict=False)
        table.add_row(*(value for column, value in columns if column not in hidden))

    coordinator = view["coordinator"]
    add(
        [
            "coordinator",
            str(coordinator["pid"]),
            _state(coordinator["state"]),
            "",
            coordinator["grpc"],
        ]
    )
    for cluster in view["clusters"]:
        for node in cluster["nodes"]:
            row: list[RenderableType] = [
                node["id"],
                str(node["pid"]),
                _state(node["state"]),
                "yes" if node["lease"] else Text("no", style="red"),
                node["grpc"],
                node["http"] or "",
                cluster["capability"] + (" (changing)" if cluster["changing"] else ""),
            ]
            owned = [_owned(base) for base in cluster["databases"] if base["streaming_content"]]
            followed = [_attachment(source) for source in cluster["attachments"]]
            for cells in [*owned, *followed] or [[]]:
                add([*row, *cells])
                row = [""] * len(row)  # further databases stand below the node's line
    notes = _notes(view)
    head = Text(f"setup '{view['name']}' in {view['folder']}\n")
    return Group(head, table, *([Text("")] if notes else []), *notes)


def _notes(view: dict[str, Any]) -> list[Text]:
    """A sentence for the problem, each closed gate, each change under way, each fault."""
    from rich.text import Text

    notes = [Text(view["problem"], style="red")] if view["problem"] else []
    for cluster in view["clusters"]:
        notes += [
            Text(
                f"{cluster['name']} shows no streaming rows of {source['leader']}/"
                f"{source['database']}: {source['refusal']}"
            )
            for source in cluster["attachments"]
            if source["gate"] == "closed"
        ]
        notes += [
            Text(
                f"{cluster['name']} does not follow {item['leader']}/{item['database']} "
                f"({item['configuration']}): {item['reason']}"
            )
            for item in cluster["unattached"]
        ]
    notes += [
        Text(f"{cluster['name']} is being turned off: {line}", style="yellow")
        for cluster in view["clusters"]
        for line in cluster["waiting_for"]
    ]
    return [*notes, *(Text(fault_line(fault), style="yellow") for fault in view["faults"])]


def _owned(database: dict[str, Any]) -> list[RenderableType]:
    position = database["position"]
    return [database["name"], "", _position(position), "", f"{position['rows']:,}"]


def _position(position: dict[str, Any] | None) -> str:
    return "-" if position is None else f"{position['version']} @{position['rows']:,}"


def _attachment(attachment: dict[str, Any]) -> list[RenderableType]:
    from rich.text import Text

    p50, p99 = attachment["lag_ms_p50"], attachment["lag_ms_p99"]
    is_open = attachment["gate"] == "open"
    name = f"{attachment['leader']}/{attachment['database']}"
    if attachment["follower_database"] != attachment["database"]:
        name += f" as {attachment['follower_database']}"
    if attachment["sharing"]:
        name += " (in part)"
    return [
        name,
        Text(attachment["gate"], style="green" if is_open else "red"),
        _position(attachment["position"]),
        "-" if p50 is None or p99 is None else f"{p50:.2f} / {p99:.2f}",
        f"{attachment['rows']:,}",
    ]


def _state(state: str) -> RenderableType:
    from rich.text import Text

    return Text(state, style={"running": "green", "paused": "yellow"}.get(state, "red"))
