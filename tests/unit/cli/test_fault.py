# ruff: noqa: N802 - servicers have the names of the protos
"""``remora fault``: what is asked for, what is shown, what is refused before anybody is asked."""

from __future__ import annotations

import contextlib
import json

import pytest
import trio

import cluster.transport.select
from cluster.errors import EntityNotFoundError
from cluster.rpc.v1 import coordinator_pb2, faults_pb2, faults_pb2_grpc
from cluster.transport.memory import MemoryTransport
from cluster.transport.memory_network import MemoryNetwork


class FaultService(faults_pb2_grpc.FaultServiceServicer):
    """Has the faults it is given, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests = []
        self.faults = []
        self.in_effect = True
        self.error = None

    async def AddFault(self, request, call):
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        fault = faults_pb2.ActiveFault(
            id="f1",
            fault=request.fault,
            remaining_seconds=request.duration_seconds,
            in_effect=self.in_effect,
        )
        return faults_pb2.AddFaultResponse(fault=fault)

    async def ListFaults(self, request, call):
        return faults_pb2.ListFaultsResponse(faults=self.faults)

    async def ClearFaults(self, request, call):
        self.requests.append(request)
        return faults_pb2.ClearFaultsResponse(faults=self.faults, confirmed=self.in_effect)


class Hosts:
    """A transport that reaches the service at every address."""

    def __init__(self, service) -> None:
        self._service = service

    @contextlib.asynccontextmanager
    async def connect(self, address):
        transport = MemoryTransport(network=MemoryNetwork())
        server = transport.server()
        faults_pb2_grpc.add_FaultServiceServicer_to_server(self._service, server)
        server.listen(address)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            async with transport.connect(address) as channel:
                yield channel
            nursery.cancel_scope.cancel()


@pytest.fixture
def service(world, monkeypatch):
    service = FaultService()
    hosts = Hosts(service)
    monkeypatch.setattr(cluster.transport.select, "transport_from_environment", lambda **_: hosts)
    return service


def active(fault_id="f1", kind="stall", target="leader->follower1", **values):
    remaining, in_effect = values.pop("remaining", 0.0), values.pop("in_effect", True)
    fault = faults_pb2.Fault(kind=kind, target=target, **values)
    return faults_pb2.ActiveFault(
        id=fault_id, fault=fault, age_seconds=1.5, remaining_seconds=remaining, in_effect=in_effect
    )


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["link leader->follower1"], "link leader->follower1"),
        (["leader->follower1"], "leader->follower1"),
        (["link", "leader", "to", "follower1"], "link leader to follower1"),
    ],
)
def test_add_asks_for_what_was_said(world, service, words, target):
    options = ["--delay", "50ms", "--jitter", "10ms", "--for", "2m"]
    result = world.run("fault", "add", *words, "delay", *options)
    assert result.exit_code == 0
    assert result.stdout == f"f1: delay on {target} (50 ms, up to 10 ms more), 2 min left\n"
    (request,) = service.requests
    assert request.duration_seconds == 120.0
    assert request.fault == faults_pb2.Fault(
        kind="delay", target=target, seconds=0.05, jitter_seconds=0.01
    )


def test_every_value_has_its_option(world, service):
    options = ["--seconds", "-10s", "--ratio", "0.5", "--bandwidth", "1MB/s", "--leap", "1m"]
    result = world.run("fault", "add", "leader", "clock", *options, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "id": "f1",
        "target": "leader",
        "kind": "clock",
        "values": "wall -10 s, monotonic +60 s, ratio 0.5, 1 MB/s",
        "seconds": -10.0,
        "jitter_seconds": 0.0,
        "ratio": 0.5,
        "bytes_per_second": 1_000_000,
        "monotonic_seconds": 60.0,
        "age_seconds": 0.0,
        "remaining_seconds": None,
        "in_effect": True,
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["leader"], "a target and a kind are needed"),
        (["leader", "explode"], "there is no kind of fault 'explode'"),
        (["leader", "pause"], "remora pause"),
        (["leader", "slow-fsync", "--seconds", "soon"], "'soon' is not a duration"),
        (["leader", "stall", "--for", "0s"], "--for must be more than 0"),
        (["link leader->f", "bandwidth", "--bandwidth", "much"], "'much' is not a bandwidth"),
    ],
)
def test_mistakes_are_told_before_anybody_is_asked(world, service, arguments, says):
    result = world.run("fault", "add", *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not service.requests


def test_a_refusal_of_the_coordinator_has_its_remedy(world, service):
    service.error = EntityNotFoundError("no cluster 'x'", remedy="There are: leader.")
    result = world.run("fault", "add", "x", "disk-full")
    assert result.exit_code == 1
    assert "no cluster 'x'" in result.stderr
    assert "There are: leader." in result.stderr


def test_what_is_not_confirmed_is_said(world, service):
    service.in_effect = False
    for arguments in (["add", "leader", "disk-full"], ["clear", "--all"]):
        result = world.run("fault", *arguments)
        assert result.exit_code == 0
        assert "is it down or paused?" in result.stderr


def test_list_shows_each_with_what_is_left(world, service):
    assert world.run("fault", "list").stdout == "no faults\n"
    service.faults = [
        active(),
        active("f2", "slow-fsync", "leader/0", seconds=0.02, remaining=30.0, in_effect=False),
    ]
    shown = world.run("fault", "list").stdout.splitlines()
    assert shown[0].split() == ["id", "target", "kind", "values", "left", "in", "effect"]
    assert shown[2].split() == ["f1", "leader->follower1", "stall", "until", "cleared", "yes"]
    assert shown[3].split() == ["f2", "leader/0", "slow-fsync", "20", "ms", "30", "s", "not", "yet"]
    listed = json.loads(world.run("fault", "list", "--json").stdout)["faults"]
    assert [one["id"] for one in listed] == ["f1", "f2"]


def test_clear_ends_one_or_all_and_wants_to_know_which(world, service):
    service.faults = [active()]
    assert world.run("fault", "clear", "f1").stdout == "f1 is over: stall on leader->follower1\n"
    assert json.loads(world.run("fault", "clear", "--all", "--json").stdout)["confirmed"]
    assert [request.id for request in service.requests] == ["f1", ""]
    for arguments in ([], ["f1", "--all"]):
        assert world.run("fault", "clear", *arguments).exit_code == 2
    service.faults = []
    assert world.run("fault", "clear", "--all").stdout == "no faults\n"


def test_without_the_coordinator_it_is_said_so(world):
    world.mark("coordinator", identity=None)
    for arguments in (["add", "leader", "disk-full"], ["list"], ["clear", "--all"]):
        result = world.run("fault", *arguments)
        assert result.exit_code == 3
        assert "coordinator is not running" in result.stderr
        assert "remora start coordinator" in result.stderr


@pytest.mark.parametrize("verb", ["", "add", "list", "clear"])
def test_help_points_to_what_stops_processes(world, verb):
    result = world.run("fault", *verb.split(), "--help")
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "Exit codes" in words
    if not verb:
        assert "remora kill or remora pause" in words


def test_status_shows_faults(world):
    world.status = coordinator_pb2.GetStatusResponse(faults=[active(remaining=30.0)])
    assert "fault f1: stall on leader->follower1, 30 s left" in world.run("status").stdout
    (shown,) = json.loads(world.run("status", "--json").stdout)["faults"]
    assert (shown["kind"], shown["remaining_seconds"]) == ("stall", 30.0)
