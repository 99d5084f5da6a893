"""Queued ingestion on real files, with a catalog and an ingestion that do what a test says."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import trio

from cluster.catalog.journal import Delta
from cluster.catalog.model import DEFAULT_DATABASE, Column, Database, ScalarType, Table
from cluster.errors import DatabaseNotFoundError
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.storage.routes import StorageDoor
from cluster.history.log import History
from cluster.limits import LIMITS
from cluster.queued.files import QueuedFiles, open_files
from cluster.queued.service import QueuedIngestion
from cluster.queued.worker import FilesThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from cluster.batch.ports import Request
    from cluster.gateway.http.messages import HttpResponse
    from cluster.limits import Limits
    from cluster.queued.ports import StoragePort
    from cluster.request import Caller

START_NS = 1_700_000_000_000_000_000
SECRET = b"s" * 32
ORIGIN = "http://127.0.0.1:8080"


class VirtualClock:
    """The wall clock of a test: trio's own, from a fixed moment on."""

    def now_ns(self) -> int:
        return START_NS + int(trio.current_time() * 1e9)

    def monotonic(self) -> float:
        return trio.current_time()


class Inline(FilesThread):
    """Runs functions at once: a virtual clock must not jump while a thread works."""

    async def run(self, function, *args, **kwargs):
        await trio.lowlevel.checkpoint()
        return function(*args, **kwargs)


def table(name: str, **policies: object) -> Table:
    return Table(
        name=name,
        table_id=name,
        references=(),
        schemas=((Column("n", ScalarType.LONG),),),
        column_ids=((0,),),
        policies={kind: json.dumps(value) for kind, value in policies.items()},
    )


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class Node:
    """Catalog, and ingestion into it. It outlives the process of a test.

    ``plan`` has what becomes of the next ingestions: an error to raise; ``before`` and ``after``:
    the process is killed before, after the commit; ``empty``: no row was found. Else rows arrive.
    """

    databases: dict[str, Database] = field(default_factory=dict)
    deltas: dict[str, list[Delta]] = field(default_factory=dict)
    stored: list[tuple[str, ...]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    plan: list[object] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    bad_error: Exception | None = None

    def __post_init__(self) -> None:
        self.databases[DEFAULT_DATABASE] = Database(DEFAULT_DATABASE, "default")
        tables = (table("T"), table("U"))
        self.databases["D"] = Database("D", "d", tables={item.name: item for item in tables})

    def get(self, name: str) -> Database:
        if name not in self.databases:
            raise DatabaseNotFoundError(f"Database '{name}' was not found.")
        return self.databases[name]

    def history(self, name: str) -> Sequence[Delta]:
        self.get(name)
        return self.deltas.get(name, [])

    def set_policy(self, name: str, value: dict[str, object]) -> None:
        tree = self.databases["D"]
        tables = {**tree.tables, name: table(name, ingestionbatching=value)}
        self.databases["D"] = replace(tree, tables=tables)

    def commit(self, name: str, text: str) -> None:
        tree = self.databases[name]
        after = replace(tree, version=tree.version.next())
        self.databases[name] = after
        delta = Delta(tree.version, after.version, (), text=text)
        self.deltas.setdefault(name, []).append(delta)

    async def sources(self, request: Request, sources: Sequence[Any]) -> tuple[Any, float]:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        step = self.plan.pop(0) if self.plan else None
        names = tuple(source.shown.rpartition("/")[2] for source in sources)
        if isinstance(step, Exception):
            raise step
        if self.bad.intersection(names):
            assert self.bad_error is not None
            raise self.bad_error
        if step == "before":
            raise Crash
        if step == "empty":
            return (), 0.0
        self.stored.append(names)
        self.commit(request.database, request.text)
        if step == "after":
            raise Crash
        return ("extent",), 0.0

    @property
    def arrived(self) -> list[str]:
        """Names of blobs in the order in which they were stored."""
        return [name for names in self.stored for name in names]


@dataclass
class World:
    """One process."""

    service: QueuedIngestion
    door: StorageDoor
    node: Node
    history: History
    clock: VirtualClock

    def sas(self, name: str, permissions: str = "rcwdlaup", *, seconds: int = 3600) -> str:
        return self.service.signer.sas(name, permissions, START_NS // 10**9 + seconds)

    def blob(self, name: str) -> str:
        return f"{ORIGIN}/devstoreaccount1/ingestdata/{name}?{self.sas('ingestdata')}"

    async def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        sas: str | None = None,
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> HttpResponse:
        """Sends a request to ``/devstoreaccount1/PATH``, by default with every permission."""
        name = path.partition("/")[0].partition("(")[0]
        signed = self.sas(name) if sas is None else sas
        values = {**dict(parse_qsl(signed)), **query}
        request = HttpRequest(
            method,
            f"/devstoreaccount1/{path}",
            query=values,
            headers={"host": "127.0.0.1:8080", **(headers or {})},
            body=body,
            activity_id="activity",
        )
        return await self.door.answer(request)

    async def upload(self, name: str, data: bytes = b"1\n") -> str:
        """Puts a blob; returns its address."""
        response = await self.send("PUT", f"ingestdata/{name}", data)
        assert response.status == 201, response.body
        return self.blob(name)

    async def queue(self, name: str, *, flush: bool = True, **fields: object) -> HttpResponse:
        """Puts a blob and a message about it."""
        address = await self.upload(name)
        return await self.put_message(message(address, name, flush=flush, **fields))

    async def put_message(self, text: str) -> HttpResponse:
        body = f"<QueueMessage><MessageText>{encoded(text)}</MessageText></QueueMessage>"
        return await self.send("POST", "readyforaggregation-secured/messages", body.encode())

    async def reports(self, queue: str) -> list[dict[str, Any]]:
        """What is in a queue of outcomes."""
        thread, store = self.service.thread, self.service.store
        found = await thread.run(store.peek_messages, queue, 32, now_ns=self.clock.now_ns())
        return [json.loads(base64.b64decode(item.text)) for item in found]

    def failures(self) -> list[tuple[str, str]]:
        """Table and code of ``.show ingestion failures``."""
        return [(item.table, item.error_code) for item in self.history.ingestion_failures()]


def message(address: str, source_id: str, *, flush: bool = True, **fields: object) -> str:
    """A message as the Python SDK writes it."""
    extra = fields.pop("extra", {})
    assert isinstance(extra, dict)
    body = {
        "BlobPath": address,
        "DatabaseName": "D",
        "TableName": "T",
        "RetainBlobOnSuccess": True,
        "FlushImmediately": flush,
        "ReportLevel": 2,
        "ReportMethod": 0,
        "Id": source_id,
        "AdditionalProperties": {"format": "csv", **extra},
        **fields,
    }
    return json.dumps(body)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@asynccontextmanager
async def process(
    folder: Path,
    node: Node,
    *,
    limits: Limits = LIMITS,
    allowed: Any = None,
    storage_of: Callable[[QueuedFiles, VirtualClock], StoragePort] | None = None,
) -> AsyncIterator[World]:
    """One process on a folder; it ends with the context. ``storage_of``: where clients upload."""
    clock = VirtualClock()
    history = History(clock, limits)

    def authorize(caller: Caller, database: str, table: str) -> None:
        if allowed is not None:
            allowed(caller, database, table)

    async with open_files(folder, secret=SECRET, limits=limits) as files:
        inline = QueuedFiles(files.store, files.blobs, Inline())
        service = QueuedIngestion(
            inline,
            catalog=node,
            ingestion=node,
            history=history,
            authorize=authorize,
            clock=clock,
            limits=limits,
            storage=None if storage_of is None else storage_of(inline, clock),
        )
        world = World(
            service, StorageDoor(service, clock=clock, limits=limits), node, history, clock
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(service.run)
                yield world
                nursery.cancel_scope.cancel()
        except* Crash:
            pass
