"""Opens storage roots by their URLs.

=================================  ===========================================================
``/path`` or ``file:///path``      a folder of this machine
``az://container[/prefix]``        Azure Blob
``s3://bucket[/prefix]``           S3, or a service that speaks as it does
=================================  ===========================================================

Accounts and secrets are never part of a URL, as it is shown in results and sent to followers. They
are options, named as the environment variables of Azure's and Amazon's own tools; a node passes
its environment::

    AZURE_STORAGE_CONNECTION_STRING    alone, also Azurite's; or
    AZURE_STORAGE_ACCOUNT_NAME         with one of AZURE_STORAGE_ACCOUNT_KEY,
                                       AZURE_STORAGE_SAS_KEY, or the AZURE_CLIENT_ID,
                                       AZURE_CLIENT_SECRET and AZURE_TENANT_ID of an application
    AZURE_STORAGE_ENDPOINT             where the account is, if not at Azure

    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
    AWS_ENDPOINT_URL                   where the service is, if not at Amazon
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, S3Store

from cluster.errors import InvalidRequestError
from cluster.extents.disk import LocalRoot
from cluster.extents.link import RemoteRoot
from cluster.extents.root import check_name
from cluster.limits import LIMITS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from obstore.store import ClientConfig, ObjectStore, RetryConfig

    from cluster.extents.root import StorageRoot
    from cluster.limits import Limits

_CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"

_AZURE_KEYS: Final = {
    "AZURE_STORAGE_ACCOUNT_NAME": "account_name",
    "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
    "AZURE_STORAGE_SAS_KEY": "sas_key",
    "AZURE_STORAGE_ENDPOINT": "endpoint",
    "AZURE_CLIENT_ID": "client_id",
    "AZURE_CLIENT_SECRET": "client_secret",
    "AZURE_TENANT_ID": "tenant_id",
}
_S3_KEYS: Final = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_REGION": "region",
    "AWS_ENDPOINT_URL": "endpoint",
}

# Azurite's and the old emulator's account: public, in Microsoft's documentation of both.
_EMULATOR: Final = (
    "AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/"
    "KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"
)

_NO_RETRIES: Final[RetryConfig] = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


def open_root(
    url: str,
    *,
    rng: random.Random,
    options: Mapping[str, str] | None = None,
    limits: Limits = LIMITS,
) -> StorageRoot:
    """The storage root of a URL or path; see the table above. Sends nothing yet.

    Raises InvalidRequestError if the URL or an option is malformed.
    """
    folder = local_folder(url)
    if folder is not None:
        return LocalRoot(folder, limits=limits)
    scheme, _, rest = url.partition("://")
    if scheme not in ("az", "s3"):
        raise InvalidRequestError(
            "a storage root is a folder, az://container/prefix or s3://bucket/prefix, not "
            f"'{_without_secrets(url)}'"
        )
    container, _, prefix = rest.rstrip("/").partition("/")
    try:
        check_name(f"{container}/{prefix}" if prefix else container)
    except ValueError:
        raise InvalidRequestError(
            f"'{_without_secrets(url)}' does not name a container or bucket and a prefix",
            remedy="Use az://container/prefix or s3://bucket/prefix; secrets go in options.",
        ) from None
    make = _azure if scheme == "az" else _s3
    try:
        store = make(container, prefix or None, options or {}, limits)
    except BaseError as error:
        raise InvalidRequestError(
            f"the options of the storage root {url} are wrong: {str(error).splitlines()[0]}"
        ) from error
    return RemoteRoot(url.rstrip("/"), store, limits=limits, rng=rng)


def local_folder(url: str) -> Path | None:
    """The folder a URL or path names; None for a root that is not of this machine.

    Raises InvalidRequestError for a ``file://`` URL of another machine.
    """
    if "://" not in url:
        return Path(url)
    if not url.startswith("file://"):
        return None
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise InvalidRequestError(f"'{url}' names no folder of this machine")
    return Path(unquote(parts.path))


def _without_secrets(url: str) -> str:
    return url.partition("?")[0].rpartition("@")[2]


def _client(endpoint: str, limits: Limits) -> ClientConfig:
    seconds = timedelta(seconds=limits.storage_call_seconds)
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": seconds,
        "connect_timeout": min(seconds, timedelta(seconds=5)),
    }


def _azure(
    container: str, prefix: str | None, options: Mapping[str, str], limits: Limits
) -> ObjectStore:
    config: dict[str, Any] = {
        key: options[name] for name, key in _AZURE_KEYS.items() if options.get(name)
    }
    if options.get(_CONNECTION_STRING):
        config.update(azure_options(options[_CONNECTION_STRING]))
    return AzureStore(
        container,
        prefix=prefix,
        config=config,  # type: ignore[arg-type]
        client_options=_client(config.get("endpoint", ""), limits),
        retry_config=_NO_RETRIES,
    )


def _s3(bucket: str, prefix: str | None, options: Mapping[str, str], limits: Limits) -> ObjectStore:
    config: dict[str, Any] = {
        key: options[name] for name, key in _S3_KEYS.items() if options.get(name)
    }
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,  # type: ignore[arg-type]
        client_options=_client(config.get("endpoint", ""), limits),
        retry_config=_NO_RETRIES,
    )


def azure_options(connection_string: str) -> dict[str, str]:
    """obstore's options for an Azure Storage connection string, Azurite's included.

    Raises InvalidRequestError, which does not repeat the string, if it is malformed.
    """
    parts = dict(part.partition("=")[::2] for part in connection_string.split(";") if part.strip())
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        return azure_options(_EMULATOR)
    name = parts.get("AccountName")
    endpoint = parts.get("BlobEndpoint")
    if endpoint is None and name:
        protocol = parts.get("DefaultEndpointsProtocol", "https")
        endpoint = f"{protocol}://{name}.blob.{parts.get('EndpointSuffix', 'core.windows.net')}"
    if endpoint is None or not ("AccountKey" in parts or "SharedAccessSignature" in parts):
        raise InvalidRequestError(
            f"{_CONNECTION_STRING} needs AccountName or BlobEndpoint, and AccountKey or "
            "SharedAccessSignature"
        )
    found = {"endpoint": endpoint.rstrip("/")}
    found["account_name"] = name or (urlsplit(endpoint).hostname or "").partition(".")[0]
    if "AccountKey" in parts:
        found["account_key"] = parts["AccountKey"]
    if "SharedAccessSignature" in parts:
        found["sas_key"] = parts["SharedAccessSignature"]
    return found


class StorageRoots:
    """The storage roots of a node, each opened once.

    ``default`` is the root of databases that name none.
    """

    def __init__(self, default: StorageRoot, open_url: Callable[[str], StorageRoot]) -> None:
        self._default = default
        self._open = open_url
        self._roots: dict[str, StorageRoot] = {default.url: default}

    @property
    def default(self) -> StorageRoot:
        """The root of databases that name none."""
        return self._default

    def of(self, url: str) -> StorageRoot:
        """The root of a URL; the default one for "". Raises InvalidRequestError."""
        if not url:
            return self._default
        root = self._roots.get(url)
        if root is None:
            root = self._roots[url] = self._open(url)
        return root

    def all(self) -> tuple[StorageRoot, ...]:
        """Every root opened so far, the default one first."""
        return tuple(self._roots.values())
