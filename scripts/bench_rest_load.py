"""The load generator of scripts/bench rest: raw sockets, one JSON argument, one JSON line out.

One request on its way on each connection. A client library would cost more than the node.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Any, Final

_END: Final = b"\r\n\r\n"
_HEAD: Final = (
    "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/json\r\n"
    "Accept-Encoding: gzip,deflate\r\nUser-Agent: python-requests/2.32\r\n"
    "x-ms-client-version: Kusto.Python.Client:{{6.0.4}}\r\nx-ms-version: 2024-12-12\r\n"
    "x-ms-app: bench\r\nx-ms-user: [none]\r\nConnection: keep-alive\r\n"
    "Content-Length: {length}\r\nx-ms-client-request-id: KPC.executeStreamingIngest;"
)


def run(options: dict[str, Any]) -> dict[str, Any]:
    """Loads for ``seconds``; every response must be a 200 with the same bytes of body."""
    body = options["body"].encode()
    head = _HEAD.format(
        path=options["path"], host=options["host"], port=options["port"], length=len(body)
    ).encode()
    connections = {}
    poll = select.epoll()
    for _ in range(options["clients"]):
        connection = socket.create_connection((options["host"], options["port"]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
    count, response_reads, waits, sent_at = 0, 0, [], {}
    run_id = f"{time.time_ns():x}"

    def send(number: int) -> None:
        nonlocal count
        count += 1
        sent_at[number] = time.perf_counter()
        connections[number].sendall(b"%s%s-%d\r\n\r\n%s" % (head, run_id.encode(), count, body))

    started = time.perf_counter()
    deadline = started + options["seconds"]
    for number in connections:
        send(number)
    under_way, partial = len(connections), dict.fromkeys(connections, b"")
    while under_way:
        for number, _ in poll.poll():
            received = connections[number].recv(65536)
            response_reads += 1
            if not received:
                raise SystemExit("the server closed a connection")
            got = partial[number] + received
            at = got.find(_END)
            length = got[: at + 2].lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            if at < 0 or len(got) < at + len(_END) + int(length):
                partial[number] = got
                continue
            if not got.startswith(b"HTTP/1.1 200"):
                raise SystemExit(got.decode())
            partial[number] = b""
            now = time.perf_counter()
            waits.append(now - sent_at[number])
            if now < deadline:
                send(number)
            else:
                under_way -= 1
    seconds = time.perf_counter() - started
    waits.sort()
    return {
        "requests": count,
        "requests_per_second": round(count / seconds),
        "reads_per_response": round(response_reads / count, 3),
        "ms_p50": round(waits[len(waits) // 2] * 1e3, 3),
        "ms_p99": round(waits[len(waits) * 99 // 100] * 1e3, 3),
        "client_cpu_us_per_request": round(time.process_time() / count * 1e6),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(json.loads(sys.argv[1]))) + "\n")
