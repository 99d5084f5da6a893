"""A real Azurite, and clusters whose queued clients upload to it."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio
from sdk_setup import HERE, LIMITS, TOPOLOGY, SdkClusters, npm_packages

from cluster.testing.local import launch, launcher_in

if TYPE_CHECKING:
    from pathlib import Path

_LISTENS: Final = re.compile(
    r"Azurite (Blob|Queue|Table) service is successfully listening at (\S+)"
)
_PROGRAM: Final = "azurite/dist/src/azurite.js"

ACCOUNT: Final = "remorasdk"
KEY: Final = base64.b64encode(b"a key that must be in no output, log or command line").decode()
"""Not Azurite's own account, whose key everybody knows."""

QUICK_LIMITS: Final = {
    **LIMITS,
    "queued_poll_seconds": 0.1,
    "queued_visibility_seconds": 2.0,
    "queued_retry_first_seconds": 0.25,
}


class Azurite:
    """One, on free ports of loopback. It keeps its data and its ports when it is stopped."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._program = npm_packages("Azurite", HERE / "azurite") / _PROGRAM
        self._process: subprocess.Popen[str] | None = None
        self.endpoints: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        """Returns when all three services listen."""
        ports = {
            kind: self.endpoints[kind].rpartition(":")[2] if self.endpoints else "0"
            for kind in ("blob", "queue", "table")
        }
        self._process = subprocess.Popen(
            (
                "node",
                str(self._program),
                "--silent",
                "--disableTelemetry",
                "--skipApiVersionCheck",  # SDKs speak of versions that are newer than Azurite
                f"--location={self._folder}",
                *(f"--{kind}Port={port}" for kind, port in ports.items()),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        )
        assert self._process.stdout is not None
        said, found = [], {}
        while len(found) < len(ports):
            line = self._process.stdout.readline()
            said.append(line)
            assert line, f"Azurite has ended: {''.join(said)}"
            if match := _LISTENS.search(line):
                found[match[1].lower()] = match[2].rstrip("/")
        self.endpoints = found

    def stop(self) -> None:
        """Ends it in good order, so that what it has is on disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=20)
            self._process = None

    @property
    def connection_string(self) -> str:
        """As Azure's own tools take it."""
        endpoints = (
            f"{kind.capitalize()}Endpoint={url}/{ACCOUNT}" for kind, url in self.endpoints.items()
        )
        return ";".join((f"AccountName={ACCOUNT};AccountKey={KEY}", *endpoints))


class WithAzurite(SdkClusters):
    """The clusters of every language, whose queued clients upload to an Azurite."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.azurite = Azurite(folder / "azurite")
        try:
            super().__init__(folder)
        except BaseException:
            self.azurite.stop()
            raise

    async def _launch(self, folder: Path) -> None:
        queued = TOPOLOGY.queued.with_storage(self.azurite.connection_string)
        await launch(folder, limits=LIMITS, topology=replace(TOPOLOGY, queued=queued))

    def close(self) -> None:
        """Ends the processes, then Azurite."""
        try:
            super().close()
        finally:
            self.azurite.stop()


class AzuriteClusters(WithAzurite):
    """A leader and a follower only, that ``remora up`` has started, with short times."""

    async def _launch(self, folder: Path) -> None:
        topology = folder / "topology.toml"
        limits = "".join(f"{name} = {value}\n" for name, value in QUICK_LIMITS.items())
        clusters = "".join(
            f'[[clusters]]\nname = "{name}"\nstreaming_ingestion = true\n'
            for name in ("leader", "follower")
        )
        topology.write_text(f"[limits]\n{limits}{clusters}")
        launcher = launcher_in(folder)
        environment = {
            **{name: value for name, value in os.environ.items() if "REMORA" not in name},
            "REMORA_HOME": str(launcher.home.folder),
            "REMORA_QUEUED_STORAGE": self.azurite.connection_string,
        }
        self.environment = environment
        command = (sys.executable, "-P", "-m", "cluster.cli.main", "up", str(topology))
        options = ("--name", launcher.name, "--data", str(folder / "data"))
        await trio.run_process((*command, *options), env=environment, capture_stdout=True)

    def remora(self, *words: str) -> str:
        """What a command of ``remora`` prints."""
        command = (sys.executable, "-P", "-m", "cluster.cli.main", *words)
        options = ("--name", self.launcher.name)
        return subprocess.run(
            (*command, *options), env=self.environment, capture_output=True, text=True, check=True
        ).stdout
