"""What can be done to a setup: up, down, destroy, and faults on single processes.

``up`` spawns every process at once, so that their imports overlap, and hands each node its
configuration when the coordinator's address is known. Nothing is polled: readiness and death are
heard on pipes, ends on pidfds. Whatever ``up`` started is killed again if it fails.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import trio

from cluster.access.settings import auth_to_values
from cluster.errors import ConflictError, InvalidRequestError, RemoraError, UnavailableError
from cluster.launcher.identity import ProcessState, send_signal, state_of, wait_exit, wait_stopped
from cluster.launcher.links import prepare_links, remove_links
from cluster.launcher.processes import Child, configure, kill, spawn, wait_ready
from cluster.launcher.proxy import end_faults
from cluster.launcher.security import SecurityOptions
from cluster.launcher.setup import STATE_FILE, Home, ProcessRecord, Setup, read_setup, start_remedy
from cluster.launcher.topology import COORDINATOR, DEFAULT_TOPOLOGY, Topology
from cluster.queued.account.settings import settings_to_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cluster.gateway.identity.links import Links

READY_SECONDS: Final = 30.0
GRACE_SECONDS: Final = 10.0

# -P: a folder named "cluster" where the user happens to be must not be imported.
_PYTHON: Final = (sys.executable, "-P", "-m")


@dataclass(frozen=True, slots=True)
class Commands:
    """The command lines of the two kinds of processes; the setup's folder and the id follow."""

    coordinator: Sequence[str] = field(default=(*_PYTHON, "cluster.coordinator.main"))
    node: Sequence[str] = field(default=(*_PYTHON, "cluster.node.main"))

    def line(self, setup: Setup, process: str) -> tuple[str, ...]:
        """A whole command line. The last two words are there to tell processes apart."""
        command = self.coordinator if process == COORDINATOR else self.node
        return (*command, str(setup.folder), process)


class Launcher:
    """Operates the setup ``name`` of one home."""

    def __init__(
        self,
        home: Home,
        name: str,
        *,
        commands: Commands | None = None,
        ready_seconds: float = READY_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.home = home
        self.name = name
        self.commands = commands or Commands()
        self.ready_seconds = ready_seconds
        self.grace_seconds = grace_seconds

    def exists(self, folder: Path | None = None) -> bool:
        """True if there was such a setup before, up or down, registered or only in ``folder``."""
        known = self.home.find(self.name)
        return known is not None or (folder is not None and read_setup(folder) is not None)

    async def up(
        self,
        topology: Topology | None = None,
        folder: Path | None = None,
        *,
        allow_hosts: Sequence[str] = (),
        security: SecurityOptions | None = None,
        queued_storage: str | None = None,
    ) -> Setup:
        """Starts whatever does not run, and returns when all of it is ready.

        ``allow_hosts`` are allowed from now on besides those of the topology, by the nodes that
        this starts.

        ``security`` and ``queued_storage``, a connection string or ``built-in``, are what is said
        over the topology's, from now on.

        A setup that exists keeps its topology, folder, data and, where they are still free, ports;
        who may reach it can change while nothing of it runs. Raises ConflictError if ``topology``
        or ``folder`` contradicts it, InvalidRequestError if it would be reached from outside
        without authentication and TLS, and what
        :func:`~cluster.launcher.processes.wait_ready` raises.
        """
        async with self.home.lock(self.name):
            setup = self._plan(topology, folder)
            if allow_hosts:
                setup = replace(setup, topology=setup.topology.allowing(allow_hosts))
            down = self._not_running(setup)
            options = security or SecurityOptions()
            setup = _secured(setup, topology, options, queued_storage, down)
            self.home.save(setup)
            if COORDINATOR in down and len(down) < len(setup.processes):
                _check_port(setup.coordinator)  # nodes that run look for it there
            return await self._start(setup, down)

    async def start(self, process: str) -> ProcessRecord:
        """Starts one process again, on the port it had. Raises ConflictError if it runs."""
        async with self.home.lock(self.name):
            setup = self.home.load(self.name)
            record = setup.process(process)
            state = state_of(record.identity)
            if state is not ProcessState.DOWN:
                raise ConflictError(
                    f"{record.id} is {state.value} already (pid {record.pid})",
                    remedy=f"Use remora resume {record.id} if it is paused.",
                )
            _check_port(record)
            return (await self._start(setup, [record.id])).processes[record.id]

    async def down(self) -> tuple[str, ...]:
        """Stops every process with SIGTERM, nodes first. Data stays.

        Returns the ids of those that had to be killed after ``grace_seconds``.
        """
        async with self.home.lock(self.name):
            return await self._stop(self.home.load(self.name))

    async def destroy(self) -> None:
        """Kills every process and deletes the setup's data, and nothing else in its folder."""
        async with self.home.lock(self.name):
            setup = self.home.load(self.name)
            await self._kill_all(setup.processes.values())
            await end_faults(setup.coordinator.data)
            names = {spec.name for spec in setup.topology.clusters} | {COORDINATOR, "logs"}
            for name in names:
                if (path := setup.folder / name).exists():
                    shutil.rmtree(path)
            (setup.folder / STATE_FILE).unlink(missing_ok=True)
            remove_links(setup.folder)
            # Nodes make the first one; what somebody put into it is not ours.
            for folder in (setup.ingest_folder, setup.folder):
                if folder.exists() and not any(folder.iterdir()):
                    folder.rmdir()
            self.home.forget(self.name)

    async def kill(self, process: str) -> ProcessRecord:
        """SIGKILL; returns when the process is gone."""
        record = self._signal(process, signal.SIGKILL)
        assert record.identity is not None
        await wait_exit(record.identity)
        return record

    async def pause(self, process: str) -> ProcessRecord:
        """SIGSTOP: the process stays, with its connections, and does nothing on return."""
        record = self._signal(process, signal.SIGSTOP)
        assert record.identity is not None
        await wait_stopped(record.identity)
        return record

    def resume(self, process: str) -> ProcessRecord:
        """SIGCONT."""
        return self._signal(process, signal.SIGCONT)

    def _signal(self, process: str, number: signal.Signals) -> ProcessRecord:
        record = self.home.load(self.name).process(process)
        if record.identity is None or not send_signal(record.identity, number):
            raise UnavailableError(
                f"{record.id} is not running", remedy=f"Start it: remora start {record.id}"
            )
        return record

    def _plan(self, topology: Topology | None, folder: Path | None) -> Setup:
        setup = self.home.find(self.name)
        if setup is None:
            folder = (folder or self.home.default_folder(self.name)).absolute()
            setup = read_setup(folder)
            if setup is None:
                return Setup.planned(self.name, folder, topology or DEFAULT_TOPOLOGY)
        remedy = f"Use another --name, or remora destroy --name {self.name} first."
        if setup.name != self.name:
            raise ConflictError(f"{folder} holds the setup '{setup.name}'", remedy=remedy)
        if folder is not None and folder.absolute() != setup.folder:
            raise ConflictError(f"setup '{self.name}' is in {setup.folder}", remedy=remedy)
        # Names that were allowed by an option are in no file.
        allowed, known = setup.topology.allow_hosts, setup.topology
        if topology is not None and (
            replace(topology.allowing(allowed), security=known.security, queued=known.queued)
            != known
        ):
            raise ConflictError(f"setup '{self.name}' has another topology", remedy=remedy)
        return setup

    @staticmethod
    def _not_running(setup: Setup) -> list[str]:
        down = []
        for record in setup.processes.values():
            state = state_of(record.identity)
            if state is ProcessState.PAUSED:
                raise ConflictError(
                    f"{record.id} is paused", remedy=f"Continue it: remora resume {record.id}"
                )
            if state is ProcessState.DOWN:
                down.append(record.id)
        return down

    async def _start(self, setup: Setup, processes: Sequence[str]) -> Setup:
        children: dict[str, Child] = {}
        links = prepare_links(setup, self.home.folder)
        try:
            for process in processes:
                record = setup.processes[process]
                child = children[process] = self._spawn(setup, record)
                setup = setup.with_process(replace(record, identity=child.identity))
            self.home.save(setup)  # so that they are found even if this command is killed
            if (child_coordinator := children.get(COORDINATOR)) is not None:
                setup = await self._ready(setup, child_coordinator, links)
            results: dict[str, Setup] = {}
            async with trio.open_nursery() as nursery:
                for process, child in children.items():
                    if process != COORDINATOR:
                        nursery.start_soon(self._ready_into, results, setup, child, links)
            for process, result in results.items():
                setup = setup.with_process(result.processes[process])
        except BaseException as error:
            with trio.CancelScope(shield=True):
                for child in children.values():
                    child.close()
                    await kill(child)
            raise _first(error) from None
        self.home.save(setup)
        return setup

    def _spawn(self, setup: Setup, record: ProcessRecord) -> Child:
        record.data.mkdir(parents=True, exist_ok=True)
        try:
            return spawn(record.id, self.commands.line(setup, record.id), record.log)
        except OSError as error:
            raise UnavailableError(f"{record.id} cannot be started: {error}") from error

    async def _ready_into(
        self, results: dict[str, Setup], setup: Setup, child: Child, links: Links
    ) -> None:
        results[child.id] = await self._ready(setup, child, links)

    async def _ready(self, setup: Setup, child: Child, links: Links) -> Setup:
        record = setup.processes[child.id]
        configure(child, {**_configuration(setup, record), "links": links.to_values()})
        served = await wait_ready(child, timeout_seconds=self.ready_seconds)
        return setup.with_process(
            replace(record, grpc=served.grpc, http=served.http, https=served.https)
        )

    async def _stop(self, setup: Setup) -> tuple[str, ...]:
        killed: list[str] = []
        nodes = [record for record in setup.processes.values() if record.id != COORDINATOR]
        for group in (nodes, [setup.coordinator]):
            async with trio.open_nursery() as nursery:
                for record in group:
                    nursery.start_soon(self._terminate, record, killed)
        await end_faults(setup.coordinator.data)  # a coordinator that was killed has not
        return tuple(killed)

    async def _terminate(self, record: ProcessRecord, killed: list[str]) -> None:
        if record.identity is None or not send_signal(record.identity, signal.SIGTERM):
            return
        send_signal(record.identity, signal.SIGCONT)  # a paused process cannot hear SIGTERM
        with trio.move_on_after(self.grace_seconds) as scope:
            await wait_exit(record.identity)
        if scope.cancelled_caught:
            killed.append(record.id)
            await self._kill_all([record])

    @staticmethod
    async def _kill_all(records: Iterable[ProcessRecord]) -> None:
        identities = [record.identity for record in records if record.identity is not None]
        for identity in identities:
            send_signal(identity, signal.SIGKILL)
        for identity in identities:
            await wait_exit(identity)


def _configuration(setup: Setup, record: ProcessRecord) -> dict[str, Any]:
    common = {"data": str(record.data), "grpc_port": _port_again(record.grpc)}
    if record.id == COORDINATOR:
        return {**common, "limits": dict(setup.topology.limits)}
    name, _, number = record.id.partition("/")
    spec = next(spec for spec in setup.topology.clusters if spec.name == name)
    return {
        **common,
        "cluster": spec.name,
        "node": record.id,
        "http_port": (
            spec.http_port + int(number) if spec.http_port else _port_again(_authority(record.http))
        ),
        "https_port": _port_again(_authority(record.https)),
        "allow_hosts": [*setup.topology.allow_hosts, *setup.topology.security.host_names],
        "host": setup.topology.security.host,
        "auth": auth_to_values(setup.topology.security.auth),
        "queued": settings_to_values(setup.topology.queued),
        "coordinator": setup.coordinator.grpc,
        "streaming_ingestion": spec.streaming_ingestion,
        "strict": spec.strict,
        "location": spec.location,
        "storage_root": spec.storage_root,
        "ingest_folder": spec.ingest_folder or str(setup.ingest_folder),
        "limits": dict(spec.limits),
        # The first process is the coordinator: nodes count from 0 and spread over the processors.
        "processor": list(setup.processes).index(record.id) - 1,
    }


def _secured(
    setup: Setup,
    topology: Topology | None,
    options: SecurityOptions,
    storage: str | None,
    down: Sequence[str],
) -> Setup:
    """The setup with what a topology file, if there is one, and options say of how it is used."""
    given = setup.topology if topology is None else topology
    wanted = replace(
        setup.topology,
        security=options.over(given.security),
        queued=given.queued if storage is None else given.queued.with_storage(storage),
    )
    if wanted != setup.topology and len(down) < len(setup.processes):
        raise ConflictError(
            f"setup '{setup.name}' runs with another host, authentication, TLS or queued storage",
            remedy="Stop it first: remora down keeps its data.",
        )
    return replace(setup, topology=wanted)


def _authority(url: str) -> str:
    return url.partition("://")[2]


def _port_again(address: str) -> int:
    """The port a process had, if it still can be had; 0: any."""
    return int(address.rpartition(":")[2]) if address and _port_is_free(address) else 0


def _port_is_free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        # As gRPC does: connections that are closing do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
    return True


def _check_port(record: ProcessRecord) -> None:
    for address in (record.grpc, _authority(record.http), _authority(record.https)):
        if not address or _port_is_free(address):
            continue
        raise ConflictError(
            f"the port of {record.id}, {address}, is taken by another process",
            remedy="Stop that process; or run remora down and remora up for new ports.",
        )


def _first(error: BaseException) -> BaseException:
    """The typed error inside a group: several processes may have failed at once."""
    while isinstance(error, BaseExceptionGroup):
        typed, _ = error.split(RemoraError)
        error = (typed or error).exceptions[0]
    return error


def check_up(setup: Setup) -> None:
    """Raises UnavailableError if no process of the setup runs."""
    if all(state_of(record.identity) is ProcessState.DOWN for record in setup.processes.values()):
        raise UnavailableError(f"setup '{setup.name}' is down", remedy=start_remedy(setup.name))


def check_address(record: ProcessRecord) -> str:
    """Where a process serves. Raises UnavailableError if it is down or paused."""
    state = state_of(record.identity)
    if state is ProcessState.DOWN:
        raise UnavailableError(
            f"{record.id} is not running", remedy=f"Start it: remora start {record.id}"
        )
    if state is ProcessState.PAUSED:
        raise UnavailableError(
            f"{record.id} is paused", remedy=f"Continue it: remora resume {record.id}"
        )
    if not record.grpc:
        raise InvalidRequestError(f"{record.id} has never been ready")
    return record.grpc
