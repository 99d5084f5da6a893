"""``remora conform endpoint``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cluster.cli.conform_options import (
    AsJson,
    KeepAll,
    LivenessSeconds,
    Report,
    SafetySeconds,
    Seeds,
    seed_range,
)
from cluster.cli.conform_systems import refuse, system_runner

if TYPE_CHECKING:
    from cluster.conformance.request import Target

PROFILE_HELP: Final = r"""The profile says what URLs cannot, for example:

database = "conform"

features = ["SEAL", "CAPABILITY"]

\[\[leader]]

name = "adxlead"

url = "https://adxlead.westeurope.kusto.windows.net"

token_variable = "KUSTO_TOKEN"

\[\[follower]]

name = "adxfollow"

url = "https://adxfollow.westeurope.kusto.windows.net"

token_variable = "KUSTO_TOKEN"

streaming = false

\[commands]

capability-on = "./streaming.sh adxfollow enable"
"""

LeaderUrl = Annotated[
    str,
    typer.Option(
        "--leader",
        envvar="REMORA_CONFORM_LEADER",
        metavar="URL",
        help="grpc://HOST:PORT, or http(s)://HOST of a Kusto endpoint.",
    ),
]
FollowerUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--follower",
        envvar="REMORA_CONFORM_FOLLOWER",
        metavar="URL",
        help="The same for a follower; may be given several times.",
    ),
]
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="REMORA_CONFORM_DATABASE",
        metavar="DB",
        help="A database of the leader that the followers follow.",
    ),
]
ProfileFile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        envvar="REMORA_CONFORM_PROFILE",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Everything about the system in one TOML file; see below.",
    ),
]


def endpoint(
    leader: LeaderUrl = "",
    follower: FollowerUrls = None,
    database: DatabaseOption = "",
    profile: ProfileFile = None,
    seeds: Seeds = "1",
    safety: SafetySeconds = 120.0,
    liveness: LivenessSeconds = 600.0,
    report: Report = None,
    keep_all: KeepAll = False,
    as_json: AsJson = False,
) -> None:
    """Checks a system from outside: anything that speaks Remora's gRPC or Kusto's REST API.

    Meant for real Azure clusters too. Makes tables that begin with Conform in the database that is
    named, streams rows into them, reads them at every follower, and tells for each rule: pass,
    fail, unknown or not applicable. No faults; nothing else is touched.

    Examples:

      remora conform endpoint --leader grpc://127.0.0.1:5002 --follower grpc://127.0.0.1:5003
      --database NetDefaultDB

      remora conform endpoint --profile azure.toml --safety 300 --report ./store
    """
    chosen = seed_range(seeds)
    target = _target(leader, follower or [], database, profile)
    runner = system_runner("endpoint")
    from cluster.cli.conform_campaign import Campaign, finish, print_rules, rule_rows, run_campaign
    from cluster.conformance.request import RunRequest

    assert safety is not None
    assert liveness is not None
    base = RunRequest(
        seed=chosen[0],
        system="endpoint",
        intensity=0.0,
        safety_seconds=safety,
        liveness_seconds=liveness,
        target=target,
    )
    summary, store = run_campaign(
        Campaign(
            runner=runner,
            base=base,
            seeds=chosen,
            jobs=1,
            hang_seconds=2 * (safety + liveness) + 300,
            report=report,
            keep_all=keep_all,
        )
    )
    if not as_json:
        print_rules(rule_rows(summary))
    finish(summary, store, as_json=as_json)


def _target(leader: str, followers: list[str], database: str, profile: Path | None) -> Target:
    from cluster.conformance.target import TargetError, parse_target, plain_target

    if profile is not None and (leader or followers or database):
        raise typer.BadParameter(
            "the profile names leader, followers and database already", param_hint="--profile"
        )
    try:
        if profile is not None:
            return parse_target(profile.read_text(encoding="utf-8"))
        return plain_target(leader, followers, database)
    except (TargetError, UnicodeDecodeError) as error:
        refuse(f"{profile}: {error}" if profile is not None else str(error))
