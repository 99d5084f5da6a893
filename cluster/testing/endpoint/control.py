"""The control plane of somebody's clusters: a coordinator, or what an operator does by hand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.calls import Changed
from cluster.errors import NotSupportedError, TimedOutError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.conformance.doors_grpc import GrpcControl
    from cluster.conformance.request import Target

_SHOWN_CHARACTERS: Final = 500
_SHELL: Final = "/bin/sh"


class EndpointControl:
    """:class:`cluster.conformance.system.Control`. Commands of the profile go before a coordinator.

    A command ends when the change is certain: exit code 0 is taken for that. One that fails raises
    UnavailableError, one that takes longer than ``Target.command_seconds`` is killed with all it
    started and raises TimedOutError: nobody knows then what it did.

    Remembers what it changed: :meth:`restore` puts it back.
    """

    def __init__(self, target: Target, coordinator: GrpcControl | None) -> None:
        self._target = target
        self._commands = dict(target.commands)
        self._coordinator = coordinator
        self._before = {e.cluster: e.streaming for e in (*target.leaders, *target.followers)}
        self._capability = dict(self._before)
        self._loose: set[str] = set()

    async def set_capability(self, cluster: str, *, on: bool) -> Changed:
        """See :class:`cluster.conformance.system.Control`."""
        # Noted before: what fails may have happened.
        self._capability.pop(cluster, None)
        action = f"capability-{'on' if on else 'off'}"
        if action in self._commands:
            changed = await self._operate(action, cluster)
        else:
            changed = await self._asked().set_capability(cluster, on=on)
        self._capability[cluster] = on
        return changed

    async def attach(
        self,
        leader: str,
        database: str,
        follower: str,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Changed:
        """See :class:`cluster.conformance.system.Control`."""
        self._loose.add(follower)
        if "attach" in self._commands:
            changed = await self._operate("attach", follower, include, exclude)
        else:
            changed = await self._asked().attach(
                leader, database, follower, include=include, exclude=exclude
            )
        if not (include or exclude):
            self._loose.discard(follower)
        return changed

    async def detach(self, leader: str, database: str, follower: str, *, side: str) -> Changed:
        """See :class:`cluster.conformance.system.Control`."""
        self._loose.add(follower)
        if "detach" in self._commands:
            return await self._operate("detach", follower)
        return await self._asked().detach(leader, database, follower, side=side)

    async def restore(self) -> None:
        """Capabilities as they were, everything attached. Raises what the last attempt raised."""
        for cluster, on in self._before.items():
            if self._capability.get(cluster) is not on:
                await self.set_capability(cluster, on=on)
        leader, database = self._target.leaders[0].cluster, self._target.database
        for follower in sorted(self._loose):
            await self.attach(leader, database, follower)

    def _asked(self) -> GrpcControl:
        if self._coordinator is None:
            raise NotSupportedError("there is neither a coordinator nor a command for this")
        return self._coordinator

    async def _operate(
        self,
        action: str,
        cluster: str,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Changed:
        environment = os.environ | {
            "REMORA_ACTION": action,
            "REMORA_CLUSTER": cluster,
            "REMORA_LEADER": self._target.leaders[0].cluster,
            "REMORA_DATABASE": self._target.database,
            "REMORA_INCLUDE": ",".join(include),
            "REMORA_EXCLUDE": ",".join(exclude),
        }
        seconds = self._target.command_seconds
        try:
            with trio.fail_after(seconds):
                done = await trio.run_process(
                    [_SHELL, "-c", self._commands[action]],
                    env=environment,
                    stdin=b"",
                    stdout=subprocess.DEVNULL,
                    capture_stderr=True,
                    check=False,
                    start_new_session=True,
                    deliver_cancel=_kill_group,
                )
        except trio.TooSlowError as error:
            raise TimedOutError(
                f"the command for {action} of {cluster} did not end within {seconds:g} seconds"
            ) from error
        except OSError as error:
            raise UnavailableError(f"the command for {action} cannot be run: {error}") from error
        if done.returncode:
            told = (done.stderr or b"").decode("utf-8", "replace").strip()[-_SHOWN_CHARACTERS:]
            raise UnavailableError(
                f"the command for {action} of {cluster} ended with {done.returncode}: {told}"
            )
        return Changed()


async def _kill_group(process: trio.Process) -> None:
    """A shell's children are not left behind; they are in the group that it leads."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, signal.SIGKILL)
    await trio.lowlevel.checkpoint()
