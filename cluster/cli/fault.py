"""``remora fault add|list|clear``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli.options import DEFAULT_NAME, EXIT_CODES, AsJson, Name, TimeoutSeconds
from cluster.cli.output import console, plain_table, print_json
from cluster.cli.running import fail, load_setup, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.conformance.faults import Fault
    from cluster.rpc.v1 import faults_pb2

app = typer.Typer(
    help=(
        "Makes things go wrong in a running setup: links, disks and clocks. Faults add up, each "
        "for its time or until cleared, and are gone after remora down. To stop a process use "
        "remora kill or remora pause."
    ),
    epilog=EXIT_CODES,
    no_args_is_help=True,
)

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET KIND",
        help="Target: leader, follower1/0, coordinator, 'link leader->follower1' or, without "
        "quotes, link leader to follower1 (bytes that the first sends). Kind, for links: "
        "partition, one-way, delay, drop, bandwidth, stall, reset; for processes: disk-full, "
        "slow-fsync, fsync-error, clock.",
    ),
]
Seconds = Annotated[
    str,
    typer.Option(
        "--seconds",
        "--delay",
        envvar="REMORA_FAULT_SECONDS",
        metavar="TIME",
        help="How late (delay), how much longer (slow-fsync), how far ahead (clock; -10s is "
        "behind). Like 50ms, 2s, 1m.",
    ),
]
Jitter = Annotated[
    str,
    typer.Option(
        "--jitter",
        envvar="REMORA_FAULT_JITTER",
        metavar="TIME",
        help="delay: up to so much more, at random.",
    ),
]
Ratio = Annotated[
    float,
    typer.Option(
        "--ratio",
        envvar="REMORA_FAULT_RATIO",
        help="drop, reset, fsync-error: share that is struck, 0 to 1.",
    ),
]
Bandwidth = Annotated[
    str,
    typer.Option(
        "--bandwidth",
        envvar="REMORA_FAULT_BANDWIDTH",
        metavar="RATE",
        help="bandwidth: like 1MB/s or 64KiB/s.",
    ),
]
Leap = Annotated[
    str,
    typer.Option(
        "--leap",
        envvar="REMORA_FAULT_LEAP",
        metavar="TIME",
        help="clock: the monotonic clock leaps forward by this, once; leases run out by it.",
    ),
]
For = Annotated[
    str,
    typer.Option(
        "--for",
        envvar="REMORA_FAULT_FOR",
        metavar="TIME",
        help="How long it lasts. Without: until it is cleared.",
    ),
]
FaultId = Annotated[
    str, typer.Argument(metavar="[ID]", help="Which one, as remora fault list shows it.")
]
All = Annotated[bool, typer.Option("--all", envvar="REMORA_FAULT_ALL", help="All of them.")]


@app.command(epilog=EXIT_CODES)
def add(
    words: Words,
    seconds: Seconds = "",
    jitter: Jitter = "",
    ratio: Ratio = 0.0,
    bandwidth: Bandwidth = "",
    leap: Leap = "",
    lasts: For = "",
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    timeout: TimeoutSeconds = 60.0,
) -> None:
    """Makes something go wrong; returns when it does.

    For example: remora fault add link leader to follower1 delay --delay 50ms --for 30s
    """
    from cluster.errors import RemoraError

    try:
        fault = _parse(words, seconds, jitter, ratio, bandwidth, leap, lasts)
    except RemoraError as error:
        fail(error)
    run(_add, fault, name, as_json, timeout)


def _parse(
    words: list[str],
    seconds: str,
    jitter: str,
    ratio: float,
    bandwidth: str,
    leap: str,
    lasts: str,
) -> Fault:
    """The fault asked for; its target is checked by the coordinator, who knows what there is."""
    from cluster.conformance.faults import Fault
    from cluster.errors import InvalidRequestError
    from cluster.faults.kinds import parse_kind
    from cluster.faults.quantities import parse_rate, parse_seconds

    *target, kind = words
    if not target:
        raise InvalidRequestError(
            f"'{kind}' alone is not enough: a target and a kind are needed",
            remedy="For example: remora fault add leader disk-full",
        )
    duration = parse_seconds(lasts) if lasts else 0.0
    if lasts and duration <= 0:
        raise InvalidRequestError(f"--for must be more than 0, not {lasts}")
    return Fault(
        kind=parse_kind(kind),
        target=" ".join(target),
        duration=duration,
        seconds=parse_seconds(seconds) if seconds else 0.0,
        jitter_seconds=parse_seconds(jitter) if jitter else 0.0,
        ratio=ratio,
        bytes_per_second=parse_rate(bandwidth) if bandwidth else 0,
        monotonic_seconds=parse_seconds(leap) if leap else 0.0,
    )


async def _add(fault: Fault, name: str, as_json: bool, timeout_seconds: float) -> None:
    from cluster.cli.session import open_coordinator_channel
    from cluster.faults.messages import fault_to_message
    from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc

    request = faults_pb2.AddFaultRequest(
        fault=fault_to_message(fault), duration_seconds=fault.duration
    )
    async with open_coordinator_channel(load_setup(name)) as channel:
        stub: Any = faults_pb2_grpc.FaultServiceStub(channel)
        response = await stub.AddFault(request, timeout=timeout_seconds)
    view = fault_view(response.fault)
    if as_json:
        print_json(view)
        return
    typer.echo(_sentence(view))
    if not view["in_effect"]:
        typer.echo("what it strikes has not confirmed it yet: is it down or paused?", err=True)


@app.command("list", epilog=EXIT_CODES)
def list_faults(name: Name = DEFAULT_NAME, as_json: AsJson = False) -> None:
    """Shows the faults there are."""
    run(_list, name, as_json)


async def _list(name: str, as_json: bool) -> None:
    from cluster.cli.session import open_coordinator_channel

    async with open_coordinator_channel(load_setup(name)) as channel:
        faults = await read_faults(channel, timeout_seconds=10.0)
    if as_json:
        print_json({"faults": faults})
    elif not faults:
        typer.echo("no faults")
    else:
        table = plain_table(("id", "target", "kind", "values", "left", "in effect"))
        for view in faults:
            effect = "yes" if view["in_effect"] else "not yet"
            left = _left(view).removesuffix(" left")
            table.add_row(view["id"], view["target"], view["kind"], view["values"], left, effect)
        console().print(table)


@app.command(epilog=EXIT_CODES)
def clear(
    fault_id: FaultId = "",
    every: All = False,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
    timeout: TimeoutSeconds = 60.0,
) -> None:
    """Ends one fault, or all; returns when things go well again."""
    if bool(fault_id) == every:
        raise typer.BadParameter("say which one, or --all")
    run(_clear, fault_id, name, as_json, timeout)


async def _clear(fault_id: str, name: str, as_json: bool, timeout_seconds: float) -> None:
    from cluster.cli.session import open_coordinator_channel
    from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc

    async with open_coordinator_channel(load_setup(name)) as channel:
        stub: Any = faults_pb2_grpc.FaultServiceStub(channel)
        response: faults_pb2.ClearFaultsResponse = await stub.ClearFaults(
            faults_pb2.ClearFaultsRequest(id=fault_id), timeout=timeout_seconds
        )
    views = fault_views(response.faults)
    if as_json:
        print_json({"cleared": views, "confirmed": response.confirmed})
        return
    for view in views:
        typer.echo(f"{view['id']} is over: {view['kind']} on {view['target']}")
    if not views:
        typer.echo("no faults")
    if not response.confirmed:
        typer.echo("what they struck has not confirmed it yet: is it down or paused?", err=True)


async def read_faults(channel: Any, *, timeout_seconds: float) -> list[dict[str, Any]]:
    """The faults there are, as :func:`fault_view` shows them, from the coordinator."""
    from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc

    stub: Any = faults_pb2_grpc.FaultServiceStub(channel)
    response: faults_pb2.ListFaultsResponse = await stub.ListFaults(
        faults_pb2.ListFaultsRequest(), timeout=timeout_seconds
    )
    return fault_views(response.faults)


def fault_views(messages: Iterable[faults_pb2.ActiveFault]) -> list[dict[str, Any]]:
    """Several of them."""
    return [fault_view(message) for message in messages]


def fault_view(message: faults_pb2.ActiveFault) -> dict[str, Any]:
    """One fault as ``--json`` prints it. ``remaining_seconds`` is null for one to be cleared."""
    from cluster.faults.kinds import VALUES, kind_name, values_text
    from cluster.faults.messages import fault_from_message

    fault = fault_from_message(message.fault)
    return {
        "id": message.id,
        "target": fault.target,
        "kind": kind_name(fault.kind),
        "values": values_text(fault),
        **{value: getattr(fault, value) for value in VALUES},
        "age_seconds": round(message.age_seconds, 3),
        "remaining_seconds": round(message.remaining_seconds, 3) or None,
        "in_effect": message.in_effect,
    }


def fault_line(view: dict[str, Any]) -> str:
    """One fault in one line, for ``remora status``."""
    pending = "" if view["in_effect"] else " (not in effect yet)"
    return f"fault {_sentence(view)}{pending}"


def _sentence(view: dict[str, Any]) -> str:
    values = f" ({view['values']})" if view["values"] else ""
    return f"{view['id']}: {view['kind']} on {view['target']}{values}, {_left(view)}"


def _left(view: dict[str, Any]) -> str:
    from cluster.faults.quantities import seconds_text

    left = view["remaining_seconds"]
    return "until cleared" if left is None else f"{seconds_text(left)} left"
