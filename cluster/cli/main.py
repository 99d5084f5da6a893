"""``remora``: starts and operates setups of a coordinator, leaders and followers."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli import (
    adopt,
    attach,
    capability,
    certs,
    command,
    conform,
    destroy,
    detach,
    down,
    fault,
    followers,
    ingest,
    kill,
    logs,
    pause,
    query,
    resume,
    start,
    status,
    up,
)
from cluster.cli.options import EXIT_CODES, OneText, help_text

app = typer.Typer(
    name="remora",
    help=(
        "A local, multi-cluster stand-in for Azure Data Explorer with streaming ingestion and "
        "follower databases. Start with: remora up"
    ),
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (
    up.up,
    status.status,
    command.command,
    ingest.ingest,
    query.query,
    attach.attach,
    detach.detach,
    followers.followers,
    capability.capability,
    certs.certs,
    adopt.adopt,
    kill.kill,
    pause.pause,
    resume.resume,
    start.start,
    logs.logs,
    down.down,
    destroy.destroy,
):
    takes_text = verb in (command.command, query.query)
    kind = OneText if takes_text else None
    app.command(cls=kind, epilog=EXIT_CODES, help=help_text(verb))(verb)

app.add_typer(conform.app)
app.add_typer(fault.app, name="fault")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"remora {version('remora')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """Options of ``remora`` itself."""
    assert not version


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
