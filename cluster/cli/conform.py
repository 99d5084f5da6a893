"""``remora conform``: states what a follower guarantees, and shows the runs that prove it."""

from __future__ import annotations

import typer

from cluster.cli import (
    conform_endpoint,
    conform_local,
    conform_mutants,
    conform_replay,
    conform_revalidate,
    conform_sim,
)
from cluster.cli.conform_options import EXIT_CODES
from cluster.cli.options import help_text

app = typer.Typer(
    name="conform",
    help=(
        "Proves what replication guarantees, or finds where it does not: runs clients and faults, "
        "records a history, and lets every rule judge it.\n\n"
        "sim runs the real code in a simulated world, local real processes on this machine, "
        "endpoint somebody's clusters. A failure prints the seed, the guarantee that was broken "
        "and a line for replay. mutants proves that the rules are watched.\n\n"
        "Start with: remora conform sim --seeds 1-50"
    ),
    epilog=EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb, more in (
    (conform_sim.sim, ""),
    (conform_local.local, ""),
    (conform_endpoint.endpoint, conform_endpoint.PROFILE_HELP),
    (conform_replay.replay, ""),
    (conform_mutants.mutants, ""),
    (conform_revalidate.revalidate, ""),
):
    app.command(epilog=f"{more}\n{EXIT_CODES}", help=help_text(verb))(verb)
