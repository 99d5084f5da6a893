"""What a setup consists of, as a value. Pure: TOML text in, :class:`Topology` out.

The file::

    allow_hosts = ["kusto"]       # names besides loopback under which HTTP is served
    host, [auth] and [tls]        # see cluster/launcher/security.py
    [queued]                      # storage of queued ingestion: cluster/queued/account/settings.py

    [limits]                      # of every process; names as in cluster/limits.py
    lease_seconds = 2.0

    [[clusters]]
    name = "leader"
    streaming_ingestion = true    # capability at the first start; default false, as in Azure
    strict = false                # true: refuse a whole attachment instead of sealed data only
    location = "local"            # region at the first start; followers are of their leader's
    nodes = 1
    http_port = 8080              # of node 0, node N has the N-th after it; default: any free ones
    storage_root = "s3://bucket/extents"  # default: a folder of the node's data
    ingest_folder = "/data/incoming"      # whose files .ingest into may read; default: ingest in
                                          # the setup's folder

    [clusters.limits]             # of this cluster's nodes, over the ones above
    queries_per_core = 4

Every mistake is an :class:`~cluster.errors.InvalidRequestError` that names the line (TOML) or the
key (``clusters[1].nodes``).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cluster.errors import InvalidRequestError, LimitExceededError, NotSupportedError
from cluster.gateway.rest.hosts import checked_host
from cluster.launcher.security import KEYS as SECURITY_KEYS
from cluster.launcher.security import Security, security_from_values, security_to_values
from cluster.limits import LIMITS, Limits
from cluster.queued.account.settings import (
    QueuedSettings,
    settings_from_values,
    settings_to_values,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COORDINATOR: Final = "coordinator"
"""Id of the coordinator among the processes of a setup; no cluster may have this name."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_LOCATION = re.compile(r"[A-Za-z0-9-]{1,63}")
_CLUSTER_KEYS: Final = (
    "name",
    "streaming_ingestion",
    "strict",
    "location",
    "nodes",
    "storage_root",
    "ingest_folder",
    "http_port",
    "limits",
)
_PORT_MOST: Final = 65535
_NAME_RULE = "1 to 63 lower-case letters, digits and dashes, starting with a letter"

DEFAULT_LOCATION: Final = "local"
"""The region of clusters that name none."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One cluster. ``limits`` are merged already: the setup's, then the cluster's own.

    ``http_port`` is node 0's, the N-th after it node N's; 0: any free ones.
    """

    name: str
    streaming_ingestion: bool = False
    strict: bool = False
    nodes: int = 1
    limits: Mapping[str, float] = field(default_factory=dict)
    storage_root: str = ""
    ingest_folder: str = ""
    location: str = DEFAULT_LOCATION
    http_port: int = 0

    def node_ids(self) -> tuple[str, ...]:
        """``name/0``, ``name/1``, ..."""
        return tuple(f"{self.name}/{number}" for number in range(self.nodes))


@dataclass(frozen=True, slots=True)
class Topology:
    """Clusters in the order of the file. ``limits`` are the coordinator's.

    ``allow_hosts`` are the names besides loopback under which HTTP is served; ``security`` is who
    may reach it, and how; ``queued`` where queued clients upload.
    """

    clusters: tuple[ClusterSpec, ...]
    limits: Mapping[str, float] = field(default_factory=dict)
    allow_hosts: tuple[str, ...] = ()
    security: Security = field(default_factory=Security)
    queued: QueuedSettings = field(default_factory=QueuedSettings)

    def allowing(self, names: Sequence[str]) -> Topology:
        """The topology with more names allowed. Raises InvalidRequestError for what is no name."""
        more = (checked_host(name) for name in names)
        return replace(self, allow_hosts=tuple(dict.fromkeys((*self.allow_hosts, *more))))

    def process_ids(self) -> tuple[str, ...]:
        """Every process: the coordinator, then the nodes in order."""
        nodes = (node for cluster in self.clusters for node in cluster.node_ids())
        return (COORDINATOR, *nodes)


DEFAULT_TOPOLOGY: Final = Topology(
    (
        ClusterSpec("leader", streaming_ingestion=True),
        ClusterSpec("follower1", streaming_ingestion=True),
        ClusterSpec("follower2", streaming_ingestion=False),
    )
)
"""What ``remora up`` starts without a file."""


def parse_topology(text: str, *, limits: Limits = LIMITS) -> Topology:
    """Reads a topology file.

    Raises InvalidRequestError, LimitExceededError (more clusters than ``limits.clusters``) or
    NotSupportedError (more than one node a cluster).
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequestError(
            f"the topology is not TOML: {error}", remedy="Correct the line named."
        ) from None
    return topology_from_values(values, limits=limits)


def topology_from_values(values: Mapping[str, Any], *, limits: Limits = LIMITS) -> Topology:
    """Reads the tables of a topology file, or what :func:`topology_to_values` wrote."""
    _only_known(values, "", ("clusters", "limits", "allow_hosts", "queued", *SECURITY_KEYS))
    common = _limits(values.get("limits", {}), "limits")
    entries = _typed(values, "", "clusters", list, [])
    if not entries:
        raise InvalidRequestError("clusters: a topology needs at least one [[clusters]] table")
    if len(entries) > limits.clusters:
        raise LimitExceededError(
            f"clusters: {len(entries)} clusters, the limit is {limits.clusters}",
            metadata={"limit": "clusters"},
        )
    clusters = tuple(
        _cluster(entry, f"clusters[{number}]", common) for number, entry in enumerate(entries)
    )
    seen: set[str] = set()
    ports: dict[int, str] = {}
    for number, cluster in enumerate(clusters):
        if cluster.name in seen:
            raise InvalidRequestError(f"clusters[{number}].name: '{cluster.name}' is there twice")
        seen.add(cluster.name)
        for node, port in enumerate(range(cluster.http_port, cluster.http_port + cluster.nodes)):
            if cluster.http_port and ports.setdefault(port, cluster.name) != cluster.name:
                raise InvalidRequestError(
                    f"clusters[{number}].http_port: node {node} would have port {port}, "
                    f"which cluster '{ports[port]}' has"
                )
    hosts = _typed(values, "", "allow_hosts", list, [])
    if not all(isinstance(host, str) for host in hosts):
        raise InvalidRequestError(f"allow_hosts: must be names, not {hosts!r}")
    security, queued = security_from_values(values), settings_from_values(values.get("queued", {}))
    return Topology(clusters, common, security=security, queued=queued).allowing(hosts)


def topology_to_values(topology: Topology) -> dict[str, Any]:
    """The tables of a file that :func:`topology_from_values` reads as an equal topology."""
    clusters = [
        {
            "name": cluster.name,
            "streaming_ingestion": cluster.streaming_ingestion,
            "strict": cluster.strict,
            "location": cluster.location,
            "nodes": cluster.nodes,
            "storage_root": cluster.storage_root,
            "ingest_folder": cluster.ingest_folder,
            "http_port": cluster.http_port,
            "limits": dict(cluster.limits),
        }
        for cluster in topology.clusters
    ]
    return {
        "allow_hosts": list(topology.allow_hosts),
        **security_to_values(topology.security),
        "queued": settings_to_values(topology.queued),
        "limits": dict(topology.limits),
        "clusters": clusters,
    }


def _cluster(values: Any, where: str, common: Mapping[str, float]) -> ClusterSpec:
    if not isinstance(values, dict):
        raise InvalidRequestError(f"{where}: must be a table, written [[clusters]]")
    _only_known(values, where, _CLUSTER_KEYS)
    nodes = _typed(values, where, "nodes", int, 1)
    if nodes < 1:
        raise InvalidRequestError(f"{where}.nodes: must be at least 1, not {nodes}")
    if nodes > 1:
        raise NotSupportedError(
            f"{where}.nodes: {nodes} nodes, but a cluster has exactly one node in this version",
            remedy="Leave nodes out, or set it to 1.",
        )
    return ClusterSpec(
        name=_name(values, where),
        streaming_ingestion=_typed(values, where, "streaming_ingestion", bool, False),
        strict=_typed(values, where, "strict", bool, False),
        nodes=nodes,
        limits={**common, **_limits(values.get("limits", {}), f"{where}.limits")},
        storage_root=_typed(values, where, "storage_root", str, ""),
        ingest_folder=_typed(values, where, "ingest_folder", str, ""),
        location=_location(values, where),
        http_port=_port(values, where, nodes),
    )


def _port(values: Mapping[str, Any], where: str, nodes: int) -> int:
    port: int = _typed(values, where, "http_port", int, 0)
    if port and not 1 <= port <= port + nodes - 1 <= _PORT_MOST:
        raise InvalidRequestError(f"{where}.http_port: {port} is not a port from 1 to {_PORT_MOST}")
    return port


def _location(values: Mapping[str, Any], where: str) -> str:
    location: str = _typed(values, where, "location", str, DEFAULT_LOCATION)
    if not _LOCATION.fullmatch(location):
        raise InvalidRequestError(
            f"{where}.location: {location[:80]!r} is not 1 to 63 letters, digits and dashes"
        )
    return location


def _name(values: Mapping[str, Any], where: str) -> str:
    if "name" not in values:
        raise InvalidRequestError(f"{where}.name: is missing")
    name: str = _typed(values, where, "name", str, "")
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(f"{where}.name: {name[:80]!r} is not {_NAME_RULE}")
    if name == COORDINATOR:
        raise InvalidRequestError(f"{where}.name: '{COORDINATOR}' is the coordinator's own name")
    return name


def _limits(values: Any, where: str) -> Mapping[str, float]:
    if not isinstance(values, dict):
        raise InvalidRequestError(f"{where}: must be a table of numbers")
    try:
        Limits.with_overrides(values)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{where}: {error.message}") from None
    return values


def _typed(
    values: Mapping[str, Any], where: str, key: str, kind: type[Value], default: Value
) -> Value:
    value = values.get(key, default)
    # bool is an int to Python, not to people.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        path = f"{where}.{key}" if where else key
        wanted = {bool: "true or false", int: "a whole number", str: "text", list: "tables"}[kind]
        raise InvalidRequestError(f"{path}: must be {wanted}, not {value!r}")
    return value


def _only_known(values: Mapping[str, Any], where: str, known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            path = f"{where}.{key}" if where else key
            raise InvalidRequestError(f"{path}: there is no such key; known are {', '.join(known)}")
