"""Shared access signatures of an Azure Storage account, made with its key. Pure.

``rest/api/storageservices/create-service-sas`` and ``create-account-sas``: fields in a fixed order,
one a line, HMAC-SHA256 with the key, base64. Clients get a *service* SAS, for one container, queue
or table; the node's own requests carry an *account* SAS that lives for minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from cluster.queued.addresses import StorageKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.queued.account.settings import StorageAccount

VERSION: Final = "2021-10-04"
"""Of signatures and of the node's requests. Old enough for every Azurite of the last years."""

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_OWN_SECONDS: Final = 900
_EMPTY_OF_BLOB: Final = 7
"""Fields of a blob's signature after its kind: snapshot, encryption scope, five headers."""

_EMPTY_OF_TABLE: Final = 4
"""First and last keys of the rows that may be used: all."""


def service_sas(
    account: StorageAccount, kind: StorageKind, name: str, permissions: str, expires_seconds: int
) -> str:
    """The query of an address of a container, queue or table. ``permissions`` in Azure's order."""
    expires = datetime.fromtimestamp(expires_seconds, UTC).strftime(_TIME)
    values = {"sv": VERSION, "se": expires, "sp": permissions, "spr": _protocols(account, kind)}
    if kind is StorageKind.BLOB:
        values["sr"] = "c"
    if kind is StorageKind.TABLE:
        values["tn"] = name
    values["sig"] = _service_signature(account, kind, name, values)
    return urlencode(values)


def is_own_container_sas(
    account: StorageAccount, container: str, query: Mapping[str, str], now_seconds: float
) -> bool:
    """Whether :func:`service_sas` made ``query`` for reading a container, and it is still good."""
    if query.get("sr") != "c" or "r" not in query.get("sp", ""):
        return False
    wanted = _service_signature(account, StorageKind.BLOB, container, query)
    if not hmac.compare_digest(wanted.encode(), query.get("sig", "").encode()):
        return False
    # Signed with the key, but perhaps by somebody else, who may write times in other ways.
    try:
        until = datetime.strptime(query.get("se", ""), _TIME).replace(tzinfo=UTC)
    except ValueError:
        return False
    return until.timestamp() > now_seconds


def account_sas(account: StorageAccount, now_seconds: float) -> str:
    """The query of the node's own requests: everything in the three services, for minutes."""
    expires = datetime.fromtimestamp(now_seconds + _OWN_SECONDS, UTC).strftime(_TIME)
    values = {
        "sv": VERSION,
        "ss": "bqt",
        "srt": "sco",
        "sp": "rwdlacup",
        "se": expires,
        "spr": _protocols(account, StorageKind.QUEUE),
    }
    lines = (
        account.name,
        values["sp"],
        values["ss"],
        values["srt"],
        "",  # valid since
        expires,
        "",  # from which addresses
        values["spr"],
        VERSION,
        "",  # encryption scope
        "",
    )
    values["sig"] = _signed(account, lines)
    return urlencode(values)


def _service_signature(
    account: StorageAccount, kind: StorageKind, name: str, values: Mapping[str, str]
) -> str:
    lines = [
        values.get("sp", ""),
        values.get("st", ""),
        values.get("se", ""),
        f"/{kind}/{account.name}/{name}",
        values.get("si", ""),
        values.get("sip", ""),
        values.get("spr", ""),
        values.get("sv", ""),
    ]
    if kind is StorageKind.BLOB:
        lines += [values.get("sr", ""), *[""] * _EMPTY_OF_BLOB]
    if kind is StorageKind.TABLE:
        lines += [""] * _EMPTY_OF_TABLE
    return _signed(account, lines)


def _signed(account: StorageAccount, lines: tuple[str, ...] | list[str]) -> str:
    digest = hmac.new(account.key, "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _protocols(account: StorageAccount, kind: StorageKind) -> str:
    return "https" if account.endpoint(kind).startswith("https:") else "https,http"
