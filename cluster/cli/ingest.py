"""``remora ingest CLUSTER DB TABLE FILE...``."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cluster.cli.options import DEFAULT_NAME, AsJson, ClusterName, DatabaseName, Name
from cluster.cli.output import print_json
from cluster.cli.running import load_setup, run

if TYPE_CHECKING:
    from rich.progress import Progress

    from cluster.cli.input import Input
    from cluster.client import StreamWriter
    from cluster.transport.api import Channel

PATIENCE_SECONDS: Final = 30.0
"""How long a node may be away, or silent, before the command gives up."""

HEADER_REMEDY: Final = (
    "The first record seems to be a line of column names. Streamed input has none: leave it out, "
    "as with tail -n +2 FILE | remora ingest CLUSTER DB TABLE - --format csv"
)
_HEADER: Final = re.compile(r"record 1, column '(.+)' \(\w+\): '\1' is not ", re.IGNORECASE)
"""A value that is no value of its column, but the column's name."""

Table = Annotated[str, typer.Argument(metavar="TABLE", help="Case-sensitive.")]
Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Files, gzip or not; - is standard input.")
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        envvar="REMORA_FORMAT",
        metavar="FORMAT",
        help=(
            "csv, tsv, scsv, sohsv, psv, tsve, txt, raw, json (one property bag a line), "
            "multijson, singlejson, avro or apacheavro; default: by the extension. Of raw, "
            "singlejson and Avro the whole file is one payload."
        ),
    ),
]
Mapping = Annotated[
    str,
    typer.Option(
        "--mapping", envvar="REMORA_MAPPING", help="A pre-created ingestion mapping; default none."
    ),
]
Source = Annotated[
    str,
    typer.Option(
        "--source",
        envvar="REMORA_SOURCE",
        help=(
            "Name of this input for idempotence: what was stored under it is not stored again. "
            "Default: path, size and time of change of a file; a random one for standard input."
        ),
    ),
]


def ingest(
    cluster: ClusterName,
    database: DatabaseName,
    table: Table,
    files: Files,
    data_format: Format = "",
    mapping: Mapping = "",
    source: Source = "",
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
) -> None:
    """Streams files into a table. Repeating a command that failed stores nothing twice.

    Input is cut at record boundaries into payloads; each is stored whole or not at all. At the
    first payload refused the command stops; what was stored before it stays.
    """
    from cluster.cli.input import Input, guess_format

    inputs = []
    for number, file in enumerate(files):
        chosen = data_format.lower() or guess_format(file)
        if chosen is None:
            raise typer.BadParameter(
                f"the extension of '{file}' names no format; say which, for example csv",
                param_hint="--format",
            )
        # One name for several files still tells them apart.
        named = f"{source};{number}" if source else ""
        inputs.append(Input.described(file, chosen, named))
    run(_ingest, cluster, database, table, inputs, mapping, name, as_json)


async def _ingest(
    cluster: str,
    database: str,
    table: str,
    inputs: list[Input],
    mapping: str,
    name: str,
    as_json: bool,
) -> None:
    from cluster.cli.session import open_cluster

    setup = load_setup(name)
    payloads = rows = 0
    async with open_cluster(setup, cluster) as channel:
        with _progress(inputs) as progress:
            for source in inputs:
                writer = await send_input(channel, database, table, source, mapping, progress)
                statistics = writer.statistics()
                payloads += statistics.payloads_decided
                rows += statistics.rows_acked
    if as_json:
        print_json({"files": len(inputs), "payloads": payloads, "rows": rows})
    else:
        # Rows that an earlier command stored are acknowledged again.
        counted = "1 row is" if rows == 1 else f"{rows:,} rows are"
        typer.echo(f"{counted} stored in {database}.{table}")


async def send_input(
    channel: Channel,
    database: str,
    table: str,
    source: Input,
    mapping: str,
    progress: Progress,
) -> StreamWriter:
    """Streams one input; returns when every payload of it is stored.

    Raises the typed error of the first payload refused, EmptyPayloadError for an input without
    records, and UnavailableError if the node decides nothing for 30 s or more.
    """
    import trio

    from cluster.client import StreamWriter
    from cluster.errors import EmptyPayloadError

    task = progress.add_task(source.name, total=source.size_bytes)
    writer = StreamWriter(
        channel,
        database,
        table,
        source=source.source_id,
        data_format=source.data_format,
        mapping=mapping,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, writer)
        async with writer:
            async with contextlib.aclosing(source.payloads()) as pieces:
                async for payload, read_bytes in pieces:
                    await writer.send(payload)
                    progress.update(task, completed=read_bytes)
                    _check_refused(writer, source)
            if not writer.statistics().payloads_sent:
                raise EmptyPayloadError(f"{source.name} has no record")
            await writer.drain()
        nursery.cancel_scope.cancel()
    _check_refused(writer, source)
    return writer


async def _watch(writer: StreamWriter) -> None:
    """Gives up when something is waiting and nothing is decided for too long."""
    import trio

    from cluster.errors import UnavailableError

    statistics = writer.statistics()
    while True:
        acked, waiting = statistics.payloads_decided, statistics.payloads_sent
        await trio.sleep(PATIENCE_SECONDS)
        if waiting > acked and statistics.payloads_decided == acked:
            raise UnavailableError(
                f"the node has decided nothing for {PATIENCE_SECONDS:g} s; "
                f"{acked} payloads were stored",
                remedy="Repeat the command when the node is back: nothing is stored twice.",
            )


def _check_refused(writer: StreamWriter, source: Input) -> None:
    """Raises the first refusal as the error it stands for."""
    from cluster.errors import RemoraError, RpcError, error_classes

    statistics = writer.statistics()
    if not statistics.refused:
        return
    failure = statistics.refused[0]
    stored = statistics.payloads_decided - len(statistics.refused)
    kinds = {kind.reason: kind for kind in error_classes() if kind is not RpcError}
    raise kinds.get(failure.reason, RemoraError)(
        f"{failure.message} (in {source.name}, after {stored} payloads stored)",
        remedy=HEADER_REMEDY if _HEADER.match(failure.message) else failure.remedy,
        metadata=dict(failure.metadata),
    )


def _progress(inputs: list[Input]) -> Progress:
    """A bar on standard error; nothing where nobody looks or the input is short."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    sizes = [source.size_bytes for source in inputs]
    is_long = None in sizes or sum(size for size in sizes if size is not None) > 4 << 20
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not (is_long and sys.stderr.isatty()),
        transient=True,
    )
