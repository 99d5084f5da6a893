"""The link proxy as a process of a setup: found by its file, gone with the setup."""

from __future__ import annotations

import pytest

from cluster.launcher.identity import ProcessState, state_of
from cluster.launcher.processes import configure, spawn, wait_ready
from cluster.launcher.proxy import (
    FAULTS_FILE,
    PROXY_FILE,
    Proxy,
    end_faults,
    end_proxy,
    load_proxy,
    save_proxy,
)


async def start_proxy(world, setup):
    """A process that stands for the proxy of this setup, with its file."""
    folder = setup.coordinator.data
    command = (*world.launcher().commands.node, str(folder), "link-proxy")
    child = spawn("link-proxy", command, folder / "log")
    configure(child, {"grpc_port": 0, "data": str(folder)})
    proxy = Proxy(child.identity, (await wait_ready(child, timeout_seconds=30.0)).grpc)
    save_proxy(folder, proxy)
    (folder / FAULTS_FILE).write_text("{}")
    return proxy


@pytest.mark.parametrize("verb", ["down", "destroy"])
async def test_it_ends_with_its_setup_and_so_do_faults(world, verb):
    launcher = world.launcher()
    setup = await launcher.up()
    folder = setup.coordinator.data
    proxy = await start_proxy(world, setup)
    assert load_proxy(folder) == proxy
    assert proxy.serves
    await launcher.kill("coordinator")
    assert proxy.serves, "it outlives its coordinator"
    await getattr(launcher, verb)()
    assert state_of(proxy.identity) is ProcessState.DOWN
    assert not (folder / PROXY_FILE).exists()
    assert not (folder / FAULTS_FILE).exists()
    assert not world.processes()


async def test_a_setup_without_one_ends_as_well(tmp_path):
    assert load_proxy(tmp_path) is None
    await end_proxy(tmp_path)
    await end_faults(tmp_path / "missing")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}'])
async def test_a_file_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / PROXY_FILE).write_text(text)
    assert load_proxy(tmp_path) is None
    await end_faults(tmp_path)
    assert not list(tmp_path.iterdir())
