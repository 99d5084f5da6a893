"""A process whose first thread has ended is a zombie that may still hold its port and its locks."""

from __future__ import annotations

import subprocess
import sys

import psutil
import trio

from cluster.launcher.identity import identify, wait_exit

FIRST_THREAD_ENDS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.readline).start()
ctypes.CDLL(None).pthread_exit(None)
"""


async def test_exit_is_waited_for_until_the_last_thread_has_ended() -> None:
    command = [sys.executable, "-c", FIRST_THREAD_ENDS]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        identity = identify(child.pid, command)
        process = psutil.Process(child.pid)
        with trio.fail_after(20):
            while process.status() != psutil.STATUS_ZOMBIE:
                await trio.lowlevel.checkpoint()
        with trio.move_on_after(0.05) as scope:
            await wait_exit(identity)
        assert scope.cancelled_caught, "it was called gone while one of its threads lived"
        assert child.stdin is not None
        child.stdin.close()
        with trio.fail_after(20):
            await wait_exit(identity)
    finally:
        child.kill()
        child.wait()
