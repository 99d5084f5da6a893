"""Defects around the coordinator's leases, and of going on when faults are over (C1, L1)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import trio

from cluster.node.link import CoordinatorLink
from cluster.replication.authority import Authority
from cluster.replication.shipping import Shipping
from cluster.testing.mutants.model import Mutant, all_of, replaced
from follower.gate import Gate
from follower.worker import FollowedDatabase

if TYPE_CHECKING:
    from follower.gate import Word

_Plant = AbstractContextManager[object]


# -- C1: leases -------------------------------------------------------------------------------


def _lease_never_ends() -> _Plant:
    renew = Authority.renew

    def renewed(self: Authority, *args: Any, **named: Any) -> bool:
        changed = renew(self, *args, **named)
        if self.lease_until > float("-inf"):
            self.lease_until = float("inf")
        return changed

    return replaced(Authority, "renew", renewed)


def _lease_not_watched() -> _Plant:
    hear = Gate.hear

    def heard(self: Gate, word: Word, now: float) -> bool:
        return hear(self, replace(word, lease_until=float("inf")), now)

    return replaced(Gate, "hear", heard)


def _coordinator_given_up() -> _Plant:
    beat = CoordinatorLink._heartbeat
    failed = CoordinatorLink._failed

    def gives_up(self: Any, error: Any) -> None:
        failed(self, error)
        if self._heartbeat_failures >= _PATIENCE:
            self._gave_up = True

    async def beats(self: Any, stub: Any) -> Any:
        if getattr(self, "_gave_up", False):
            await trio.sleep_forever()
        return await beat(self, _Given(self, stub))

    return all_of(
        replaced(CoordinatorLink, "_failed", gives_up),
        replaced(CoordinatorLink, "_heartbeat", beats),
    )


_PATIENCE: Final = 3


class _Given:
    """A stub whose heartbeats are not answered once the link has given up."""

    def __init__(self, link: Any, stub: Any) -> None:
        self._link = link
        self._stub = stub

    async def Heartbeat(self, request: Any, timeout: float) -> Any:  # noqa: N802, ASYNC109
        """See ``coordinator.proto``."""
        if getattr(self._link, "_gave_up", False):
            await trio.sleep_forever()
        return await self._stub.Heartbeat(request, timeout=timeout)


# -- L1: going on -----------------------------------------------------------------------------


def _leader_given_up() -> _Plant:
    follow = FollowedDatabase._follow_once
    failures: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    async def follows(self: Any) -> Any:
        if failures.get(self, 0) >= _PATIENCE:
            await trio.sleep_forever()
        error = await follow(self)
        failures[self] = failures.get(self, 0) + 1 if error is not None else 0
        return error

    return replaced(FollowedDatabase, "_follow_once", follows)


def _window_not_given_back() -> _Plant:
    def acknowledge(self: Any, moved: Any) -> None:
        self._acknowledged.update((k, at) for k, at in moved.items() if k in self.cursors)

    return replaced(Shipping, "acknowledge", acknowledge)


MUTANTS: Final = (
    Mutant(
        "lease-never-ends",
        "C1",
        "a node that was given a lease keeps it for ever",
        _lease_never_ends,
        real=True,
    ),
    Mutant(
        "lease-not-watched",
        "C1",
        "a gate that nobody closes stays open: it asks for the grant and not for the lease",
        _lease_not_watched,
        real=True,
    ),
    Mutant(
        "coordinator-given-up",
        "C1",
        "after three heartbeats that failed a node waits to be restarted",
        _coordinator_given_up,
        real=True,
    ),
    Mutant(
        "leader-given-up",
        "L1",
        "after three calls in a row that failed a follower does not call its leader again",
        _leader_given_up,
        real=True,
    ),
    Mutant(
        "window-not-given-back",
        "L1",
        "acknowledgements move the position and leave the window as it is",
        _window_not_given_back,
    ),
)
