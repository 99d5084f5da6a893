"""Who follows what, since when, and which tables of it. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from cluster.conformance.calls import Attach, Detach
from cluster.conformance.checkers.periods import Call, Rollback, Times, Window, settled, window_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.conformance.system import Profile


def is_shared(attach: Attach, table: str) -> bool:
    """Whether an attachment shares a table: exclude wins, an empty include means all."""
    if any(fnmatchcase(table, pattern) for pattern in attach.exclude):
        return False
    return not attach.include or any(fnmatchcase(table, pattern) for pattern in attach.include)


class Attachments:
    """The attachments of a run, by follower cluster and database.

    A database of which no call speaks is taken to be followed for good, by every cluster that is a
    follower only: setups may come with their attachments. One whose first call was a refused
    detachment came without.
    """

    def __init__(
        self,
        calls: list[Call[Attach | Detach]],
        profile: Profile,
        times: Times,
        late_seconds: float,
        rollbacks: tuple[Rollback, ...],
    ) -> None:
        self._profile = profile
        self._times = times
        self._late_seconds = late_seconds
        self._rollbacks = rollbacks
        self._calls: dict[tuple[str, str], list[Call[Attach | Detach]]] = {}
        self._windows: dict[tuple[str, str, bool], tuple[Window, ...]] = {}
        self._sharing: dict[tuple[str, str], tuple[Window, ...]] = {}
        for call in calls:
            self._calls.setdefault((call.what.follower, call.what.database), []).append(call)

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Follower and database of every attachment that was spoken of."""
        return self._calls.keys()

    def calls(self, follower: str, database: str) -> list[Call[Attach | Detach]]:
        """The calls that attached or detached it."""
        return self._calls.get((follower, database), [])

    def leader(self, cluster: str, database: str, number: int) -> str | None:
        """Whose database a cluster shows at an event; None: its own."""
        found = None
        for call in self._calls.get((cluster, database), ()):
            if call.first < number or found is None:
                found = call.what.leader
        if found is None and self._only_follows(cluster) and len(self._profile.leaders) == 1:
            return self._profile.leaders[0]
        return found

    def attached(self, follower: str, database: str) -> tuple[Window, ...]:
        """When it is certainly attached."""
        return self._settled(follower, database, attached=True)

    def detached(self, follower: str, database: str) -> tuple[Window, ...]:
        """When it is certainly detached, after it was attached."""
        return self._settled(follower, database, attached=False)

    def sharing(self, follower: str, database: str, first: int, last: int) -> Window | None:
        """The window in which one attachment call's sharing holds; its ``call`` says which.

        None: not certain, not attached, or there was no such call.
        """
        key = (follower, database)
        found = self._sharing.get(key)
        if found is None:
            windows: list[Window] = []
            calls = self._calls.get(key, [])
            for what in dict.fromkeys(c.what for c in calls if isinstance(c.what, Attach)):
                windows += settled(
                    calls,
                    wanted=lambda call, what=what: call.what == what,  # type: ignore[misc]
                    opposed=lambda call, what=what: call.what != what,  # type: ignore[misc]
                    times=self._times,
                    late_seconds=self._late_seconds,
                    initially=False,
                    rollbacks=self._rollbacks,
                )
            found = self._sharing[key] = tuple(sorted(windows, key=lambda w: w.first))
        return window_of(found, first, last)

    def shares(self, follower: str, database: str, table: str, first: int, last: int) -> bool:
        """A table is certainly shared between two events."""
        if window_of(self.attached(follower, database), first, last) is None:
            return False
        window = self.sharing(follower, database, first, last)
        if window is None or window.call is None:
            return not any(isinstance(c.what, Attach) for c in self.calls(follower, database))
        assert isinstance(window.call.what, Attach)
        return is_shared(window.call.what, table)

    def _only_follows(self, cluster: str) -> bool:
        return cluster in self._profile.followers and cluster not in self._profile.leaders

    def _settled(self, follower: str, database: str, *, attached: bool) -> tuple[Window, ...]:
        key = (follower, database, attached)
        found = self._windows.get(key)
        if found is None:
            calls = self._calls.get((follower, database), [])
            # Detaching what is not attached is refused: it was not there from the beginning.
            before = not calls or (isinstance(calls[0].what, Detach) and not calls[0].refused)
            wanted, opposed = (Attach, Detach) if attached else (Detach, Attach)
            found = self._windows[key] = settled(
                calls,
                wanted=lambda call: isinstance(call.what, wanted),
                opposed=lambda call: isinstance(call.what, opposed),
                times=self._times,
                late_seconds=self._late_seconds,
                initially=attached and before and self._only_follows(follower),
                rollbacks=self._rollbacks,
            )
        return found
