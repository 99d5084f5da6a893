"""scripts/bench stall: what a stalled follower costs the clients of its leader.

Two followers follow one table under a steady load. In turns follower2 runs and is stopped
(SIGSTOP: it reads nothing, its connection stays open). Prints the acknowledgement latency of both
cases, the ratio of their 99th percentiles, and how far the leader's memory grew meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
from typing import TYPE_CHECKING, Any, Final

import psutil
import trio

import bench_main
from cluster.client import Client
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

STALLED: Final = "follower2"
MEBIBYTE: Final = 1024 * 1024


def pid_of(setup: dict[str, Any], cluster: str) -> int:
    """Process id of a cluster's first node."""
    found = (entry["nodes"][0]["pid"] for entry in setup["clusters"] if entry["name"] == cluster)
    return int(next(found))


async def wait_until_level(setup: dict[str, Any]) -> None:
    """Returns when the follower that was stopped shows everything the leader has."""
    transport = transport_from_environment()
    async with (
        transport.connect(bench_main.address_of(setup, "leader")) as leader,
        transport.connect(bench_main.address_of(setup, STALLED)) as follower,
    ):
        result = await Client(leader).query(bench_main.DATABASE, "T | count")
        with trio.fail_after(60):
            await bench_main.retry_wait(Client(follower), result.position)


def rounds(setup: dict[str, Any], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One pair of runs a round, in alternating order."""
    follower, leader = pid_of(setup, STALLED), psutil.Process(pid_of(setup, "leader"))
    options = {"clients": 16, "rows": 10, "window": 8, "rate": arguments.rate}
    options["seconds"] = arguments.seconds
    for number in range(arguments.rounds):
        pair: dict[str, Any] = {}
        for case in ("runs", "stalled") if number % 2 == 0 else ("stalled", "runs"):
            before = leader.memory_info().rss
            if case == "stalled":
                os.kill(follower, signal.SIGSTOP)
            try:
                run = bench_main.run_load(setup, **options)
            finally:
                if case == "stalled":
                    os.kill(follower, signal.SIGCONT)
            pair[case] = run["ack_ms"] | {"grown": leader.memory_info().rss - before}
            trio.run(wait_until_level, setup)
        yield pair


def main() -> None:
    """Runs it and prints the figures."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench stall",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=6, help="pairs of runs (default 6)")
    parser.add_argument("--seconds", type=float, default=4, help="of each run (default 4)")
    parser.add_argument("--rate", type=float, default=1000, help="payloads a second")
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    arguments = parser.parse_args(sys.argv[2:])
    with bench_main.running_setup(followers=("follower1", STALLED)) as setup:
        pairs = list(rounds(setup, arguments))
    result: dict[str, Any] = {"verb": "stall", "rounds": len(pairs)}
    for case in ("runs", "stalled"):
        for figure in ("p50", "p99"):
            values = [pair[case][figure] for pair in pairs]
            result[f"{case}_ack_{figure}_ms"] = round(statistics.median(values), 3)
    ratios = [pair["stalled"]["p99"] / pair["runs"]["p99"] for pair in pairs]
    result["p99_ratio_median"] = round(statistics.median(ratios), 3)
    result["p99_ratio_range"] = [round(min(ratios), 3), round(max(ratios), 3)]
    grown = max(pair["stalled"]["grown"] for pair in pairs)
    result["leader_grown_while_stalled_mib"] = round(grown / MEBIBYTE, 1)
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for key, value in result.items():
        sys.stdout.write(f"{key:>32}  {value}\n")
