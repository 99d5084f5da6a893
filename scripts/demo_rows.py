"""Real measurements of this machine as rows of the demo's table."""

from __future__ import annotations

import csv
import io
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS_PER_PAYLOAD = 10


class RowSource:
    """Processes and counters, round and round; each row has a name of its own in ``Source``."""

    def __init__(self) -> None:
        self._host = socket.gethostname()
        self._number = 0
        self._measurements = self._endless()

    def next_payload(self) -> tuple[bytes, list[str]]:
        """Ten rows as CSV, and the identities in their Source column."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        identities = []
        for _ in range(ROWS_PER_PAYLOAD):
            name, metric = next(self._measurements)
            self._number += 1
            identity = f"{self._host}/{self._number}"
            identities.append(identity)
            writer.writerow([datetime.now(UTC).isoformat(), name, metric, identity])
        return text.getvalue().encode(), identities

    def _endless(self) -> Iterator[tuple[str, int]]:
        while True:
            yield from self._sample()

    def _sample(self) -> Iterator[tuple[str, int]]:
        for core, percent in enumerate(psutil.cpu_percent(percpu=True)):
            yield f"cpu{core}.percent", round(percent)
        yield "memory.used.mib", psutil.virtual_memory().used >> 20
        yield "context.switches", psutil.cpu_stats().ctx_switches & 0x7FFFFFFF
        network = psutil.net_io_counters()
        yield "network.sent.kib", (network.bytes_sent >> 10) & 0x7FFFFFFF
        yield "network.received.kib", (network.bytes_recv >> 10) & 0x7FFFFFFF
        for process in psutil.process_iter(["name", "memory_info", "num_threads"]):
            memory = process.info["memory_info"]
            if memory is not None:
                yield f"{process.info['name']}.rss.kib", memory.rss >> 10
            if process.info["num_threads"] is not None:
                yield f"{process.info['name']}.threads", process.info["num_threads"]
