"""scripts/bench VERB: measures one thing and prints it, with --json as one line.

stream  payloads a second, durable on the leader and visible on a follower
lag     milliseconds from the acknowledgement to visibility on the follower, at a fixed rate
seal    sealing and merging beside the bare work of the same rows (own options: seal --help)
query   queries over streamed and sealed rows beside hand-written SQL, and many extents
stall   acknowledgements of the leader while a follower is stopped (own options: stall --help)
rest    streaming POSTs over HTTP, and the bridge into trio (own options: rest --help)
sdk     queries through the Python SDK: a count, and 100,000 rows beside JSON made by hand
rowstore  commits beside bare append and fdatasync, and opening beside bare reading
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import trio

import bench_query
import bench_rest
import bench_rowstore
import bench_sdk
import bench_seal
import bench_stall
from cluster.client import Client
from cluster.errors import RemoraError
from cluster.limits import LIMITS
from cluster.rpc.convert import position_from_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

DATABASE = "Bench"
SCHEMA = "TimeStamp: datetime, Name: string, Metric: int, Source: string"
TOPOLOGY = """
[[clusters]]
name = "leader"
streaming_ingestion = true
"""
FOLLOWER = """
[[clusters]]
name = "{}"
streaming_ingestion = true
"""
REMORA = Path(sys.executable).parent / "remora"
LOAD = Path(__file__).parent / "bench_load.py"


def remora(name: str, *arguments: str) -> str:
    """Runs one command of the command line."""
    done = subprocess.run(
        [REMORA, *arguments, "--name", name], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"remora {arguments[0]} failed:\n{done.stderr}")
    return done.stdout


@contextmanager
def running_setup(followers: tuple[str, ...] = ("follower1",)) -> Iterator[dict[str, Any]]:
    """A leader and followers, with the table of the load generator attached to each."""
    name = f"bench-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder:
        topology = Path(folder) / "topology.toml"
        topology.write_text(TOPOLOGY + "".join(map(FOLLOWER.format, followers)))
        setup = json.loads(
            remora(name, "up", str(topology), "--data", str(Path(folder) / "data"), "--json")
        )
        try:
            remora(name, "command", "leader", DATABASE, f".create database {DATABASE}")
            remora(name, "command", "leader", DATABASE, f".create table T ({SCHEMA})")
            remora(
                name,
                "command",
                "leader",
                DATABASE,
                ".alter table T policy streamingingestion enable",
            )
            for follower in followers:
                remora(name, "attach", f"leader/{DATABASE}", follower)
            trio.run(wait_until_followed, setup)
            yield setup
        finally:
            remora(name, "destroy", "--yes")


def address_of(setup: dict[str, Any], cluster: str) -> str:
    """gRPC address of a cluster's first node."""
    for entry in setup["clusters"]:
        if entry["name"] == cluster:
            return str(entry["nodes"][0]["grpc"])
    raise KeyError(cluster)


async def wait_until_followed(setup: dict[str, Any]) -> None:
    """Returns when a first row has arrived on the follower."""
    transport = transport_from_environment()
    async with (
        transport.connect(address_of(setup, "leader")) as leader,
        transport.connect(address_of(setup, "follower1")) as follower,
    ):
        response = await Client(leader).ingest(DATABASE, "T", b"2026-01-01,warm,0,up\n")
        position = position_from_message(response.position)
        with trio.fail_after(30):
            await retry_wait(Client(follower), position)


async def retry_wait(client: Client, position: Any) -> None:
    """Returns when the node shows a position; it may be starting, or hiding rows."""
    while True:
        try:
            await client.wait_for(DATABASE, position, timeout_seconds=5)
        except RemoraError:
            await trio.sleep(0.05)
        else:
            return


def cpu_seconds(setup: dict[str, Any]) -> dict[str, float]:
    """CPU time used so far by each process of the setup."""
    pids = {"coordinator": setup["coordinator"]["pid"]}
    pids |= {entry["name"]: entry["nodes"][0]["pid"] for entry in setup["clusters"]}
    used = {}
    for name, pid in pids.items():
        times = psutil.Process(pid).cpu_times()
        used[name] = times.user + times.system
    return used


async def follower_lag(setup: dict[str, Any]) -> dict[str, float] | None:
    """The follower's own figures: from the leader's commit time to visibility, in ms."""
    async with transport_from_environment().connect(setup["coordinator"]["grpc"]) as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        await trio.sleep(2 * LIMITS.heartbeat_seconds)  # until the last report has arrived
        status = await stub.GetStatus(coordinator_pb2.GetStatusRequest(), timeout=5)
    for cluster in status.clusters:
        for node in cluster.nodes:
            for report in node.following:
                p50, p99 = report.apply_lag_ms_p50, report.apply_lag_ms_p99
                return {"p50": round(p50, 3), "p99": round(p99, 3)}
    return None


def run_load(setup: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Runs the load generator in its own process; adds the CPU it cost the nodes."""
    options |= {
        "leader": address_of(setup, "leader"),
        "follower": address_of(setup, "follower1"),
        "database": DATABASE,
    }
    before = cpu_seconds(setup)
    done = subprocess.run(
        [sys.executable, str(LOAD), json.dumps(options)], stdout=subprocess.PIPE, check=True
    )
    after = cpu_seconds(setup)
    result: dict[str, Any] = json.loads(done.stdout)
    payloads = max(result["payloads"], 1)
    result["commit_to_visible_ms"] = trio.run(follower_lag, setup)
    result["cpu_us_per_payload"] = {
        name: round((after[name] - before[name]) / payloads * 1e6, 1) for name in after
    }
    return result


def main() -> None:
    """Parses the command line and runs one verb."""
    if sys.argv[1:2] == ["rowstore"]:
        bench_rowstore.main()
        return
    if sys.argv[1:2] == ["rest"]:
        bench_rest.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["seal"]:
        bench_seal.main()
        return
    if sys.argv[1:2] == ["query"]:
        bench_query.main()
        return
    if sys.argv[1:2] == ["sdk"]:
        bench_sdk.main()
        return
    if sys.argv[1:2] == ["stall"]:
        bench_stall.main()
        return
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("verb", choices=["stream", "lag"])
    parser.add_argument("--clients", type=int, default=16, help="streams (default 16)")
    parser.add_argument("--rows", type=int, default=10, help="rows a payload (default 10)")
    parser.add_argument("--seconds", type=float, default=10, help="length (default 10)")
    parser.add_argument("--window", type=int, default=0, help="payloads in flight a client")
    parser.add_argument("--rate", type=float, default=1000, help="payloads a second for lag")
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    arguments = parser.parse_args()
    with running_setup() as setup:
        common = {"clients": arguments.clients, "rows": arguments.rows}
        common |= {"seconds": arguments.seconds}
        if arguments.verb == "stream":
            windows = [arguments.window] if arguments.window else [1, 8]
            runs = [run_load(setup, **common, window=window, rate=0) for window in windows]
        else:
            runs = [run_load(setup, **common, window=arguments.window or 8, rate=arguments.rate)]
    if arguments.json:
        sys.stdout.write(json.dumps({"verb": arguments.verb, "runs": runs}) + "\n")
        return
    for run in runs:
        for key, value in run.items():
            sys.stdout.write(f"{key:>24}  {value}\n")
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
