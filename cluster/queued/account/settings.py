"""Which storage account queued ingestion uses: what Azure's connection strings say. Pure.

In a topology file::

    [queued]
    storage = "UseDevelopmentStorage=true"      # or one of the other forms below
    allow_remote = false                        # true: the account may be on another machine

Forms of ``storage``, as Azure's own tools take them::

    UseDevelopmentStorage=true                                    Azurite on its usual ports
    UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://HOST     the same on another host
    http://127.0.0.1:10000/devstoreaccount1                       Azurite's blob endpoint; queues
                                                                  and tables on the next two ports
    DefaultEndpointsProtocol=https;AccountName=NAME;AccountKey=KEY;EndpointSuffix=core.windows.net
    AccountName=NAME;AccountKey=KEY;BlobEndpoint=URL;QueueEndpoint=URL;TableEndpoint=URL

Loopback is always allowed. Another machine takes ``allow_remote``, so that no test setup sends data
away by mistake, and HTTPS.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from cluster.errors import InvalidRequestError
from cluster.queued.addresses import StorageKind

BUILT_IN: Final = "built-in"
"""What a command line calls the node's own storage."""

EMULATOR_NAME: Final = "devstoreaccount1"
EMULATOR_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Azurite's account and its key: public, in Microsoft's documentation. No secret."""

_EMULATOR_PORTS: Final = {"blob": 10000, "queue": 10001, "table": 10002}
_SUFFIX: Final = "core.windows.net"
_NAME: Final = re.compile(r"[a-z0-9]{3,24}")
_PORT_MOST: Final = 65535
_KNOWN: Final = {
    name.casefold(): name
    for name in (
        "UseDevelopmentStorage", "DevelopmentStorageProxyUri", "DefaultEndpointsProtocol",
        "AccountName", "AccountKey", "EndpointSuffix", "BlobEndpoint", "QueueEndpoint",
        "TableEndpoint", "FileEndpoint", "SharedAccessSignature",
    )
}  # fmt: skip
_REMEDY: Final = (
    "Write UseDevelopmentStorage=true for Azurite, or copy a connection string with an account key "
    "from the portal of Azure."
)


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """An account and how it is reached. Endpoints are URLs without a slash at the end."""

    name: str
    key: bytes = field(repr=False)
    blob: str
    queue: str
    table: str

    @property
    def shown(self) -> str:
        """What may be printed of it."""
        return f"{self.name} at {self.blob}"

    def endpoint(self, kind: StorageKind) -> str:
        """The URL of one of its services."""
        return {
            StorageKind.BLOB: self.blob,
            StorageKind.QUEUE: self.queue,
            StorageKind.TABLE: self.table,
        }[kind]


@dataclass(frozen=True, slots=True)
class QueuedSettings:
    """``storage`` is a connection string, empty: the node's own storage. It may hold a key."""

    storage: str = field(default="", repr=False)
    allow_remote: bool = False

    def with_storage(self, storage: str) -> QueuedSettings:
        """With another connection string, or ``built-in``. Raises InvalidRequestError."""
        given = "" if storage.strip() == BUILT_IN else storage.strip()
        found = QueuedSettings(given, self.allow_remote)
        found.account()
        return found

    def account(self) -> StorageAccount | None:
        """The account; None: the node's own storage. Raises InvalidRequestError, with no key."""
        if not self.storage:
            return None
        account = parse_account(self.storage)
        for url in (account.blob, account.queue, account.table):
            _check_reach(url, allow_remote=self.allow_remote)
        return account


def settings_from_values(values: Any) -> QueuedSettings:
    """Reads the table ``[queued]``. Raises InvalidRequestError naming the key, and no secret."""
    if not isinstance(values, dict):
        raise InvalidRequestError("queued: must be a table, written [queued]")
    for key in values:
        if key not in ("storage", "allow_remote"):
            raise InvalidRequestError(
                f"queued.{key}: there is no such key; known are storage, allow_remote"
            )
    storage, allow_remote = values.get("storage", ""), values.get("allow_remote", False)
    if not isinstance(storage, str):
        raise InvalidRequestError("queued.storage: must be a connection string")
    if not isinstance(allow_remote, bool):
        raise InvalidRequestError("queued.allow_remote: must be true or false")
    settings = QueuedSettings(storage.strip(), allow_remote)
    settings.account()
    return settings


def settings_to_values(settings: QueuedSettings) -> dict[str, Any]:
    """What :func:`settings_from_values` reads as equal. It has the key."""
    return {"storage": settings.storage, "allow_remote": settings.allow_remote}


def has_secret(storage: str) -> bool:
    """Whether a connection string holds what nobody else may see. Azurite's key is public."""
    for piece in storage.split(";"):
        given, _, value = piece.partition("=")
        name = _KNOWN.get(given.strip().casefold())
        if name == "SharedAccessSignature" or (
            name == "AccountKey" and value.strip() != EMULATOR_KEY
        ):
            return True
    return False


def parse_account(storage: str) -> StorageAccount:
    """Reads one of the forms above. Raises InvalidRequestError, which never repeats the string."""
    if storage.casefold().startswith(("http://", "https://")):
        return _of_url(storage)
    parts = _parts(storage)
    if parts.get("UseDevelopmentStorage", "").casefold() == "true":
        return _of_emulator(parts.get("DevelopmentStorageProxyUri", "http://127.0.0.1"))
    if "SharedAccessSignature" in parts:
        raise _wrong("a SharedAccessSignature cannot sign others; an AccountKey is needed")
    name = parts.get("AccountName", "")
    if not _NAME.fullmatch(name):
        raise _wrong("AccountName must be 3 to 24 lower-case letters and digits")
    scheme = parts.get("DefaultEndpointsProtocol", "https")
    suffix = parts.get("EndpointSuffix", _SUFFIX)
    endpoints = {}
    for kind in _EMULATOR_PORTS:
        key = f"{kind.capitalize()}Endpoint"
        url = parts.get(key) or f"{scheme}://{name}.{kind}.{suffix}"
        endpoints[kind] = _endpoint(url, key)
    return StorageAccount(name, _key(parts.get("AccountKey", "")), **endpoints)


def _parts(storage: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for piece in storage.split(";"):
        if not piece.strip():
            continue
        given, equals, value = piece.partition("=")
        name = _KNOWN.get(given.strip().casefold())
        if not equals or name is None:
            # What is not known may be a part of a key: it is not repeated.
            raise _wrong(f"part {len(parts) + 1} is none of {', '.join(_KNOWN.values())}")
        if name in parts:
            raise _wrong(f"{name} is there twice")
        parts[name] = value.strip()
    return parts


def _of_url(url: str) -> StorageAccount:
    """Azurite by its blob endpoint."""
    blob = _endpoint(url, "the address")
    parts = urlsplit(blob)
    if parts.path != f"/{EMULATOR_NAME}" or parts.port is None or parts.port > _PORT_MOST - 2:
        raise _wrong(
            f"an address alone must be Azurite's, like http://127.0.0.1:10000/{EMULATOR_NAME}"
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    next_ports = (f"{parts.scheme}://{host}:{parts.port + more}/{EMULATOR_NAME}" for more in (1, 2))
    return StorageAccount(EMULATOR_NAME, _key(EMULATOR_KEY), blob, *next_ports)


def _of_emulator(proxy: str) -> StorageAccount:
    host = _endpoint(proxy, "DevelopmentStorageProxyUri")
    if urlsplit(host).port is not None or urlsplit(host).path:
        raise _wrong("DevelopmentStorageProxyUri must be http:// and a host, without a port")
    endpoints = {kind: f"{host}:{port}/{EMULATOR_NAME}" for kind, port in _EMULATOR_PORTS.items()}
    return StorageAccount(EMULATOR_NAME, _key(EMULATOR_KEY), **endpoints)


def _endpoint(url: str, key: str) -> str:
    try:
        parts = urlsplit(url.rstrip("/"))
        port = parts.port
    except ValueError:
        raise _wrong(f"{key} is not an address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _wrong(f"{key} must be http:// or https:// with a host")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise _wrong(f"{key} must be without credentials, query and fragment")
    return parts.geturl()


def _key(text: str) -> bytes:
    if not text:
        raise _wrong("AccountKey is missing")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong("AccountKey is not base64") from None


def _check_reach(url: str, *, allow_remote: bool) -> None:
    parts = urlsplit(url)
    if _is_loopback(parts.hostname or ""):
        return
    if not allow_remote:
        raise InvalidRequestError(
            f"queued.storage: {url} is not on this machine",
            remedy="Use Azurite, or set allow_remote = true in the topology's [queued].",
        )
    if parts.scheme != "https":
        raise InvalidRequestError(
            f"queued.storage: {url} is on another machine, and not https",
            remedy="Plain http is only for this machine.",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"queued.storage: {what}", remedy=_REMEDY)
