"""Runs a verb and turns what it raises into words and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import typer

from cluster.cli.options import EXIT_FAILED, EXIT_NOT_RUNNING, home_folder
from cluster.errors import RemoraError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup


def run(verb: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Runs an async function; a typed error is printed and ends the command."""
    import trio  # not at the top: help and wrong usage do not wait for it

    try:
        trio.run(verb, *arguments, strict_exception_groups=True)
    except RemoraError as error:
        fail(error)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[0] is not None:
            raise KeyboardInterrupt from None
        typed = _typed(group)
        if typed is None:
            raise
        fail(typed)


def fail(error: RemoraError) -> NoReturn:
    """Prints code, message and remedy to standard error, and exits."""
    typer.secho("error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(str(error), err=True)
    typer.echo(f"remedy: {error.remedy}", err=True)
    unreachable = isinstance(error, UnavailableError)
    raise typer.Exit(EXIT_NOT_RUNNING if unreachable else EXIT_FAILED)


def load_setup(name: str) -> Setup:
    """The setup of that name; UnavailableError if there is none."""
    from cluster.launcher.setup import Home

    return Home(home_folder()).load(name)


def launcher(name: str, *, ready_seconds: float = 30.0, grace_seconds: float = 10.0) -> Launcher:
    """Operates the setup of that name."""
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Home

    return Launcher(
        Home(home_folder()), name, ready_seconds=ready_seconds, grace_seconds=grace_seconds
    )


def _typed(group: BaseExceptionGroup[BaseException]) -> RemoraError | None:
    """The first typed error, if nothing but typed errors and cancellations is in the group."""
    import trio

    typed, rest = group.split(RemoraError)
    if typed is None:
        return None
    if rest is not None and rest.split(trio.Cancelled)[1] is not None:
        return None
    first: BaseException = typed
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, RemoraError)
    return first
