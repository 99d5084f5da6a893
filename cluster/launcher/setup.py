"""Setups on disk: what was started under a name, and where its data is.

``$REMORA_HOME`` (default ``~/.local/share/remora``) holds ``setups/NAME.json``, which only points
to the setup's folder; the folder's ``setup.json`` says what the setup is. A lost home is rebuilt
by ``remora up --name NAME --data FOLDER``. Several setups live side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from cluster.errors import (
    ConflictError,
    CorruptionError,
    EntityNotFoundError,
    InvalidRequestError,
    RequestError,
    UnavailableError,
)
from cluster.launcher.identity import Identity
from cluster.launcher.topology import (
    COORDINATOR,
    Topology,
    topology_from_values,
    topology_to_values,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

FORMAT_VERSION: Final = 1
STATE_FILE: Final = "setup.json"
DEFAULT_NAME: Final = "default"
"""The setup that commands mean when they name none."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process of a setup.

    ``grpc`` is its last address, ``http`` and ``https`` its last URLs; empty before the first
    start, and where it has no such door.
    """

    id: str
    data: Path
    log: Path
    grpc: str = ""
    http: str = ""
    https: str = ""
    identity: Identity | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the last start, alive or not."""
        return None if self.identity is None else self.identity.pid


@dataclass(frozen=True, slots=True)
class Setup:
    """A topology with its processes: the coordinator first, then the nodes in order."""

    name: str
    folder: Path
    topology: Topology
    processes: Mapping[str, ProcessRecord]

    @classmethod
    def planned(cls, name: str, folder: Path, topology: Topology) -> Setup:
        """A setup of which nothing has been started."""
        processes = {
            process: ProcessRecord(
                process, folder / process, folder / "logs" / f"{process.replace('/', '-')}.log"
            )
            for process in topology.process_ids()
        }
        return cls(name, folder, topology, processes)

    def process(self, name: str) -> ProcessRecord:
        """The process with this id; a cluster's name stands for its only node.

        Raises EntityNotFoundError.
        """
        record = self.processes.get(name) or self.processes.get(f"{name}/0")
        if record is None:
            raise EntityNotFoundError(
                f"setup '{self.name}' has no process '{name}'",
                remedy=f"Use one of: {', '.join(self.processes)}.",
            )
        return record

    def node_of(self, cluster: str) -> ProcessRecord:
        """The node that takes a cluster's requests. Raises EntityNotFoundError."""
        if cluster not in (known := [spec.name for spec in self.topology.clusters]):
            raise EntityNotFoundError(
                f"setup '{self.name}' has no cluster '{cluster}'",
                remedy=f"Use one of: {', '.join(known)}.",
            )
        return self.processes[f"{cluster}/0"]

    @property
    def ingest_folder(self) -> Path:
        """Whose files ``.ingest into`` may read, unless the topology names another folder."""
        return self.folder / "ingest"

    @property
    def coordinator(self) -> ProcessRecord:
        """The coordinator."""
        return self.processes[COORDINATOR]

    def with_process(self, record: ProcessRecord) -> Setup:
        """The setup after a process was started."""
        return replace(self, processes={**self.processes, record.id: record})


class Home:
    """The registry of setups in one folder, usually ``$REMORA_HOME``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def default_folder(self, name: str) -> Path:
        """Where a setup's data goes unless told otherwise."""
        return self.folder / "data" / _checked(name)

    def names(self) -> tuple[str, ...]:
        """Names of all setups, sorted."""
        return tuple(sorted(path.stem for path in (self.folder / "setups").glob("*.json")))

    def find(self, name: str) -> Setup | None:
        """The setup, or None if there is none of that name. Raises CorruptionError."""
        pointer = self._pointer(name)
        try:
            folder = Path(json.loads(pointer.read_text())["folder"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(pointer, error) from None
        return read_setup(folder)

    def load(self, name: str) -> Setup:
        """The setup. Raises UnavailableError if there is none of that name."""
        setup = self.find(name)
        if setup is None:
            known = ", ".join(self.names())
            raise UnavailableError(
                f"no setup named '{name}' is up" + (f"; there are: {known}" if known else ""),
                remedy=start_remedy(name) + (", or choose one with --name" if known else ""),
            )
        return setup

    def save(self, setup: Setup) -> None:
        """Writes the setup's state, then its registration."""
        _write(setup.folder / STATE_FILE, setup_to_values(setup))
        _write(self._pointer(setup.name), {"folder": str(setup.folder)})

    def forget(self, name: str) -> None:
        """Removes the registration. The data stays."""
        self._pointer(name).unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """Holds the setup for one command that changes it; others wait. Dies with the process."""
        path = self._pointer(name).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await trio.to_thread.run_sync(
                fcntl.flock, descriptor, fcntl.LOCK_EX, abandon_on_cancel=True
            )
            yield
        finally:
            os.close(descriptor)

    def _pointer(self, name: str) -> Path:
        return self.folder / "setups" / f"{_checked(name)}.json"


def start_remedy(name: str) -> str:
    """What to do about a setup that is not up."""
    return "Start it: remora up" + ("" if name == DEFAULT_NAME else f" --name {name}")


def read_setup(folder: Path) -> Setup | None:
    """What a folder's state file says, or None without one. Raises CorruptionError."""
    path = folder / STATE_FILE
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(path, error) from None
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ConflictError(
            f"{path} has format {version}; this version of Remora reads {FORMAT_VERSION}",
            remedy="Use the version of Remora that made it.",
        )
    try:
        return setup_from_values(values, folder)
    except (KeyError, TypeError, ValueError, AttributeError, RequestError) as error:
        raise _damaged(path, error) from None


def setup_to_values(setup: Setup) -> dict[str, Any]:
    """The state file's content. Data and log places follow from the folder."""
    processes = []
    for record in setup.processes.values():
        entry: dict[str, Any] = {
            "id": record.id,
            "grpc": record.grpc,
            "http": record.http,
            "https": record.https,
        }
        if record.identity is not None:
            entry |= {
                "pid": record.identity.pid,
                "created_at_seconds": record.identity.created_at_seconds,
                "command": list(record.identity.command),
            }
        processes.append(entry)
    return {
        "format": FORMAT_VERSION,
        "name": setup.name,
        "topology": topology_to_values(setup.topology),
        "processes": processes,
    }


def setup_from_values(values: Mapping[str, Any], folder: Path) -> Setup:
    """The inverse of :func:`setup_to_values`; raises whatever a damaged file leads to."""
    setup = Setup.planned(values["name"], folder, topology_from_values(values["topology"]))
    for entry in values["processes"]:
        identity = None
        if "pid" in entry:
            command = tuple(map(str, entry["command"]))
            identity = Identity(int(entry["pid"]), float(entry["created_at_seconds"]), command)
        record = replace(
            setup.processes[entry["id"]],
            grpc=str(entry["grpc"]),
            http=str(entry.get("http", "")),  # setups of older versions have none
            https=str(entry.get("https", "")),
            identity=identity,
        )
        setup = setup.with_process(record)
    return setup


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{name[:80]!r} is not a name for a setup",
            remedy="Use 1 to 64 letters, digits, underscores, dots and dashes.",
        )
    return name


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    # A topology may have secrets: the owner's eyes only, from the first byte on.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(json.dumps(values, indent=1) + "\n")
    fresh.replace(path)


def _damaged(path: Path, error: Exception) -> CorruptionError:
    return CorruptionError(
        f"{path} is damaged: {error or type(error).__name__}",
        remedy="Move the file away; remora up makes a new one.",
        metadata={"file": str(path)},
    )
