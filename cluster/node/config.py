"""A node's configuration: one JSON object, read once at start."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from cluster.access.settings import AuthSettings, auth_from_values
from cluster.errors import InvalidRequestError
from cluster.gateway.identity.hosts import check_host
from cluster.gateway.identity.links import Links
from cluster.limits import LIMITS, Limits
from cluster.queued.account.settings import QueuedSettings, settings_from_values

_KINDS = {
    "cluster": str,
    "node": str,
    "data": str,
    "coordinator": str,
    "grpc_port": int,
    "http_port": int,
    "https_port": int,
    "host": str,
    "auth": dict,
    "links": dict,
    "allow_hosts": list,
    "streaming_ingestion": bool,
    "strict": bool,
    "location": str,
    "ready_fd": int,
    "processor": int,
    "storage_root": str,
    "ingest_folder": str,
    "queued": dict,
    "limits": dict,
}
"""Type of each key, as JSON has it."""
_SECRET = ("auth", "links", "queued")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a node must be told; the launcher writes it as one JSON line to its standard input.

    ``grpc_port``, ``http_port`` and ``https_port`` 0 mean any free port. ``allow_hosts`` are names
    besides loopback under which HTTP is served (:mod:`cluster.gateway.rest.hosts`). ``processor``
    is the one the node's Python threads keep to, counted round the usable ones; -1: any (see
    :mod:`cluster.processors`). ``ready_fd`` is the file descriptor on which the node writes one
    JSON line when it serves. ``location`` is the region of the cluster; empty: ``local``.
    ``storage_root`` is the URL of the folder or container of extents; empty: a folder of ``data``.
    ``ingest_folder`` is the only folder whose files ``.ingest into`` reads; empty: ``ingest`` in
    ``data``. There is HTTPS if ``links``, how processes of the setup talk to each other, has a
    certificate. ``host`` is the address of gRPC and HTTPS; empty: loopback, where plain HTTP is in
    any case. ``auth``: who may get in. ``queued``: which storage account queued clients upload to.
    """

    cluster: str
    node: str
    data: Path
    coordinator: str
    grpc_port: int = 0
    http_port: int = 0
    https_port: int = 0
    host: str = ""
    auth: AuthSettings = field(default_factory=AuthSettings)
    links: Links = field(default_factory=Links)
    allow_hosts: tuple[str, ...] = ()
    streaming_ingestion: bool = False
    strict: bool = False
    location: str = ""
    ready_fd: int = 1
    processor: int = -1
    storage_root: str = ""
    ingest_folder: str = ""
    queued: QueuedSettings = field(default_factory=QueuedSettings)
    limits: Limits = field(default=LIMITS)

    @property
    def ingest_path(self) -> Path:
        """The folder whose files may be read by name."""
        return Path(self.ingest_folder) if self.ingest_folder else self.data / "ingest"

    @classmethod
    def from_json(cls, text: str) -> NodeConfig:
        """Parses the line. Raises InvalidRequestError naming the key that is wrong."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InvalidRequestError(f"the node's configuration is not JSON: {error}") from error
        known = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or (unknown := values.keys() - known):
            wrong = sorted(unknown) if isinstance(values, dict) else type(values).__name__
            raise InvalidRequestError(f"the node's configuration has unknown keys: {wrong}")
        missing = {"cluster", "node", "data", "coordinator"} - values.keys()
        if missing:
            raise InvalidRequestError(f"the node's configuration lacks {sorted(missing)}")
        for key, kind in _KINDS.items():
            # bool is an int to Python, not to a reader of the configuration.
            if key in values and type(values[key]) is not kind:
                shown = "a secret" if key in _SECRET else repr(values[key])
                raise InvalidRequestError(
                    f"the node's configuration wants a {kind.__name__} as '{key}', not {shown}"
                )
        hosts = values.get("allow_hosts", [])
        if not all(isinstance(name, str) for name in hosts):
            raise InvalidRequestError(
                f"the node's configuration wants names as 'allow_hosts', not {hosts!r}"
            )
        values["allow_hosts"] = tuple(hosts)
        values["data"] = Path(values["data"])
        auth = values["auth"] = auth_from_values(values.get("auth", {}))
        links = values["links"] = Links.from_values(values.get("links", {}))
        values["queued"] = settings_from_values(values.get("queued", {}))
        if values.get("host"):
            check_host(
                values["host"], is_required=auth.is_required, has_tls=bool(links.certificate)
            )
        values["limits"] = Limits.with_overrides(values.get("limits", {}))
        return cls(**values)
