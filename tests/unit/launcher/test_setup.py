from __future__ import annotations

import json
from dataclasses import replace

import pytest
import trio

from cluster.errors import (
    ConflictError,
    CorruptionError,
    EntityNotFoundError,
    InvalidRequestError,
    UnavailableError,
)
from cluster.launcher.identity import Identity
from cluster.launcher.setup import Home, Setup, read_setup
from cluster.launcher.topology import DEFAULT_TOPOLOGY


def planned(folder, name="one"):
    return Setup.planned(name, folder, DEFAULT_TOPOLOGY)


def test_what_is_saved_is_loaded(tmp_path):
    home = Home(tmp_path / "home")
    setup = planned(tmp_path / "data")
    started = replace(
        setup.process("leader/0"), grpc="127.0.0.1:7", identity=Identity(5, 1.25, ("a", "b"))
    )
    setup = setup.with_process(started)
    home.save(setup)
    assert home.load("one") == setup
    assert home.load("one").process("leader").pid == 5


def test_setups_live_side_by_side_and_are_forgotten_one_by_one(tmp_path):
    home = Home(tmp_path / "home")
    for name in ("two", "one"):
        home.save(planned(home.default_folder(name), name))
    assert home.names() == ("one", "two")
    home.forget("one")
    assert home.names() == ("two",)
    assert home.find("one") is None
    assert read_setup(home.default_folder("one")) is not None


def test_a_missing_setup_is_named_with_those_that_exist(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(UnavailableError, match=r"no setup named 'x' is up$"):
        home.load("x")
    home.save(planned(tmp_path / "data"))
    with pytest.raises(UnavailableError, match="there are: one") as caught:
        home.load("x")
    assert caught.value.remedy == "Start it: remora up --name x, or choose one with --name"


@pytest.mark.parametrize("name", ["", "../x", ".x", "a b", "a" * 65])
def test_a_name_cannot_leave_the_home(tmp_path, name):
    with pytest.raises(InvalidRequestError):
        Home(tmp_path).find(name)


@pytest.mark.parametrize("name", ["a" * 63, "a" * 64, "demo-1_2.3"])
def test_names_that_are_taken(tmp_path, name):
    assert Home(tmp_path).find(name) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 1, "name": "one", "topology": {}, "processes": []}',
        (
            '{"format": 1, "name": "one", "topology": {"clusters": [{"name": "a"}]}, '
            '"processes": [{"id": "b/0", "grpc": ""}]}'
        ),
    ],
)
def test_a_damaged_state_file_is_named(tmp_path, text):
    home = Home(tmp_path / "home")
    home.save(planned(tmp_path / "data"))
    (tmp_path / "data" / "setup.json").write_text(text)
    with pytest.raises(CorruptionError, match=r"data/setup\.json is damaged"):
        home.load("one")


@pytest.mark.parametrize("text", ["", "3", "{}"])
def test_a_damaged_registration_is_named(tmp_path, text):
    home = Home(tmp_path)
    home.save(planned(tmp_path / "data"))
    (tmp_path / "setups" / "one.json").write_text(text)
    with pytest.raises(CorruptionError, match=r"setups/one\.json is damaged"):
        home.load("one")


def test_a_newer_format_is_refused_not_guessed(tmp_path):
    home = Home(tmp_path / "home")
    home.save(planned(tmp_path / "data"))
    path = tmp_path / "data" / "setup.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(ConflictError, match="has format 2; this version of Remora reads 1"):
        home.load("one")


def test_unknown_processes_and_clusters_are_answered_with_the_known_ones(tmp_path):
    setup = planned(tmp_path)
    with pytest.raises(EntityNotFoundError) as caught:
        setup.process("leader/1")
    assert caught.value.remedy == "Use one of: coordinator, leader/0, follower1/0, follower2/0."
    with pytest.raises(EntityNotFoundError) as caught:
        setup.node_of("coordinator")
    assert caught.value.remedy == "Use one of: leader, follower1, follower2."


async def test_one_command_at_a_time_holds_a_setup(tmp_path):
    home = Home(tmp_path)
    order = []

    async def hold(number, got=None, leave=None):
        async with home.lock("one"):
            order.append(number)
            if got is not None:
                got.set()
                await leave.wait()
            order.append(number)

    got, leave = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, 1, got, leave)
        await got.wait()
        nursery.start_soon(hold, 2)
        async with home.lock("other"):
            leave.set()
    assert order == [1, 1, 2, 2]
