"""The story that scripts/demo tells. Every number it prints was counted by a query."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

import demo_view
from cluster.client import Client, StreamWriter
from cluster.errors import RemoraError
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.transport.select import transport_from_environment
from demo_rows import RowSource

if TYPE_CHECKING:
    from collections.abc import Sequence

DATABASE = "StreamingTestDb"
TABLE = "TestTable"
SCHEMA = "TimeStamp: datetime, Name: string, Metric: int, Source: string"
FOLLOWERS = ("follower1", "follower2")


@dataclass
class Observed:
    """What the monitor has seen."""

    rows: dict[str, int | None] = field(default_factory=dict)
    lag_ms: dict[str, tuple[float, float]] = field(default_factory=dict)
    gate: dict[str, str] = field(default_factory=dict)
    capability: dict[str, bool] = field(default_factory=dict)
    rows_while_off: int = 0
    refusal: str = ""
    events: list[str] = field(default_factory=list)


class Story:
    """One run: sets up, streams, breaks things, counts."""

    def __init__(self, seconds: float, name: str, data: Path, view: demo_view.View) -> None:
        self.seconds = seconds
        self.name = name
        self.data = data
        self.view = view
        self.observed = Observed()
        self.acked: set[str] = set()
        self.follower2_off = True
        self.up_seconds = 0.0
        self.setup: dict[str, Any] = {}
        self.counted = trio.Event()

    async def remora(self, *arguments: str) -> str:
        """Runs one command of the command line, shown to the reader."""
        self.tell(f"$ remora {' '.join(arguments)}")
        command = [str(Path(sys.executable).parent / "remora"), *arguments, "--name", self.name]
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"remora {arguments[0]} failed:\n{done.stderr.decode()}")
        return done.stdout.decode()

    def tell(self, text: str) -> None:
        """One line of the story."""
        self.observed.events.append(text)
        self.view.tell(text)

    async def run(self) -> dict[str, Any]:
        """The whole story; returns its summary."""
        started = time.perf_counter()
        printed = await self.remora("up", "--data", str(self.data), "--json")
        self.up_seconds = time.perf_counter() - started
        self.setup = json.loads(printed)
        self.tell(f"coordinator, leader and two followers are ready after {self.up_seconds:.1f} s")
        await self.remora("command", "leader", DATABASE, f".create database {DATABASE} ifnotexists")
        await self.remora("command", "leader", DATABASE, f".create table {TABLE} ({SCHEMA})")
        await self.remora(
            "command", "leader", DATABASE, f".alter table {TABLE} policy streamingingestion enable"
        )
        for follower in FOLLOWERS:
            await self.remora("attach", f"leader/{DATABASE}", follower)
        transport = transport_from_environment()
        addresses = {c["name"]: c["nodes"][0]["grpc"] for c in self.setup["clusters"]}
        async with (
            transport.connect(addresses["leader"]) as leader,
            transport.connect(addresses["follower1"]) as first,
            transport.connect(addresses["follower2"]) as second,
            transport.connect(self.setup["coordinator"]["grpc"]) as coordinator,
        ):
            channels = {"leader": leader, "follower1": first, "follower2": second}
            clients = {name: Client(channel) for name, channel in channels.items()}
            async with trio.open_nursery() as nursery:
                for name, client in clients.items():
                    nursery.start_soon(self.count_rows, name, client)
                stub = coordinator_pb2_grpc.CoordinatorServiceStub(coordinator)
                nursery.start_soon(self.watch_status, stub)
                nursery.start_soon(self.view.refresh, self.observed)
                position = await self.stream_and_break(leader)
                nursery.cancel_scope.cancel()
            await self.read_status(stub)
            return await self.verify(clients, position)

    async def stream_and_break(self, leader: Any) -> Any:
        """Streams this machine's counters while capability and leader are switched."""
        rows = RowSource()
        sent: list[list[str]] = []

        def decided(payloads: Sequence[int]) -> None:
            for payload in payloads:
                self.acked.update(sent[payload])

        source = f"demo-{os.getpid()}"
        writer = StreamWriter(leader, DATABASE, TABLE, source=source, on_decided=decided)
        async with writer, trio.open_nursery() as nursery:
            nursery.start_soon(self.break_things)
            with trio.move_on_after(self.seconds):
                while True:
                    payload, identities = rows.next_payload()
                    sent.append(identities)
                    with trio.CancelScope(shield=True):
                        await writer.send(payload)
                    await trio.sleep(0.02)
            await writer.drain()
        statistics = writer.statistics()
        if statistics.refused:
            raise SystemExit(f"the leader refused rows: {statistics.refused[0].message}")
        self.tell(f"{len(self.acked)} rows acknowledged, {statistics.reconnects} reconnects")
        return statistics.position

    async def break_things(self) -> None:
        """The turns of the story, at fixed parts of its length."""
        await trio.sleep(self.seconds * 0.3)
        self.observed.refusal = self.observed.refusal or await self.refusal()
        self.tell(f"follower2 is refused: {self.observed.refusal}")
        self.follower2_off = False
        switched = time.perf_counter()
        await self.remora("capability", "follower2", "on")
        await self.catch_up(switched)
        await trio.sleep(self.seconds * 0.3)
        await self.remora("kill", "leader/0")
        self.tell("the leader was killed with SIGKILL in the middle of its work")
        await self.remora("start", "leader/0")
        self.tell("the leader is back")

    async def catch_up(self, switched: float) -> None:
        """Waits until follower2 shows what the leader showed when the capability was on."""
        goal = self.observed.rows["leader"] or 0
        while (self.observed.rows.get("follower2") or 0) < goal:
            await self.counted.wait()
        seconds = time.perf_counter() - switched
        self.tell(f"follower2 has caught up {seconds:.1f} s later: {goal:,} rows, without a gap")

    async def refusal(self) -> str:
        """The refusal as the status shows it."""
        status = json.loads(await self.remora("status", "--json"))
        for cluster in status["clusters"]:
            if cluster["name"] == "follower2":
                for attachment in cluster["attachments"]:
                    return str(attachment["refusal"])
        raise SystemExit("the status does not show follower2's attachment")

    async def count_rows(self, name: str, client: Client) -> None:
        """Counts the rows of one cluster by query, for ever."""
        while True:
            was_off = self.follower2_off
            try:
                result = await client.query(DATABASE, f"{TABLE} | count", timeout_seconds=5)
            except RemoraError:
                self.observed.rows[name] = None
            else:
                self.observed.rows[name] = count = int(result.scalar())
                self.counted.set()
                self.counted = trio.Event()
                if name == "follower2" and was_off and self.follower2_off:
                    self.observed.rows_while_off = max(self.observed.rows_while_off, count)
            await trio.sleep(0.2)

    async def watch_status(self, stub: Any) -> None:
        """Reads the coordinator's status, for ever."""
        while True:
            await self.read_status(stub)
            await trio.sleep(0.25)

    async def read_status(self, stub: Any) -> None:
        """Reads gates, capabilities and lags once."""
        status: coordinator_pb2.GetStatusResponse = await stub.GetStatus(
            coordinator_pb2.GetStatusRequest(), timeout=5
        )
        for cluster in status.clusters:
            self.observed.capability[cluster.name] = cluster.streaming_ingestion
            for node in cluster.nodes:
                for report in node.following:
                    self.observed.gate[cluster.name] = report.gate
                    self.observed.lag_ms[cluster.name] = (
                        report.apply_lag_ms_p50,
                        report.apply_lag_ms_p99,
                    )

    async def verify(self, clients: dict[str, Client], position: Any) -> dict[str, Any]:
        """Counts every acknowledged row everywhere, once the followers have caught up."""
        found: dict[str, list[str]] = {}
        for name, client in clients.items():
            await shown(client, position)
            result = await client.query(DATABASE, f"{TABLE} | project Source", at_least=position)
            found[name] = result.table.column(0).to_pylist()
        lost = sum(len(self.acked - set(rows)) for rows in found.values())
        duplicated = sum(len(rows) - len(set(rows)) for rows in found.values())
        seen = self.observed
        return {
            "ok": not lost and not duplicated and not seen.rows_while_off and bool(seen.refusal),
            "rows_acked": len(self.acked),
            "leader_rows": len(found["leader"]),
            "followers": {
                "follower1": {
                    "rows": len(found["follower1"]),
                    "lag_ms_p50": round(seen.lag_ms["follower1"][0], 3),
                    "lag_ms_p99": round(seen.lag_ms["follower1"][1], 3),
                },
                "follower2": {
                    "rows_while_off": seen.rows_while_off,
                    "rows": len(found["follower2"]),
                    "refusal": seen.refusal,
                },
            },
            "lost": lost,
            "duplicated": duplicated,
            "up_seconds": round(self.up_seconds, 2),
        }


async def shown(client: Client, position: Any) -> None:
    """Returns when a node shows a position; one that has just been started may refuse at first."""
    with trio.fail_after(30):
        while True:
            try:
                await client.wait_for(DATABASE, position, timeout_seconds=30)
            except RemoraError:
                await trio.sleep(0.1)
            else:
                return


def main() -> int:
    """Parses the command line, runs the story, prints the summary."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length (default 20, at least 5)"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--keep", action="store_true", help="leave the setup running")
    arguments = parser.parse_args()
    if arguments.seconds < 5:
        parser.error("--seconds must be at least 5: the story needs the time")
    name = f"demo-{os.getpid()}"
    data = Path(tempfile.mkdtemp(prefix="remora-demo-"))
    view = demo_view.View(quiet=arguments.json)
    story = Story(arguments.seconds, name, data, view)

    async def run() -> dict[str, Any]:
        try:
            return await story.run()
        finally:
            if not arguments.keep:
                with trio.CancelScope(shield=True):
                    await story.remora("destroy", "--yes")

    summary = trio.run(run)
    if arguments.keep:
        view.tell(f"left running: remora status --name {name}")
    else:
        shutil.rmtree(data, ignore_errors=True)
    view.finish(summary)
    if arguments.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    return 0 if summary["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
