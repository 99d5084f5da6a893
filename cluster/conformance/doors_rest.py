"""A door over Kusto's REST API: Azure Data Explorer, its emulator, or whoever else speaks it.

Requests are those of the official clients: streaming ingestion as the Python SDK's managed client
sends it, queries in the encodings of Python and Go by turns. What REST cannot carry is not there:
positions, tokens, bounds of staleness, and why rows are hidden.
"""

from __future__ import annotations

import gzip
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
import trio

from cluster.conformance.calls import Answer, Ingested, Ran
from cluster.conformance.doors_rest_wire import RestTable, error_of, parse_v1, parse_v2
from cluster.conformance.payloads import payload_of
from cluster.conformance.plan import BASE_COLUMNS
from cluster.conformance.values import At
from cluster.errors import NotSupportedError, ProtocolError, ThrottledError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.http_client import HttpAnswer, HttpClient

REST_SECONDS: Final = 60.0
"""Deadline of a request, with all attempts that throttling costs."""

NO_POSITION: Final = At(version=(0, 0))
"""Stands in acknowledgements of endpoints that tell none."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_THROTTLED_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_VERSION: Final = "2024-12-12"
_QUERY_OPTIONS: Final = {"notruncation": True, "queryconsistency": "strongconsistency"}
_FRAGMENTED_OPTIONS: Final = {
    "results_v2_fragment_primary_tables": True,
    "results_v2_newlines_between_frames": True,
    "results_error_reporting_placement": "end_of_table",
}


class RestDoor:
    """:class:`cluster.conformance.system.Door` of one cluster for one client.

    Owns ``client``. ``token`` is a bearer token; empty sends none. An acknowledgement is passed on
    ``visible_seconds`` after it came: rows need so long to be seen, and what a run then checks is
    that they are. Throttled requests (429) are sent again after the time the service asks for,
    until ``timeout_seconds`` are over; nothing else is.
    """

    def __init__(
        self,
        client: HttpClient,
        *,
        token: str = "",
        timeout_seconds: float = REST_SECONDS,
        visible_seconds: float = 0.0,
    ) -> None:
        self._client = client
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._visible_seconds = visible_seconds
        self._attempts: Counter[str] = Counter()
        self._requests = 0

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def ingest(
        self,
        database: str,
        table: str,
        ids: Sequence[int],
        columns: Sequence[str],
        source: str,
        *,
        flaw: str = "",
    ) -> Ingested:
        """See :class:`cluster.conformance.system.Door`. The position is :data:`NO_POSITION`."""
        body = payload_of(ids, columns, source, flaw)
        if not body.startswith(_GZIP_MAGIC):
            body = gzip.compress(body, mtime=0)
        self._attempts[source] += 1
        answer = await self._post(
            f"/v1/rest/ingest/{quote(database, safe='')}/{quote(table, safe='')}?streamFormat=Csv",
            {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"},
            body,
            request_id=f"KPC.executeManagedStreamingIngest;{source};{self._attempts[source]}",
            ingestion=True,
        )
        parse_v1(answer.body)
        await trio.sleep(self._visible_seconds)
        return Ingested(position=NO_POSITION)

    async def read(
        self,
        database: str,
        table: str,
        *,
        at_least: At | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Answer:
        """See :class:`cluster.conformance.system.Door`; the query is the table's name.

        Raises NotSupportedError for a token or a bound: no silent answer to what was not asked.
        """
        if at_least is not None or max_staleness_seconds is not None:
            raise NotSupportedError("Kusto's REST API knows no positions and no bounds")
        result = await self._query(database, table)
        ids = result.column("Id")
        if not all(isinstance(value, int) for value in ids):
            raise ProtocolError(f"the table {table} has rows without an Id")
        return Answer(
            ids=ids,
            columns=result.columns,
            filled={
                name: tuple(
                    number
                    for number, value in zip(ids, result.column(name), strict=True)
                    if value is not None
                )
                for name in result.columns
                if name not in BASE_COLUMNS
            },
        )

    async def command(self, database: str, text: str) -> Ran:
        """See :class:`cluster.conformance.system.Door`; nulls are empty texts."""
        answer = await self._post(
            "/v1/rest/mgmt",
            {"Content-Type": "application/json; charset=utf-8"},
            msgspec.json.encode({"db": database, "csl": text}),
            request_id=self._next_id("KPC.executeMgmt"),
        )
        result = parse_v1(answer.body)
        return Ran(
            columns=result.columns,
            rows=tuple(tuple(_text(value) for value in row) for row in result.rows),
        )

    async def _query(self, database: str, text: str) -> RestTable:
        """By turns with whole and with fragmented tables, properties as text and as an object."""
        request_id = self._next_id("KPC.execute")
        fragmented = self._requests % 2 == 0
        options: dict[str, Any] = _QUERY_OPTIONS | (_FRAGMENTED_OPTIONS if fragmented else {})
        properties: Any = {"Options": options, "Parameters": None if fragmented else {}}
        if not fragmented:
            properties = msgspec.json.encode(properties).decode()
        answer = await self._post(
            "/v2/rest/query",
            {"Content-Type": "application/json; charset=utf-8"},
            msgspec.json.encode({"db": database, "csl": text, "properties": properties}),
            request_id=request_id,
        )
        return parse_v2(answer.body)

    def _next_id(self, what: str) -> str:
        self._requests += 1
        return f"{what};{uuid.uuid4()}"

    async def _post(
        self,
        target: str,
        headers: dict[str, str],
        body: bytes,
        *,
        request_id: str,
        ingestion: bool = False,
    ) -> HttpAnswer:
        """The answer with status 200; any other is raised as an error."""
        sent = {
            "Accept": "application/json",
            "x-ms-app": "remora-conform",
            "x-ms-client-request-id": request_id,
            "x-ms-client-version": "Remora.Conform",
            "x-ms-version": _VERSION,
            **headers,
        }
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        until = trio.current_time() + self._timeout_seconds
        pause = _THROTTLED_SECONDS
        while True:
            left = until - trio.current_time()
            if left <= 0:
                raise TimedOutError(f"no answer within {self._timeout_seconds:g} seconds")
            answer = await self._client.send("POST", target, sent, body, timeout_seconds=left)
            if answer.status == 200:
                return answer
            error = error_of(answer.status, answer.headers, answer.body, ingestion=ingestion)
            asked = error.retry_after_seconds
            wait = pause if asked is None else asked
            if not isinstance(error, ThrottledError) or trio.current_time() + wait >= until:
                raise error
            await trio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _text(value: Any) -> str:
    """A cell as text: objects and arrays as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
