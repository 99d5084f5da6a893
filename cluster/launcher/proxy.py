"""The link proxy as a process of a setup: which one it is, and its end.

It is no part of the topology: the coordinator starts it when the first fault of a link is asked
for, and leaves a file in its own data folder that says which process it is.
"""

from __future__ import annotations

import contextlib
import json
import signal
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from cluster.launcher.identity import Identity, ProcessState, send_signal, state_of, wait_exit

if TYPE_CHECKING:
    from pathlib import Path

PROXY_FILE: Final = "proxy.json"

FAULTS_FILE: Final = "faults.json"
"""Which faults there are, beside it: for a coordinator that is killed and started again."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy process. ``grpc`` is empty until it serves."""

    identity: Identity
    grpc: str = ""

    @property
    def serves(self) -> bool:
        """It runs, and can be spoken to."""
        return bool(self.grpc) and state_of(self.identity) is ProcessState.RUNNING


def save_proxy(folder: Path, proxy: Proxy) -> None:
    """Leaves the file in the coordinator's data folder."""
    path = folder / PROXY_FILE
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({**asdict(proxy.identity), "grpc": proxy.grpc}) + "\n")
    fresh.replace(path)


def load_proxy(folder: Path) -> Proxy | None:
    """What the file says; None without one, or if it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        values = json.loads((folder / PROXY_FILE).read_text())
        command = tuple(map(str, values["command"]))
        identity = Identity(int(values["pid"]), float(values["created_at_seconds"]), command)
        return Proxy(identity, str(values["grpc"]))
    return None


async def end_proxy(folder: Path) -> None:
    """Ends the proxy of a coordinator's data folder, if there is one; returns when it is gone."""
    proxy = load_proxy(folder)
    if proxy is not None:
        send_signal(proxy.identity, signal.SIGKILL)  # it keeps nothing
        await wait_exit(proxy.identity)
    (folder / PROXY_FILE).unlink(missing_ok=True)


async def end_faults(folder: Path) -> None:
    """The setup of this coordinator's data folder ends: so do its faults, and the proxy."""
    await end_proxy(folder)
    (folder / FAULTS_FILE).unlink(missing_ok=True)
