"""scripts/bench rest: streaming POSTs over HTTP, and what the bridge into trio costs.

ingest  16 connections, 1 KB of CSV each, acknowledged when durable: requests a second at a leader
bridge  the same requests with nothing behind them: with the bridge into trio, and without
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import trio

from cluster.gateway.http.messages import HttpRequest, HttpResponse
from cluster.gateway.http.server import HttpServer
from cluster.processors import keep_to_one

if TYPE_CHECKING:
    from collections.abc import Iterator

LOAD = Path(__file__).parent / "bench_rest_load.py"
REMORA = Path(sys.executable).parent / "remora"
TOPOLOGY = """
[limits]
ingest_requests_per_core = {clients}
[[clusters]]
name = "leader"
streaming_ingestion = true
"""
SCHEMA = "TimeStamp: datetime, Name: string, Metric: long, Source: string"


def load(url: str, path: str, body: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run of the load generator, in a process of its own."""
    host, _, port = url.partition("://")[2].partition(":")
    options = {
        "host": host, "port": int(port), "path": path, "body": body,
        "clients": arguments.clients, "seconds": arguments.seconds,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, LOAD, json.dumps(options)], stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measured(pid: int, run: Any) -> dict[str, Any]:
    """A run with the processor time that process ``pid`` needed for it."""
    process = psutil.Process(pid)
    before = process.cpu_times()
    result: dict[str, Any] = run()
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    result["server_cpu_us_per_request"] = round(used / result["requests"] * 1e6, 1)
    return result


def body_of(size_bytes: int) -> str:
    """CSV of about ``size_bytes``."""
    row = "2026-11-21T08:00:00.123456Z,process.{0}.rss,{0},host/{0}\n"
    rows: list[str] = []
    while sum(map(len, rows)) + len(row) <= size_bytes:
        rows.append(row.format(len(rows)))
    return "".join(rows)


def ingest(arguments: argparse.Namespace) -> dict[str, Any]:
    """Streaming ingestion into a leader of its own."""
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder:

        def remora(*words: str) -> str:
            name = ("--name", "bench-rest")
            environment = {"REMORA_HOME": f"{folder}/home"}
            done = subprocess.run(
                [REMORA, *words, *name], capture_output=True, text=True, check=True, env=environment
            )
            return done.stdout

        topology = Path(folder) / "topology.toml"
        topology.write_text(TOPOLOGY.format(clients=arguments.clients))
        setup = json.loads(remora("up", str(topology), "--json"))
        try:
            node = setup["clusters"][0]["nodes"][0]
            for command in (
                f".create table T ({SCHEMA})",
                ".alter table T policy streamingingestion enable",
            ):
                remora("command", "leader", "NetDefaultDB", command)
            path = "/v1/rest/ingest/NetDefaultDB/T?streamFormat=csv"
            body = body_of(1024)
            return measured(node["pid"], lambda: load(node["http"], path, body, arguments))
        finally:
            remora("destroy", "--yes")


@contextmanager
def server(kind: str) -> Iterator[tuple[int, str]]:
    """A server with nothing behind it, in a process of its own: its pid and URL."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", kind], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def bridge(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a request costs with and without the bridge, and the difference."""
    results: dict[str, Any] = {}
    for kind in ("plain", "bridge"):
        with server(kind) as (pid, url):
            body = body_of(1024)
            results[kind] = measured(pid, partial(load, url, "/", body, arguments))
    costs = [results[kind]["server_cpu_us_per_request"] for kind in ("plain", "bridge")]
    return {**results, "bridge_cpu_us_per_request": round(costs[1] - costs[0], 1)}


async def serve(kind: str) -> None:
    """The server of :func:`server`; "plain" answers in the asyncio thread."""
    answer = HttpResponse(body=b"{}" * 200)

    async def handler(request: HttpRequest) -> HttpResponse:
        del request
        return answer

    keep_to_one(0)
    http = HttpServer(handler)
    if kind == "plain":
        answer_at_once(answer)
    url = http.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(http.serve, grace_seconds=1.0))
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()


def answer_at_once(answer: HttpResponse) -> None:
    """Takes the bridge out: requests are read and answered where they arrive."""
    from cluster.gateway.http import application

    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        del self, send
        request = await application.read_request(scope, receive, 1 << 24)
        assert request is not None
        scope[application.CONNECTION].respond(answer)

    application.Application.__call__ = call  # type: ignore[method-assign]


def main(words: list[str]) -> None:
    """Runs what is asked and prints it."""
    if words[:1] == ["serve"]:
        trio.run(serve, words[1])
        return
    parser = argparse.ArgumentParser(
        prog="scripts/bench rest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["ingest", "bridge"], nargs="?", default="ingest")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(words)
    result = (ingest if arguments.what == "ingest" else bridge)(arguments)
    sys.stdout.write(json.dumps(result, indent=None if arguments.json else 2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
