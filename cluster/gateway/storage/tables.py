"""The table service: rows by their keys."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.storage.errors import StorageError
from cluster.queued.statuses import iso
from cluster.queued.values import Entity

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.gateway.http.messages import HttpRequest
    from cluster.limits import Limits
    from cluster.queued.store import QueuedStore
    from cluster.queued.worker import FilesThread

KEYS: Final = re.compile(
    r"(?P<table>[A-Za-z0-9]+)\(PartitionKey='(?P<partition>(?:[^']|'')*)', ?"
    r"RowKey='(?P<row>(?:[^']|'')*)'\)"
)
_FILTER: Final = re.compile(r"\(?\s*(PartitionKey|RowKey) eq '((?:[^']|'')*)'\s*\)?")
_LISTED: Final = 1000
_JSON: Final = "application/json;odata=minimalmetadata;streaming=true;charset=utf-8"
_NOT_PROPERTIES: Final = frozenset({"PartitionKey", "RowKey", "Timestamp", "odata.etag"})


class TableService:
    """Answers requests about one table; access has been checked."""

    def __init__(
        self, store: QueuedStore, thread: FilesThread, *, clock: Clock, limits: Limits
    ) -> None:
        self._store = store
        self._run = thread.run
        self._clock = clock
        self._limits = limits

    async def table(self, request: HttpRequest, table: str) -> HttpResponse:
        """Requests that name no row: insert, list."""
        if request.method == "GET":
            return await self._list(request, table)
        if request.method != "POST":
            raise StorageError("UnsupportedHttpVerb", f"A table takes no {request.method[:16]}.")
        body = self._body(request)
        keys = [body.get(name) for name in ("PartitionKey", "RowKey")]
        if not all(isinstance(key, str) and _is_text(key) for key in keys):
            raise StorageError("InvalidInput", "PartitionKey and RowKey are strings.")
        entity = self._entity(table, str(keys[0]), str(keys[1]), body)
        if not await self._run(self._store.insert_entity, entity):
            raise StorageError("EntityAlreadyExists", "The specified entity already exists.")
        headers = {"ETag": _etag(entity)}
        if request.headers.get("prefer", "").lower() == "return-content":
            headers["Preference-Applied"] = "return-content"
            return _answer(_shown(entity), 201, headers)
        headers["Preference-Applied"] = "return-no-content"
        return HttpResponse(204, content_type="", headers=headers)

    async def entity(
        self, request: HttpRequest, table: str, partition: str, row: str
    ) -> HttpResponse:
        """Requests about one row."""
        if request.method == "GET":
            found = await self._run(self._store.get_entity, table, partition, row)
            if found is None:
                raise _not_found()
            return _answer(_shown(found), 200, {"ETag": _etag(found)})
        if request.method == "DELETE":
            if not await self._run(self._store.delete_entity, table, partition, row):
                raise _not_found()
            return HttpResponse(204, content_type="")
        if request.method not in ("PUT", "MERGE", "PATCH"):
            raise StorageError("UnsupportedHttpVerb", f"A row takes no {request.method[:16]}.")
        entity = self._entity(table, partition, row, self._body(request))
        is_known = await self._run(
            self._store.put_entity,
            entity,
            merge=request.method != "PUT",
            upsert="if-match" not in request.headers,
        )
        if not is_known:
            raise _not_found()
        return HttpResponse(204, content_type="", headers={"ETag": _etag(entity)})

    async def _list(self, request: HttpRequest, table: str) -> HttpResponse:
        text = request.query.get("$filter", "").strip()
        wanted = {name: value.replace("''", "'") for name, value in _FILTER.findall(text)}
        if text and _FILTER.sub("", text).replace("and", "").strip():
            raise StorageError("NotImplemented", "Filters are PartitionKey and RowKey eq 'x'.")
        partition, row = wanted.get("PartitionKey"), wanted.get("RowKey")
        found = await self._run(self._store.list_entities, table, partition, row, _LISTED)
        return _answer({"value": [_shown(item) for item in found]}, 200, {})

    def _body(self, request: HttpRequest) -> dict[str, Any]:
        if len(request.body) > self._limits.storage_message_bytes:
            most = self._limits.storage_message_bytes
            raise StorageError("RequestBodyTooLarge", f"A row has at most {most} bytes.")
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise StorageError("InvalidInput", "The body is not a JSON object.")
        return body

    def _entity(self, table: str, partition: str, row: str, body: dict[str, Any]) -> Entity:
        properties = {name: value for name, value in body.items() if name not in _NOT_PROPERTIES}
        return Entity(table, partition, row, properties, self._clock.now_ns())


def _answer(body: dict[str, Any], status: int, headers: dict[str, str]) -> HttpResponse:
    return HttpResponse(status, json.dumps(body).encode(), _JSON, headers)


def _is_text(value: str) -> bool:
    """JSON can spell halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_found() -> StorageError:
    return StorageError("ResourceNotFound", "The specified resource does not exist.")


def _etag(entity: Entity) -> str:
    return f"W/\"datetime'{quote(iso(entity.updated_ns), safe='')}'\""


def _shown(entity: Entity) -> dict[str, Any]:
    return {
        "odata.etag": _etag(entity),
        "PartitionKey": entity.partition,
        "RowKey": entity.row,
        "Timestamp": iso(entity.updated_ns),
        **entity.properties,
    }
