"""Which systems this build can drive, and where the code is that does it.

One table; whoever adds a system writes a :class:`cluster.conformance.request.RunSeed` and its line
here. Loaded by name, because what simulates and plants defects is no part of a server.
"""

from __future__ import annotations

import importlib.util
from typing import Final, NoReturn

import typer

RUNNERS: Final[dict[str, str]] = {
    "sim": "cluster.testing.sim.run:run_seed",
    "local": "cluster.testing.real.run:run_seed",
    "endpoint": "cluster.testing.endpoint.run:run_seed",
}
"""``package.module:function`` by the name of a system."""

MUTANTS_MODULE = "cluster.testing.mutants"
"""Has ``MUTANTS``, the defects to plant."""

EXIT_UNKNOWN: Final = 2


def system_runner(name: str) -> str:
    """Where the system's RunSeed is. Ends the command with exit code 2 if this build has none."""
    reference = RUNNERS.get(name)
    if reference is None:
        refuse(f"there is no system {name!r}; there are: {', '.join(RUNNERS)}")
    module = reference.partition(":")[0]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        found = False
    if not found:
        refuse(
            f"this build has no system {name!r} (no module {module}): nothing was run, nothing is "
            "proved"
        )
    return reference


def refuse(message: str) -> NoReturn:
    """Says why nothing could be judged, and ends with exit code 2."""
    typer.secho("error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_UNKNOWN)


def check_mutant(name: str) -> None:
    """Ends the command with exit code 2 if there is no mutant of that name; empty means none."""
    from cluster.conformance.mutation import UnknownMutantError, load_mutants, select_mutants

    if name:
        try:
            select_mutants(load_mutants(MUTANTS_MODULE), [name])
        except UnknownMutantError as error:
            refuse(str(error))
