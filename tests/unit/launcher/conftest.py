from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import psutil
import pytest

from cluster.launcher.lifecycle import Commands, Launcher
from cluster.launcher.setup import Home

FAKE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_process.py")))


class World:
    """A home with launchers of fake processes; whatever they start is gone after the test."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.folder = folder

    def launcher(self, name: str = "one", **options: float) -> Launcher:
        return Launcher(self.home, name, commands=Commands(FAKE, FAKE), **options)

    def modes(self, name: str = "one", **modes: str) -> None:
        """Modes by process; ``leader_0`` stands for ``leader/0``."""
        folder = self.home.default_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        values = {process.replace("_", "/"): mode for process, mode in modes.items()}
        (folder / "modes.json").write_text(json.dumps(values))

    def config(self, process: str, name: str = "one") -> dict:
        path = self.home.default_folder(name) / process / "config.json"
        return json.loads(path.read_text())

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started under this world's folder."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(str(self.folder) in word for word in process.cmdline()):
                    found.append(process)
        return found


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    left = world.processes()
    for process in left:
        process.kill()
    psutil.wait_procs(left)
