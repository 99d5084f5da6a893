"""Where ``.ingest into`` reads from: storage connection strings. Pure.

Forms (``api/connection-strings/storage-connection-strings.md``)::

    readings.csv, /allowed/folder/readings.csv, file:///allowed/folder/readings.csv
    https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH[?SAS][;ACCOUNT-KEY]
    http://127.0.0.1:10000/ACCOUNT/CONTAINER/PATH[?SAS][;ACCOUNT-KEY]          (Azurite)
    http://127.0.0.1:5000/BUCKET/KEY;AwsCredentials=ID,SECRET                 (a local S3 server)
    https://BUCKET.s3.REGION.amazonaws.com/KEY[;AwsCredentials=ID,SECRET]
    s3://BUCKET/KEY                                      (credentials from the node's environment)
    https://HOST/PATH                                                     (readable by everybody)
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from cluster.errors import InvalidRequestError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

_S3_HOST: Final = re.compile(r"(?P<bucket>[^.]+)\.s3[.-](?P<region>[a-z0-9-]+)\.amazonaws\.com")
_BLOB_HOST: Final = re.compile(r"(?P<account>[^.]+)\.(blob|dfs)\.core\.windows\.net")
_AWS: Final = "awscredentials="
_IDENTITIES: Final = ("impersonate", "managed_identity", "token")


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file of the node. ``path`` as given; the reader checks that it is in the allowed folder."""

    path: str
    shown: str

    @property
    def name(self) -> str:
        """File name; its extension tells the compression."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """An object. ``url`` and ``options`` are for ``obstore.store.from_url``, ``key`` is in it.

    ``shown`` has no credentials; nothing else may be printed.
    """

    url: str
    key: str = field(repr=False)
    shown: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """File name; its extension tells the compression."""
        return PurePosixPath(self.key).name


Source = FileSource | ObjectSource


def parse_source(text: str) -> Source:
    """Reads one storage connection string.

    Raises InvalidRequestError (not one of the forms), NotSupportedError (a form of Kusto's that
    needs an identity, or a store nobody here can reach).
    """
    if not text.strip():
        raise InvalidRequestError("The path of a source is empty.")
    address, _, secret = text.partition(";")
    shown = address.partition("?")[0]
    try:
        parts = urlsplit(address)
    except ValueError:
        raise InvalidRequestError(f"Source {shown} is not an address.") from None
    if not parts.scheme or (len(parts.scheme) == 1 and not parts.netloc):
        return FileSource(address, shown)
    if parts.scheme == "file":
        return FileSource(unquote(parts.path), shown)
    if secret.partition("=")[0].casefold() in _IDENTITIES:
        raise NotSupportedError(
            f"Source {shown}: reading with an identity is not supported.",
            remedy="Give a SAS token or an account key.",
        )
    if parts.scheme == "s3":
        return _s3(parts.netloc, parts.path, "", secret, shown)
    if parts.scheme in ("http", "https"):
        return _web(parts, secret, shown)
    raise NotSupportedError(f"Source {shown}: '{parts.scheme}' is not a scheme read here.")


def _web(parts: SplitResult, secret: str, shown: str) -> ObjectSource:
    host = parts.hostname or ""
    if match := _S3_HOST.fullmatch(host):
        return _s3(match["bucket"], parts.path, match["region"], secret, shown)
    if match := _BLOB_HOST.fullmatch(host):
        return _blob(match["account"], parts.path, "", parts.query, secret, shown)
    if _is_loopback(host) and secret.casefold().startswith(_AWS):
        bucket, _, key = parts.path.lstrip("/").partition("/")
        found = _s3(bucket, key, "us-east-1", secret, shown)
        server = {"endpoint": f"{parts.scheme}://{parts.netloc}"}
        return replace(found, options={**found.options, **server})
    if _is_loopback(host) and (secret or "sig=" in parts.query):
        account, _, rest = parts.path.lstrip("/").partition("/")
        endpoint = f"{parts.scheme}://{parts.netloc}/{account}"
        return _blob(account, f"/{rest}", endpoint, parts.query, secret, shown)
    if parts.scheme == "http" and not _is_loopback(host):
        raise InvalidRequestError(f"Source {shown}: plain http is only for this machine.")
    if secret:
        raise InvalidRequestError(f"Source {shown}: credentials are only for Azure Blob and S3.")
    key = parts.path.lstrip("/")
    if not key:
        raise InvalidRequestError(f"Source {shown} names no object.")
    query = f"?{parts.query}" if parts.query else ""
    return ObjectSource(f"{parts.scheme}://{parts.netloc}", f"{key}{query}", shown)


def _s3(bucket: str, path: str, region: str, secret: str, shown: str) -> ObjectSource:
    key = unquote(path.lstrip("/"))
    if not bucket or not key:
        raise InvalidRequestError(f"Source {shown} does not name a bucket and an object.")
    options = {"region": region} if region else {}
    if secret:
        identity, comma, password = secret[len(_AWS) :].partition(",")
        if not secret.casefold().startswith(_AWS) or not comma:
            raise InvalidRequestError(f"Source {shown}: write ;AwsCredentials=ID,SECRET.")
        options |= {"access_key_id": identity, "secret_access_key": password}
    return ObjectSource(f"s3://{bucket}", key, shown, options)


def _blob(
    account: str, path: str, endpoint: str, query: str, secret: str, shown: str
) -> ObjectSource:
    container, _, key = unquote(path.lstrip("/")).partition("/")
    if not account or not container or not key:
        raise InvalidRequestError(f"Source {shown} does not name a container and a blob.")
    options = {"account_name": account}
    if endpoint:
        options["endpoint"] = endpoint
    if secret:
        options["account_key"] = secret
    elif query:
        options["sas_key"] = query
    return ObjectSource(f"az://{container}", key, shown, options)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
