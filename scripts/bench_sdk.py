"""scripts/bench sdk: queries through the official Python SDK, unmodified, in a process of its own.

count  ``T | count`` over a table of streamed rows: milliseconds a call
large  a result of 100,000 rows of eight types, beside the same JSON made by hand: json.dumps of
       rows that exist already as Python values, in a server that does nothing else
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import requests
from azure.kusto.data import KustoClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REMORA = Path(sys.executable).parent / "remora"
TOPOLOGY = '[[clusters]]\nname = "leader"\nstreaming_ingestion = true\n'
DATABASE = "Bench"
SCHEMA = (
    "TimeStamp: datetime, Name: string, Number: int, Total: long, Ratio: real, Id: guid, "
    "Bag: dynamic, Span: timespan"
)
SLICE_ROWS = 25_000


@contextmanager
def node() -> Iterator[str]:
    """A leader of its own; gives its URL."""
    name = f"bench-sdk-{os.getpid()}"

    def remora(*words: str) -> str:
        done = subprocess.run(
            [REMORA, *words, "--name", name], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"remora {words[0]} failed:\n{done.stderr}")
        return done.stdout

    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder:
        topology = Path(folder) / "topology.toml"
        topology.write_text(TOPOLOGY)
        setup = json.loads(remora("up", str(topology), "--data", f"{folder}/data", "--json"))
        try:
            yield setup["clusters"][0]["nodes"][0]["http"]
        finally:
            remora("destroy", "--yes")


def fill(client: KustoClient, url: str, rows: int) -> None:
    """Makes the table and streams rows into it."""
    client.execute_mgmt("NetDefaultDB", f".create database {DATABASE}")
    client.execute_mgmt(DATABASE, f".create table T ({SCHEMA})")
    client.execute_mgmt(DATABASE, ".alter table T policy streamingingestion enable")
    for start in range(0, rows, SLICE_ROWS):
        lines = "".join(map(line, range(start, min(rows, start + SLICE_ROWS))))
        answer = requests.post(
            f"{url}/v1/rest/ingest/{DATABASE}/T?streamFormat=csv", data=lines.encode(), timeout=60
        )
        if answer.status_code != 200:
            raise SystemExit(f"ingestion failed: {answer.text}")


def line(number: int) -> str:
    """One row of CSV."""
    return (
        f"2026-11-21T08:00:{number % 60:02}.{number % 1_000_000:06}Z,process.{number}.rss,{number},"
        f"{number * 1_000_003},{number / 7},{number:08x}-0000-4000-8000-000000000000,"
        f'"{{""host"":{number % 100},""up"":true}}",00:00:{number % 60:02}.5\n'
    )


class ByHand(http.server.BaseHTTPRequestHandler):
    """Answers each query with ``json.dumps`` of frames that are there already."""

    protocol_version = "HTTP/1.1"
    frames: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        """One query."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(self.frames).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self.wfile.write(f"{head}\r\n\r\n".encode() + body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def serve_by_hand(url: str) -> None:
    """The process of the server by hand: gets its rows from a node, once. Prints its port."""
    body = {"db": DATABASE, "csl": "T"}
    ByHand.frames = requests.post(f"{url}/v2/rest/query", json=body, timeout=60).json()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ByHand)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


@contextmanager
def server_by_hand(url: str) -> Iterator[str]:
    """The URL of a server by hand with the rows of ``T``."""
    process = subprocess.Popen(
        [sys.executable, __file__, "by-hand", url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def milliseconds(call: Callable[[], object], times: int) -> dict[str, float]:
    """Percentiles of a call's time."""
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1e3)
    taken.sort()
    return {
        "p50": round(statistics.median(taken), 2),
        "p90": round(taken[len(taken) * 9 // 10], 2),
        "least": round(taken[0], 2),
    }


def raw(url: str) -> Callable[[], object]:
    """The same query without the SDK: what of the time is the server's and the wire's."""
    session = requests.Session()
    body = {"db": DATABASE, "csl": "T"}
    return lambda: session.post(f"{url}/v2/rest/query", json=body, timeout=60).content


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both measurements on one node."""
    with node() as url, KustoClient(url) as client:
        fill(client, url, arguments.rows)
        count = milliseconds(lambda: client.execute(DATABASE, "T | count"), arguments.calls)
        large = milliseconds(lambda: client.execute(DATABASE, "T"), arguments.large)
        large_raw = milliseconds(raw(url), arguments.large)
        with server_by_hand(url) as other, KustoClient(other) as by_hand:
            hand = milliseconds(lambda: by_hand.execute(DATABASE, "T"), arguments.large)
            hand_raw = milliseconds(raw(other), arguments.large)
        return {
            "count_ms": count,
            "large_ms": large,
            "by_hand_ms": hand,
            "large_to_by_hand": round(large["p50"] / hand["p50"], 3),
            "large_without_sdk_ms": large_raw,
            "by_hand_without_sdk_ms": hand_raw,
            "without_sdk_to_by_hand": round(large_raw["p50"] / hand_raw["p50"], 3),
        }


def main() -> None:
    """Parses the command line; ``sdk`` comes first."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench sdk",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("verb", choices=["sdk"])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of T (default 100,000)")
    parser.add_argument("--calls", type=int, default=300, help="counts (default 300)")
    parser.add_argument("--large", type=int, default=7, help="large results (default 7)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    arguments = parser.parse_args()
    found = measure(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps({"verb": "sdk", **found}) + "\n")
        return
    for key, value in found.items():
        sys.stdout.write(f"{key:>24}  {value}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["by-hand"]:
        serve_by_hand(sys.argv[2])
    else:
        main()
