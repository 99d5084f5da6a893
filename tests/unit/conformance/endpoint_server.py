"""A small Kusto on loopback that speaks the documented REST wire; and a server of canned answers.

Both run in a thread of their own, on real sockets. What is documented comes from Microsoft's
``api/rest`` pages and from what the official clients send and accept.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

INGESTED = {
    "Tables": [
        {
            "TableName": "Table_0",
            "Columns": [
                {"ColumnName": "ConsumedRecordsCount", "DataType": "Int64", "ColumnType": "long"},
                {"ColumnName": "UpdatePolicyStatus", "DataType": "String", "ColumnType": "string"},
            ],
            "Rows": [[0, "Inactive"]],
        }
    ]
}


@dataclass(frozen=True)
class Request:
    """What came, the body not compressed any more."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What goes. ``cut``: so many bytes of the body are not sent. ``hang``: nothing is."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    hang: threading.Event | None = None

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@contextmanager
def serving(answer: Callable[[Request], Reply], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server on loopback; the URL of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            headers = {key.lower(): value for key, value in self.headers.items()}
            reply = answer(Request(unquote(parts.path), query, headers, body))
            if reply.hang is not None:
                reply.hang.wait(10)
                self.close_connection = True
                return
            data = reply.encoded()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) - reply.cut])
            self.close_connection = self.close_connection or reply.cut > 0

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def error(code: str, message: str, *, permanent: bool, kusto_type: str = "") -> dict[str, Any]:
    """An error object as the service writes it."""
    return {
        "error": {
            "code": code,
            "message": "Request is invalid and cannot be executed.",
            "@type": kusto_type,
            "@message": message,
            "@permanent": permanent,
        }
    }


def v1(columns: tuple[str, ...], rows: list[list[Any]]) -> dict[str, Any]:
    """A dataset of one table, version 1."""
    told = [{"ColumnName": c, "DataType": "String", "ColumnType": "string"} for c in columns]
    return {"Tables": [{"TableName": "Table_0", "Columns": told, "Rows": rows}]}


def v2(columns: tuple[str, ...], rows: list[Any], *, fragmented: bool = False) -> list[Any]:
    """A dataset of one primary result, version 2, in either encoding."""
    told = [{"ColumnName": c, "ColumnType": "long" if c == "Id" else "string"} for c in columns]
    properties = {"FrameType": "DataTable", "TableId": 0, "TableKind": "QueryProperties",
                  "TableName": "@ExtendedProperties", "Columns": [], "Rows": []}  # fmt: skip
    primary = {"TableId": 1, "TableKind": "PrimaryResult", "TableName": "PrimaryResult",
               "Columns": told}  # fmt: skip
    if fragmented:
        table = [
            {"FrameType": "TableHeader", **primary},
            *(
                {"FrameType": "TableFragment", "TableFragmentType": "DataAppend", "TableId": 1,
                 "Rows": rows[at : at + 2]}
                for at in range(0, len(rows), 2)
            ),
            {"FrameType": "TableCompletion", "TableId": 1, "RowCount": len(rows)},
        ]  # fmt: skip
    else:
        table = [{"FrameType": "DataTable", **primary, "Rows": rows}]
    return [
        {"FrameType": "DataSetHeader", "IsProgressive": False, "Version": "v2.0",
         "IsFragmented": fragmented},
        properties,
        *table,
        {"FrameType": "DataSetCompletion", "HasErrors": False, "Cancelled": False},
    ]  # fmt: skip


class ToyKusto:
    """A leader and a follower with one database, as REST shows them.

    ``drops``: every so many acknowledged request is forgotten. ``gate``: the follower's capability.
    A follower whose capability is off shows what it had when it was turned off.
    """

    def __init__(self, *, drops: int = 0, leaks: bool = False) -> None:
        self.drops = drops
        self.leaks = leaks
        self.tables: dict[str, list[list[Any]]] = {}
        self.seen: dict[str, list[list[Any]]] = {}
        self.is_on = True
        self.requests: list[Request] = []
        self._acknowledged = 0
        self._lock = threading.Lock()

    def turn(self, *, on: bool) -> None:
        """The follower's capability."""
        with self._lock:
            self.is_on = on
            self.seen = {name: [] for name in self.tables}

    def leader(self, request: Request) -> Reply:
        """Answers as the leader."""
        with self._lock:
            self.requests.append(request)
            if request.path.startswith("/v1/rest/ingest/"):
                return self._ingest(request)
            if request.path == "/v1/rest/mgmt":
                return self._command(request.json["csl"])
            return self._query(request, self.tables)

    def follower(self, request: Request) -> Reply:
        """Answers as the follower."""
        with self._lock:
            self.requests.append(request)
            if request.path == "/v2/rest/query":
                hidden = not self.is_on and not self.leaks
                return self._query(request, self.seen if hidden else self.tables)
            refusal = error("Forbidden", "the database is read-only", permanent=True)
            return Reply(refusal, status=403)

    def _ingest(self, request: Request) -> Reply:
        table = request.path.split("/")[-1]
        if table not in self.tables:
            missing = error("BadRequest_EntityNotFound", "no such table", permanent=True)
            return Reply(missing, status=400)
        rows = [[int(row[0]), *row[1:]] for row in csv.reader(io.StringIO(request.body.decode()))]
        self._acknowledged += 1
        if not (self.drops and self._acknowledged % self.drops == 0):
            self.tables[table] += rows
        return Reply(INGESTED)

    def _command(self, text: str) -> Reply:
        if made := re.match(r"\.create(?:-merge)? table (\S+) ", text):
            self.tables.setdefault(made[1], [])
        elif dropped := re.match(r"\.drop table (\S+)", text):
            self.tables.pop(dropped[1], None)
        elif text == ".show tables":
            return Reply(v1(("TableName",), [[name] for name in self.tables]))
        elif not text.startswith((".alter table ", ".clear database cache ")):
            refusal = error("BadRequest_SyntaxError", f"Syntax error: {text}", permanent=True)
            return Reply(refusal, status=400)
        return Reply(v1(("Done",), [["yes"]]))

    def _query(self, request: Request, tables: dict[str, list[list[Any]]]) -> Reply:
        properties = request.json["properties"]
        if isinstance(properties, str):
            properties = json.loads(properties)
        rows = tables.get(request.json["csl"])
        if rows is None:
            message = "Semantic error: SEM0100: Failed to resolve table"
            return Reply(error("General_BadRequest", message, permanent=True), status=400)
        fragmented = "results_v2_fragment_primary_tables" in properties["Options"]
        return Reply(v2(("Id", "Source", "At", "Payload"), rows, fragmented=fragmented))
