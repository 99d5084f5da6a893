"""``remora conform local``."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.conform_options import (
    DEFAULT_TRIES,
    AsJson,
    KeepAll,
    LivenessSeconds,
    MutantName,
    Report,
    SafetySeconds,
    Seeds,
    Shrink,
    Tries,
    seed_range,
)
from cluster.cli.conform_systems import check_mutant, system_runner

LocalHangSeconds = Annotated[
    float,
    typer.Option(
        "--hang",
        envvar="REMORA_CONFORM_HANG",
        min=0.1,
        metavar="SECONDS",
        help="A single run that takes longer is ended, and counts as a crash.",
    ),
]
LocalIntensity = Annotated[
    float,
    typer.Option(
        "--intensity",
        envvar="REMORA_CONFORM_INTENSITY",
        min=0.0,
        metavar="TIMES",
        help="Times the usual number of faults; 0: none.",
    ),
]


def local(
    seeds: Seeds = "1-4",
    report: Report = None,
    as_json: AsJson = False,
    safety: SafetySeconds = None,
    liveness: LivenessSeconds = None,
    intensity: LocalIntensity = 1.0,
    mutant: MutantName = "",
    keep_all: KeepAll = False,
    shrink: Shrink = False,
    tries: Tries = DEFAULT_TRIES,
    hang: LocalHangSeconds = 900.0,
) -> None:
    """Runs the same clients, faults and rules against real processes on this machine.

    Each seed starts a setup of its own, on loopback and with data in a folder that is removed:
    setups that run already are left alone. Processes really get SIGKILL and SIGSTOP, links go
    through a proxy. Real time: one seed after the other, and the same seed is not the same history
    twice, so a replay line repeats the faults, not every interleaving. The four seeds of the
    default take about two minutes and together judge every rule that can be judged from outside.

    Examples:

      remora conform local

      remora conform local --seeds 5-20 --report ./store

      remora conform local --mutant token-ignored   (a broken build: exit code 1)
    """
    chosen = seed_range(seeds)
    runner = system_runner("local")
    check_mutant(mutant)
    from cluster.cli.conform_campaign import Campaign, finish, print_rules, rule_rows, run_campaign
    from cluster.conformance.request import RunRequest

    base = RunRequest(
        seed=chosen[0],
        system="local",
        mutant=mutant,
        intensity=intensity,
        safety_seconds=safety,
        liveness_seconds=liveness,
    )
    summary, store = run_campaign(
        Campaign(
            runner=runner,
            base=base,
            seeds=chosen,
            jobs=1,
            shrink_tries=tries if shrink else 0,
            hang_seconds=hang,
            report=report,
            keep_all=keep_all,
        )
    )
    if not as_json:
        print_rules(rule_rows(summary))
    finish(summary, store, as_json=as_json)
