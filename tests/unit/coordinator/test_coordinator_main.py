"""The coordinator as a process: its configuration, its ready line, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cluster.coordinator.main import CoordinatorConfig
from cluster.coordinator.store import FILE_NAME
from cluster.errors import EntityNotFoundError, InvalidRequestError
from cluster.limits import LIMITS
from cluster.process import EXIT_FAILED, EXIT_STOPPED
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from pathlib import Path


def test_configuration_has_defaults(tmp_path: Path) -> None:
    config = CoordinatorConfig.from_json(json.dumps({"data": str(tmp_path)}))
    assert config == CoordinatorConfig(tmp_path, grpc_port=0, ready_fd=1, limits=LIMITS)


def test_configuration_takes_everything(tmp_path: Path) -> None:
    text = {"data": str(tmp_path), "grpc_port": 65535, "ready_fd": 7, "limits": {"clusters": 2}}
    config = CoordinatorConfig.from_json(json.dumps(text))
    assert (config.grpc_port, config.ready_fd, config.limits.clusters) == (65535, 7, 2)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "data"),
        ('{"data": ""}', "data"),
        ('{"data": 7}', "data"),
        ('{"data": "/x", "port": 1}', "port"),
        ('{"data": "/x", "grpc_port": 65536}', "grpc_port"),
        ('{"data": "/x", "grpc_port": -1}', "grpc_port"),
        ('{"data": "/x", "grpc_port": true}', "grpc_port"),
        ('{"data": "/x", "ready_fd": "1"}', "ready_fd"),
        ('{"data": "/x", "limits": {"nope": 1}}', "nope"),
    ],
)
def test_configuration_refuses_and_names(text: str, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        CoordinatorConfig.from_json(text)


def spawn(config: dict[str, Any], *, ready_fd: int | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.coordinator.main"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=() if ready_fd is None else (ready_fd,),
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(config) + "\n")
    process.stdin.close()
    process.stdin = None
    return process


async def clusters_of(address: str, *, register: bool) -> list[str]:
    """Names the clusters a coordinator knows, after registering one over gRPC."""
    async with transport_from_environment().connect(address) as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        if register:
            await stub.RegisterNode(
                coordinator_pb2.RegisterNodeRequest(
                    cluster="c", node="c/0", instance="i", grpc_address="127.0.0.1:1"
                ),
                timeout=10,
            )
        unknown = coordinator_pb2.SetCapabilityRequest(cluster="nobody")
        with pytest.raises(EntityNotFoundError):
            await stub.SetCapability(unknown, timeout=10)
        status = await stub.GetStatus(coordinator_pb2.GetStatusRequest(), timeout=10)
        return [cluster.name for cluster in status.clusters]


@pytest.mark.process
async def test_a_process_serves_survives_sigkill_and_stops_when_told(tmp_path: Path) -> None:
    read, write = os.pipe()
    process = spawn({"data": str(tmp_path), "ready_fd": write}, ready_fd=write)
    os.close(write)
    try:
        with os.fdopen(read) as ready:
            said = json.loads(ready.readline())
            assert ready.read() == ""  # the descriptor is closed: nobody waits for more
        assert said["pid"] == process.pid
        assert await clusters_of(said["grpc"], register=True) == ["c"]
        second = spawn({"data": str(tmp_path)})
        out, err = second.communicate(timeout=30)
        assert (second.returncode, out) == (EXIT_FAILED, "")
        assert "in use by another coordinator" in err
    finally:
        process.kill()
        process.communicate(timeout=30)
    port = int(said["grpc"].rpartition(":")[2])
    again = spawn({"data": str(tmp_path), "grpc_port": port})
    assert again.stdout is not None
    try:
        assert json.loads(again.stdout.readline())["grpc"] == said["grpc"]
        assert await clusters_of(said["grpc"], register=False) == ["c"]
        again.send_signal(signal.SIGTERM)
        _, err = again.communicate(timeout=30)
        assert again.returncode == EXIT_STOPPED, err
    finally:
        again.kill()
    assert (tmp_path / FILE_NAME).exists()


@pytest.mark.process
def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    process = spawn({"data": str(tmp_path), "limits": {"clusters": 0}})
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (EXIT_FAILED, "")
    assert "'clusters' must be a positive number" in err


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, cluster.coordinator.main as m;"
        "print([n for n in ('pyarrow', 'duckdb', 'numpy', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
