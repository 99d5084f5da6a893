"""The launcher with real processes that only pretend to be nodes."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace

import psutil
import pytest
import trio

from cluster.errors import ConflictError, ProtocolError, TimedOutError, UnavailableError
from cluster.launcher.identity import ProcessState, state_of
from cluster.launcher.lifecycle import check_address, check_up
from cluster.launcher.topology import parse_topology

pytestmark = pytest.mark.process


def states(setup):
    return {record.id: state_of(record.identity).value for record in setup.processes.values()}


async def test_up_starts_everything_and_tells_nodes_where_the_coordinator_is(world):
    topology = parse_topology(
        "[limits]\nlease_seconds = 2.5\n[[clusters]]\nname = 'leader'\nstreaming_ingestion = true\n"
        "[clusters.limits]\nqueries_per_core = 2\n[[clusters]]\nname = 'follower'\nstrict = true"
    )
    setup = await world.launcher().up(topology)
    assert set(states(setup).values()) == {"running"}
    assert world.home.load("one") == setup
    addresses = [record.grpc for record in setup.processes.values()]
    assert len(set(addresses)) == 3
    for address in addresses:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port))).close()
    coordinator, leader = world.config("coordinator"), world.config("leader/0")
    assert coordinator.keys() == {"data", "grpc_port", "limits", "links", "ready_fd"}
    assert coordinator["links"] == leader["links"]
    assert len(leader.pop("links")["secret"]) == 64
    assert leader.pop("auth")["mode"] == "optional"
    assert leader.pop("queued") == {"storage": "", "allow_remote": False}
    assert coordinator["limits"] == {"lease_seconds": 2.5}
    del leader["ready_fd"]
    assert leader == {
        "allow_hosts": [],
        "host": "",
        "http_port": 0,
        "https_port": 0,
        "cluster": "leader",
        "node": "leader/0",
        "data": str(setup.folder / "leader" / "0"),
        "coordinator": setup.coordinator.grpc,
        "grpc_port": 0,
        "streaming_ingestion": True,
        "strict": False,
        "location": "local",
        "storage_root": "",
        "ingest_folder": str(setup.folder / "ingest"),
        "limits": {"lease_seconds": 2.5, "queries_per_core": 2},
        "processor": 0,
    }
    assert world.config("follower/0")["processor"] == 1
    assert world.config("follower/0")["strict"] is True


async def test_processes_are_sessions_of_their_own_and_outlive_a_signal_to_our_group(world):
    setup = await world.launcher().up()
    for record in setup.processes.values():
        assert os.getsid(record.pid) == record.pid


async def test_down_keeps_ports_and_data_and_up_again_is_the_same_setup(world):
    launcher = world.launcher()
    first = await launcher.up()
    (first.process("leader/0").data / "rows").write_text("x")
    assert await launcher.down() == ()
    assert set(states(first).values()) == {"down"}
    with pytest.raises(UnavailableError, match="setup 'one' is down"):
        check_up(first)
    second = await launcher.up()
    assert [r.grpc for r in second.processes.values()] == [r.grpc for r in first.processes.values()]
    assert {r.pid for r in second.processes.values()}.isdisjoint(
        r.pid for r in first.processes.values()
    )
    assert (second.process("leader/0").data / "rows").read_text() == "x"


async def test_up_when_all_is_up_changes_nothing(world):
    launcher = world.launcher()
    first = await launcher.up()
    assert await launcher.up() == first


async def test_two_ups_at_once_start_one_setup(world):
    results = []

    async def up():
        results.append(await world.launcher().up())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(up)
        nursery.start_soon(up)
    assert results[0] == results[1]
    assert len(world.processes()) == 4


async def test_up_takes_another_port_if_somebody_has_taken_the_old_one(world):
    launcher = world.launcher()
    first = await launcher.up()
    await launcher.down()
    host, _, port = first.process("leader").grpc.rpartition(":")
    with socket.create_server((host, int(port))):
        second = await launcher.up()
    assert second.process("leader").grpc != first.process("leader").grpc


async def test_start_insists_on_its_port(world):
    launcher = world.launcher()
    first = await launcher.up()
    killed = await launcher.kill("leader")
    host, _, port = killed.grpc.rpartition(":")
    taken = pytest.raises(ConflictError, match="is taken by another process")
    with socket.create_server((host, int(port))), taken:
        await launcher.start("leader/0")
    started = await launcher.start("leader/0")
    assert started.grpc == first.process("leader").grpc
    assert started.pid != killed.pid


async def test_nodes_that_run_keep_up_from_moving_the_coordinator(world):
    launcher = world.launcher()
    await launcher.up()
    killed = await launcher.kill("coordinator")
    host, _, port = killed.grpc.rpartition(":")
    taken = pytest.raises(ConflictError, match="port of coordinator")
    with socket.create_server((host, int(port))), taken:
        await launcher.up()


async def test_a_process_that_dies_before_it_is_ready_takes_the_others_with_it(world):
    world.modes(follower1_0="die")
    with pytest.raises(UnavailableError) as caught:
        await world.launcher().up()
    message = caught.value.message
    assert message.startswith("follower1/0 ended before it was ready (exit code 3). Its last words")
    assert message.count("\n") == 20
    assert "  | line 10\n" in message
    assert "line 9\n" not in message
    assert message.endswith("  | line 29")
    assert caught.value.metadata["log"].endswith("one/logs/follower1-0.log")
    assert world.processes() == []


async def test_last_words_are_those_of_this_start(world):
    world.modes(leader_0="die")
    for _ in range(2):
        with pytest.raises(UnavailableError) as caught:
            await world.launcher().up()
    log = world.home.load("one").process("leader").log
    assert log.read_text().count("line 29") == 2
    assert caught.value.message.count("line 29") == 1


async def test_a_coordinator_that_dies_ends_up_without_waiting_for_nodes(world):
    world.modes(coordinator="die")
    with pytest.raises(UnavailableError, match="coordinator ended before it was ready"):
        await world.launcher().up()
    assert world.processes() == []


async def test_a_process_that_is_never_ready_is_killed(world):
    world.modes(leader_0="hang")
    with pytest.raises(TimedOutError, match=r"leader/0 was not ready after 0\.3 s and was killed"):
        await world.launcher(ready_seconds=0.3).up()
    assert world.processes() == []


async def test_a_process_that_says_something_else_is_killed(world):
    world.modes(leader_0="babble")
    with pytest.raises(ProtocolError, match="hello"):
        await world.launcher().up()
    assert world.processes() == []


async def test_a_cancelled_up_leaves_nothing(world):
    world.modes(leader_0="hang")
    async with trio.open_nursery() as nursery:

        async def up():
            await world.launcher().up()

        nursery.start_soon(up)
        ready = world.home.default_folder("one") / "leader" / "0" / "config.json"
        while not ready.exists():
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert world.processes() == []


async def test_kill_pause_resume(world):
    launcher = world.launcher()
    setup = await launcher.up()
    leader = setup.process("leader")
    await launcher.pause("leader")
    with pytest.raises(ConflictError, match="leader/0 is paused"):
        await launcher.up()
    with pytest.raises(ConflictError, match="leader/0 is paused already"):
        await launcher.start("leader")
    assert state_of(leader.identity) is ProcessState.PAUSED
    launcher.resume("leader")
    assert state_of(leader.identity) is ProcessState.RUNNING
    with pytest.raises(ConflictError, match="leader/0 is running already"):
        await launcher.start("leader")
    await launcher.kill("leader")
    assert not psutil.pid_exists(leader.pid)
    with pytest.raises(UnavailableError, match="leader/0 is not running"):
        await launcher.pause("leader")
    with pytest.raises(UnavailableError, match="leader/0 is not running"):
        launcher.resume("leader")
    with pytest.raises(UnavailableError, match="leader/0 is not running"):
        await launcher.kill("leader")
    with pytest.raises(UnavailableError, match="leader/0 is not running"):
        check_address(leader)
    check_up(setup)


async def test_down_ends_a_paused_process_with_sigterm(world):
    launcher = world.launcher()
    await launcher.up()
    await launcher.pause("leader")
    assert await launcher.down() == ()
    assert world.processes() == []


async def test_down_kills_what_does_not_listen_and_says_so(world):
    world.modes(leader_0="stubborn")
    launcher = world.launcher(grace_seconds=0.2)
    await launcher.up()
    assert await launcher.down() == ("leader/0",)
    assert world.processes() == []


async def test_a_pid_that_belongs_to_somebody_else_is_never_signalled(world):
    launcher = world.launcher()
    setup = await launcher.up()
    await launcher.kill("leader")
    record = setup.process("leader")
    other = setup.process("follower1")
    stolen = [
        replace(other.identity, command=record.identity.command),
        replace(other.identity, created_at_seconds=other.identity.created_at_seconds - 3600),
        replace(record.identity, pid=os.getpid()),
    ]
    for identity in stolen:
        world.home.save(setup.with_process(replace(record, identity=identity)))
        with pytest.raises(UnavailableError, match="leader/0 is not running"):
            await launcher.kill("leader")
    assert state_of(other.identity) is ProcessState.RUNNING
    assert (await launcher.start("leader")).grpc == record.grpc


async def test_destroy_deletes_what_is_ours_and_nothing_else(world, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    launcher = world.launcher()
    await launcher.up(folder=folder)
    await launcher.destroy()
    assert world.processes() == []
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    assert world.home.names() == ()
    folder = world.home.default_folder("one")
    await launcher.up()
    (folder / "ingest").mkdir(exist_ok=True)  # as nodes do
    await launcher.destroy()
    assert not folder.exists()
    await launcher.up()
    (folder / "ingest").mkdir(exist_ok=True)
    (folder / "ingest" / "mine.csv").write_text("1")
    await launcher.destroy()
    assert [path.name for path in (folder / "ingest").iterdir()] == ["mine.csv"]


async def test_a_lost_home_is_rebuilt_from_the_folder(world, tmp_path):
    first = await world.launcher().up(folder=tmp_path / "data")
    world.home.forget("one")
    assert await world.launcher().up(folder=tmp_path / "data") == first


async def test_up_refuses_what_contradicts_the_setup(world, tmp_path):
    await world.launcher().up(folder=tmp_path / "data")
    with pytest.raises(ConflictError, match="setup 'one' is in"):
        await world.launcher().up(folder=tmp_path / "elsewhere")
    with pytest.raises(ConflictError, match="setup 'one' has another topology"):
        await world.launcher().up(parse_topology("[[clusters]]\nname = 'a'"))
    with pytest.raises(ConflictError, match="data holds the setup 'one'"):
        await world.launcher("two").up(folder=tmp_path / "data")


async def test_the_state_file_is_readable(world):
    setup = await world.launcher().up()
    values = json.loads((setup.folder / "setup.json").read_text())
    assert values["format"] == 1
    assert [entry["id"] for entry in values["processes"]] == list(setup.processes)
