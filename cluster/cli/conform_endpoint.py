"""``remora conform endpoint``."""

from __future__ import annotations

import os
from dataclasses import replace
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

confirmed = true

liveness_seconds = 300

unsealed_seconds = 60

command_seconds = 1800

\[\[leader]]

name = "adxlead"

url = "https://adxlead.westeurope.kusto.windows.net"

token_variable = "KUSTO_TOKEN"

\[\[follower]]

name = "adxfollow"

url = "https://adxfollow.westeurope.kusto.windows.net"

token_variable = "KUSTO_TOKEN"

\[commands]

capability-on = "az kusto cluster update -n $REMORA_CLUSTER -g rg --enable-streaming-ingest true"

capability-off = "az kusto cluster update -n $REMORA_CLUSTER -g rg --enable-streaming-ingest false"

Commands end when the change is certain. Without them, or a coordinator, rules about capabilities
are not applicable. Over REST so are those about positions and reasons: Kusto tells neither.
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
CoordinatorUrl = Annotated[
    str,
    typer.Option(
        "--coordinator",
        envvar="REMORA_CONFORM_COORDINATOR",
        metavar="URL",
        help="grpc://HOST:PORT of Remora's coordinator: turns capabilities of followers off and "
        "on, and names the clusters.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        envvar="REMORA_CONFORM_YES",
        help="Agree to make tables on clusters that are not on this machine.",
    ),
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep", envvar="REMORA_CONFORM_KEEP", help="Leave the tables there to look at them."
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
    coordinator: CoordinatorUrl = "",
    database: DatabaseOption = "",
    profile: ProfileFile = None,
    yes: Yes = False,
    keep: Keep = False,
    seeds: Seeds = "1",
    safety: SafetySeconds = None,
    liveness: LivenessSeconds = None,
    report: Report = None,
    keep_all: KeepAll = False,
    as_json: AsJson = False,
) -> None:
    """Checks a system from outside: anything that speaks Remora's gRPC or Kusto's REST API.

    Meant for real Azure clusters too. Makes tables that begin with Conform in the database that is
    named and that the followers follow already, streams rows into them, reads them at every
    follower, and tells for each rule: pass, fail, unknown or not applicable. No faults. In the end
    its tables are dropped, and capabilities are as they were; nothing else is touched.

    Clients act for 30 s, over REST for 120 s (--safety); then followers have 60 s, over REST
    300 s, to catch up (--liveness).

    Examples:

      remora conform endpoint --leader grpc://127.0.0.1:5002 --follower grpc://127.0.0.1:5003
      --database NetDefaultDB

      remora conform endpoint --coordinator grpc://127.0.0.1:5001 --leader grpc://127.0.0.1:5002
      --follower grpc://127.0.0.1:5003 --follower grpc://127.0.0.1:5004 --database NetDefaultDB

      KUSTO_TOKEN=$(az account get-access-token --resource https://kusto.kusto.windows.net
      --query accessToken -o tsv) remora conform endpoint --profile azure.toml --report ./store
    """
    chosen = seed_range(seeds)
    described = _target(leader, follower or [], coordinator, database, profile)
    runner = system_runner("endpoint")
    target = _agreed(replace(described, confirmed=described.confirmed or yes, keep=keep))
    from cluster.cli.conform_campaign import Campaign, finish, print_rules, rule_rows, run_campaign
    from cluster.conformance.request import RunRequest
    from cluster.testing.endpoint.claims import times_of

    times = times_of(target, safety, liveness)
    base = RunRequest(
        seed=chosen[0],
        system="endpoint",
        intensity=0.0,
        safety_seconds=times.safety,
        liveness_seconds=times.liveness,
        target=target,
    )
    summary, store = run_campaign(
        Campaign(
            runner=runner,
            base=base,
            seeds=chosen,
            jobs=1,
            hang_seconds=times.longest,
            report=report,
            keep_all=keep_all,
        )
    )
    if not as_json:
        print_rules(rule_rows(summary))
    finish(summary, store, as_json=as_json)


def _agreed(target: Target) -> Target:
    """The target, if it may be run against; else the command ends with exit code 2."""
    from cluster.testing.endpoint.claims import check_target

    try:
        check_target(target, os.environ)
    except ValueError as error:
        refuse(str(error))
    return target


def _target(
    leader: str, followers: list[str], coordinator: str, database: str, profile: Path | None
) -> Target:
    from cluster.conformance.target import TargetError, parse_target, plain_target

    if profile is not None and (leader or followers or coordinator or database):
        raise typer.BadParameter(
            "the profile names leader, followers, coordinator and database already",
            param_hint="--profile",
        )
    try:
        if profile is not None:
            return parse_target(profile.read_text(encoding="utf-8"))
        return plain_target(leader, followers, database, coordinator)
    except (TargetError, UnicodeDecodeError) as error:
        refuse(f"{profile}: {error}" if profile is not None else str(error))
