"""The load generator of scripts/bench: one process, one JSON argument, one JSON line out."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from cluster.client import Client, StreamWriter
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_EVERY = 20
"""Of the payloads of a lag run, one in so many is followed to the follower by WaitFor."""


@dataclass
class Load:
    """One run."""

    options: dict[str, Any]
    ack_seconds: list[float] = field(default_factory=list)
    visible_seconds: list[float] = field(default_factory=list)
    payloads: int = 0

    async def run(self) -> dict[str, Any]:
        """Loads the leader, then waits until the follower shows everything."""
        transport = transport_from_environment()
        options = self.options
        async with (
            transport.connect(options["leader"]) as leader,
            transport.connect(options["follower"]) as follower,
        ):
            self.follower = Client(follower)
            started = time.perf_counter()
            self.deadline = trio.current_time() + options["seconds"]
            positions: list[Any] = []
            async with trio.open_nursery() as nursery:
                for number in range(options["clients"]):
                    nursery.start_soon(self.client, leader, number, positions)
            acked = time.perf_counter() - started
            for position in positions:
                await self.follower.wait_for(options["database"], position, timeout_seconds=60)
            visible = time.perf_counter() - started
        return self.summary(acked, visible)

    async def client(self, channel: Any, number: int, positions: list[Any]) -> None:
        """One stream: as fast as its window allows, or at its share of the rate."""
        options = self.options
        sent: list[float] = []

        def decided(payloads: Sequence[int]) -> None:
            now = time.perf_counter()
            self.ack_seconds.extend(now - sent[number] for number in payloads)

        payload = b"".join(
            b"2026-11-21T08:00:00.123456Z,process.%d.rss,%d,host/%d\n" % (number, row, row)
            for row in range(options["rows"])
        )
        source = f"bench-{time.time_ns()}-{number}"
        writer = StreamWriter(
            channel, options["database"], "T", source=source,
            window=options["window"], on_decided=decided,
        )  # fmt: skip
        pause = options["clients"] / options["rate"] if options["rate"] else 0.0
        next_at = trio.current_time() + pause * number / options["clients"]
        async with writer, trio.open_nursery() as nursery:
            while trio.current_time() < self.deadline:
                if pause:
                    await trio.sleep_until(next_at)
                    next_at += pause
                sent.append(time.perf_counter())
                await writer.send(payload)
                self.payloads += 1
                if pause and self.payloads % SAMPLE_EVERY == 0:
                    nursery.start_soon(self.follow_one, writer)
            await writer.drain()
        if writer.statistics().refused:
            raise SystemExit(f"refused: {writer.statistics().refused[0].message}")
        positions.append(writer.statistics().position)

    async def follow_one(self, writer: StreamWriter) -> None:
        """Measures from the acknowledgement of what was sent last to its visibility."""
        await writer.drain()
        acked = time.perf_counter()
        position = writer.statistics().position
        if position is not None:
            await self.follower.wait_for(self.options["database"], position, timeout_seconds=30)
            self.visible_seconds.append(time.perf_counter() - acked)

    def summary(self, acked: float, visible: float) -> dict[str, Any]:
        """The figures of the run."""
        options = self.options
        return {
            "clients": options["clients"],
            "rows_per_payload": options["rows"],
            "window": options["window"],
            "payloads": self.payloads,
            "payloads_per_second": round(self.payloads / visible),
            "rows_per_second": round(self.payloads * options["rows"] / visible),
            "seconds_to_all_acked": round(acked, 3),
            "seconds_to_all_visible": round(visible, 3),
            "client_cpu_us_per_payload": round(time.process_time() / max(self.payloads, 1) * 1e6),
            "ack_ms": percentiles(self.ack_seconds),
            "ack_to_visible_ms": percentiles(self.visible_seconds),
        }


def percentiles(seconds: list[float]) -> dict[str, float] | None:
    """p50 and p99 in milliseconds; None without samples."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    at = {"p50": len(ordered) // 2, "p99": min(len(ordered) - 1, len(ordered) * 99 // 100)}
    return {name: round(ordered[index] * 1e3, 3) for name, index in at.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trio.run(Load(json.loads(sys.argv[1])).run)) + "\n")
