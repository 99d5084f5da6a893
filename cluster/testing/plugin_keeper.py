"""Ends a setup when the process that started it is gone, however it went.

``python -m cluster.testing.plugin_keeper HOME NAME PID`` watches process ``PID``, its parent, on a
pidfd: nothing is polled, and nothing but the kernel has to say goodbye. Nodes are detached from
whoever starts them, as ``remora up`` wants it; a test run must leave none behind, not even one that
is killed with SIGKILL. Whoever ends the setup in good order ends the keeper with SIGTERM.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path


def wait_for_parent(pid: int) -> None:
    """Returns when the parent ``pid`` has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Looked at after opening: while it is our parent, the handle cannot be another's.
        if os.getppid() == pid:
            select.select([handle], [], [])
    finally:
        os.close(handle)


def main(arguments: list[str]) -> int:
    """Waits for the parent's end, then destroys the setup. Returns the exit code."""
    home, name, parent = arguments
    wait_for_parent(int(parent))
    # Imported only now: a keeper that is not needed costs almost nothing.
    import trio

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Home

    launcher = Launcher(Home(Path(home)), name)
    if launcher.exists():
        trio.run(launcher.destroy)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
