"""The blob service: put, blocks, ranges, delete, list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Final

from cluster.errors import LimitExceededError
from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.storage import texts
from cluster.gateway.storage.errors import StorageError
from cluster.queued.disk import UnknownBlockError

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.gateway.http.messages import HttpRequest
    from cluster.limits import Limits
    from cluster.queued.blobs import Blob
    from cluster.queued.disk import BlobFiles
    from cluster.queued.worker import FilesThread

_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_NAME_CHARACTERS: Final = 1024
_LISTED: Final = 5000
_ENCRYPTED: Final = {"x-ms-request-server-encrypted": "true"}


class BlobService:
    """Answers requests about one container; access has been checked."""

    def __init__(
        self, files: BlobFiles, thread: FilesThread, *, clock: Clock, limits: Limits
    ) -> None:
        self._files = files
        self._run = thread.run
        self._clock = clock
        self._limits = limits

    async def container(self, request: HttpRequest, container: str) -> HttpResponse:
        """Requests that name no blob."""
        comp = request.query.get("comp", "")
        if request.method == "PUT":
            raise StorageError("ContainerAlreadyExists", "The container exists already.")
        if request.method not in ("GET", "HEAD"):
            raise StorageError("UnsupportedHttpVerb", "Containers of the node are its own.")
        if comp == "list":
            prefix = request.query.get("prefix", "")
            found = await self._run(self._files.listed, container, prefix, _LISTED)
            return texts.xml(texts.blobs_list(container, prefix, found))
        modified = texts.http_time(self._clock.now_ns())
        return HttpResponse(200, content_type="", headers={"Last-Modified": modified})

    async def blob(self, request: HttpRequest, container: str, name: str) -> HttpResponse:
        """Requests about one blob."""
        if len(name) > _NAME_CHARACTERS:
            raise StorageError("InvalidResourceName", "The name of the blob is too long.")
        comp = request.query.get("comp", "")
        if request.method == "PUT":
            if comp == "block":
                return await self._put_block(request, container, name)
            if comp == "blocklist":
                return await self._put_block_list(request, container, name)
            if comp:
                raise StorageError("NotImplemented", f"comp={comp} is not there.")
            return await self._put(request, container, name)
        if request.method in ("GET", "HEAD"):
            if comp == "blocklist":
                blocks = await self._run(self._files.blocks, container, name)
                return texts.xml(texts.blocks_list(blocks))
            return await self._get(request, container, name)
        if request.method == "DELETE":
            if not await self._run(self._files.delete, container, name):
                raise _not_found()
            return HttpResponse(202, content_type="")
        raise StorageError("UnsupportedHttpVerb", f"Blobs do not take {request.method[:16]}.")

    async def _put(self, request: HttpRequest, container: str, name: str) -> HttpResponse:
        if "x-ms-copy-source" in request.headers:
            raise StorageError("NotImplemented", "Copies are not made.")
        if request.headers.get("x-ms-blob-type", "BlockBlob") != "BlockBlob":
            raise StorageError("InvalidHeaderValue", "Only block blobs are kept.")
        _check_md5(request)
        blob = await self._run(
            self._files.put,
            container,
            name,
            request.body,
            _content_type(request),
            now_ns=self._clock.now_ns(),
            only_new=_only_new(request),
        )
        return _created(blob)

    async def _put_block(self, request: HttpRequest, container: str, name: str) -> HttpResponse:
        block = request.query.get("blockid", "")
        try:
            is_valid = bool(block) and len(base64.b64decode(block, validate=True)) <= 64
        except (binascii.Error, ValueError):
            is_valid = False
        if not is_valid:
            raise StorageError("InvalidBlockId", "A block id is base64 of up to 64 bytes.")
        _check_md5(request)
        now_ns = self._clock.now_ns()
        try:
            await self._run(
                self._files.put_block, container, name, block, request.body, now_ns=now_ns
            )
        except LimitExceededError as error:
            raise StorageError("BlockListTooLong", error.message) from None
        return HttpResponse(201, content_type="", headers=_ENCRYPTED)

    async def _put_block_list(
        self, request: HttpRequest, container: str, name: str
    ) -> HttpResponse:
        wanted = texts.block_ids(request.body)
        if len(wanted) > self._limits.storage_blocks:
            raise StorageError("BlockListTooLong", "The list names too many blocks.")
        try:
            blob = await self._run(
                self._files.put_block_list,
                container,
                name,
                wanted,
                _content_type(request),
                now_ns=self._clock.now_ns(),
                only_new=_only_new(request),
            )
        except UnknownBlockError as error:
            raise StorageError(
                "InvalidBlockList", f"Block '{error.block[:96]}' was not put."
            ) from None
        return _created(blob)

    async def _get(self, request: HttpRequest, container: str, name: str) -> HttpResponse:
        blob = await self._run(self._files.get, container, name)
        if blob is None:
            raise _not_found()
        matched = request.headers.get("if-match", "*")
        if matched not in ("*", blob.etag):
            raise StorageError("ConditionNotMet", "The blob has another ETag.")
        if request.headers.get("if-none-match") == blob.etag:
            return HttpResponse(304, content_type="", headers={"ETag": blob.etag})
        first, count, is_part = self._wanted(request, blob)
        headers = {
            "ETag": blob.etag,
            "Last-Modified": texts.http_time(blob.modified_ns),
            "Accept-Ranges": "bytes",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-server-encrypted": "true",
        }
        if request.method == "HEAD":
            headers["Content-Length"] = str(blob.size)
            return HttpResponse(200, b"", blob.type, headers)
        try:
            data = await self._run(self._files.read, blob, first, count)
        except FileNotFoundError:
            raise _not_found() from None
        if is_part:
            headers["Content-Range"] = f"bytes {first}-{first + len(data) - 1}/{blob.size}"
        return HttpResponse(206 if is_part else 200, data, blob.type, headers)

    def _wanted(self, request: HttpRequest, blob: Blob) -> tuple[int, int, bool]:
        """First byte, number of bytes, and whether that is an answer to a range."""
        text = request.headers.get("x-ms-range") or request.headers.get("range", "")
        most = self._limits.storage_body_bytes
        found = _RANGE.fullmatch(text.strip())
        if found is None:
            if blob.size > most and request.method == "GET":
                raise StorageError("InvalidRange", f"Ask for ranges of at most {most} bytes.")
            return 0, blob.size, False
        first = int(found[1])
        if first >= blob.size:
            raise StorageError("InvalidRange", f"The blob has {blob.size} bytes.")
        last = min(int(found[2]), blob.size - 1) if found[2] else blob.size - 1
        if last < first:
            raise StorageError("InvalidRange", "The range ends before it begins.")
        if last - first >= most:
            raise StorageError("InvalidRange", f"Ask for ranges of at most {most} bytes.")
        return first, last - first + 1, True


def _not_found() -> StorageError:
    return StorageError("BlobNotFound", "The specified blob does not exist.")


def _only_new(request: HttpRequest) -> bool:
    return request.headers.get("if-none-match") == "*"


def _content_type(request: HttpRequest) -> str:
    return (
        request.headers.get("x-ms-blob-content-type")
        or request.headers.get("content-type")
        or "application/octet-stream"
    )[:256]


def _check_md5(request: HttpRequest) -> None:
    given = request.headers.get("content-md5")
    if given is None:
        return
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    if base64.b64encode(digest).decode() != given:
        raise StorageError("Md5Mismatch", "The body does not have the MD5 of the header.")


def _created(blob: Blob | None) -> HttpResponse:
    if blob is None:
        raise StorageError("BlobAlreadyExists", "The specified blob already exists.")
    modified = texts.http_time(blob.modified_ns)
    headers = {"ETag": blob.etag, "Last-Modified": modified, **_ENCRYPTED}
    return HttpResponse(201, content_type="", headers=headers)
