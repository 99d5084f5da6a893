"""The process of a node: it stops when it is told to, also before it serves."""

from __future__ import annotations

import signal

import pytest
import trio

from cluster.node import main
from cluster.node.config import NodeConfig


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("ready", [False, True])
async def test_a_signal_stops_it_whether_it_serves_or_not(
    monkeypatch, tmp_path, ready, number
) -> None:
    """A node that waits for its coordinator's first lease must not have to be killed."""
    announced: list[str] = []

    async def run(self, *, task_status) -> None:
        if ready:
            task_status.started("127.0.0.1:1")
        signal.raise_signal(number)
        await trio.sleep_forever()

    monkeypatch.setattr(main.Node, "run", run)
    monkeypatch.setattr(main, "announce", lambda _, address, *urls: announced.append(address))
    with trio.fail_after(5):
        await main.serve(NodeConfig("leader", "leader/0", tmp_path, "127.0.0.1:1"))
    assert announced == (["127.0.0.1:1"] if ready else [])
