"""A tiny reference model that writes clean histories: no checker may find anything in them.

One leader table in a log, followers that apply a prefix of it, gates, seals, clears, drops, lost
answers and retries. Everything follows from a stream of choices, so hypothesis can shrink it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stories import BASE, HIDDEN, Story, checksum

from cluster.conformance.calls import Answer, Changed, Ingest, Ingested, SetCapability, Unknown
from cluster.conformance.values import At

if TYPE_CHECKING:
    from collections.abc import Callable

FOLLOWERS = ("follower1", "follower2")


@dataclass
class State:
    """The table at one version of the log: rows from ``start`` on, those below ``floor`` sealed."""

    version: int = 1
    key: int = 7
    start: int = 0
    floor: int = 0
    columns: tuple[str, ...] = BASE
    rows: list[tuple[int, bool]] = field(default_factory=list)  # id, and whether C1 is filled

    def copy(self) -> State:
        return State(self.version, self.key, self.start, self.floor, self.columns, list(self.rows))


class Model:
    """Writes a story. ``choose(n)`` gives 0 .. n-1."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.story = Story()
        self._choose = choose
        self._log: list[State] = [State()]
        self._log_times: list[float] = [0.0]
        self._applied = dict.fromkeys(FOLLOWERS, 0)
        self._on = {"follower1": True, "follower2": False}
        self._next = 1
        self._sources = 0
        self._late: list[tuple[str, tuple[int, ...], tuple[str, ...]]] = []
        self._stored: set[str] = set()

    def run(self, steps: int) -> Story:
        """So many things happen, then everything comes to rest."""
        for _ in range(steps):
            self._step()
        for follower in FOLLOWERS:
            self._flip(follower, on=True)
        self.story.phase("quiet")
        self._read("leader")
        for follower in FOLLOWERS:
            self._applied[follower] = len(self._log) - 1
            self._read(follower)
        return self.story.phase("end")

    def _step(self) -> None:
        action = self._choose(16)
        if action < 5:
            self._write()
        elif action < 11:
            self._read(("leader", *FOLLOWERS)[self._choose(3)])
        elif action == 11:
            self._flip(FOLLOWERS[self._choose(2)], on=bool(self._choose(2)))
        elif action == 12:
            self._seal()
        elif action == 13:
            self._wipe()
        elif action == 14:
            self._add_column()
        else:
            self._land()

    @property
    def _head(self) -> State:
        return self._log[-1]

    def _commit(self, state: State) -> None:
        self._log.append(state)
        self._log_times.append(self.story.now)

    def _store(self, source: str, ids: tuple[int, ...], columns: tuple[str, ...]) -> None:
        if source in self._stored:
            return
        self._stored.add(source)
        state = self._head.copy()
        state.rows += [(row, "C1" in columns) for row in ids]
        self._commit(state)

    def _write(self) -> None:
        ids = tuple(range(self._next, self._next + 1 + self._choose(3)))
        self._next = ids[-1] + 1
        self._sources += 1
        source, columns = f"s{self._sources}", self._head.columns
        story = self.story
        what = Ingest(
            cluster="leader", database="D", table="T", source=source, ids=ids, columns=columns
        )
        for attempt in range(1 + self._choose(2)):
            call = story.begin(what)
            how = self._choose(4)
            if how == 0:
                self._late.append((source, ids, columns))
                story.finish(call, Unknown(code="Timeout"))
            elif how == 1:
                self._store(source, ids, columns)
                story.finish(call, Unknown(code="Timeout"))
            else:
                self._store(source, ids, columns)
                story.finish(
                    call, Ingested(position=self._position(self._head), repeated=attempt > 0)
                )
                break

    def _land(self) -> None:
        """A request of which nobody knows arrives late."""
        if self._late:
            source, ids, columns = self._late.pop(self._choose(len(self._late)))
            if columns == self._head.columns:
                self._store(source, ids, columns)

    def _seal(self) -> None:
        call = self.story
        call.command("seal")
        state = self._head.copy()
        state.floor, state.version = len(state.rows), state.version + 1
        self._commit(state)

    def _wipe(self) -> None:
        state = self._head.copy()
        state.version += 1
        if self._choose(2):
            state.start = state.floor = len(state.rows)
            self._commit(state)
            self.story.command("clear-table")
            return
        state = State(state.version, state.key + 1)
        self._commit(state)
        self._stored = {f"s{n}" for n in range(self._sources + 1)}  # all of these are decided
        self.story.command("drop-table").command("create-table")

    def _add_column(self) -> None:
        state = self._head.copy()
        if "C1" not in state.columns:
            state.columns, state.version = (*state.columns, "C1"), state.version + 1
            self._commit(state)
        self.story.command("add-column", argument="C1")

    def _flip(self, follower: str, *, on: bool) -> None:
        call = self.story.begin(SetCapability(cluster=follower, on=on))
        self._on[follower] = on
        self.story.finish(call, Changed(epoch=self.story.history.events[-1].number + 1))

    def _position(self, state: State, *, hidden: bool = False) -> At:
        ordinal = state.floor if hidden else len(state.rows)
        keys = {state.key: (ordinal, checksum(ordinal))} if ordinal else {}
        return At(version=(1, state.version), keys=keys)

    def _read(self, cluster: str) -> None:
        story, state, staleness = self.story, self._head, 0.0
        call = story.begin(story.question(cluster, session=f"{cluster} reader"))
        hidden = False
        if cluster != "leader":
            behind = len(self._log) - 1 - self._applied[cluster]
            self._applied[cluster] += self._choose(behind + 1)
            place = self._applied[cluster]
            state, hidden = self._log[place], not self._on[cluster]
            if place + 1 < len(self._log):
                staleness = story.now - self._log_times[place + 1] + 1.0
        rows = state.rows[state.start : state.floor if hidden else len(state.rows)]
        filled = {"C1": tuple(row for row, full in rows if full)}
        story.finish(
            call,
            Answer(
                ids=tuple(row for row, _ in rows),
                position=self._position(state, hidden=hidden),
                columns=state.columns,
                filled=filled if "C1" in state.columns else {},
                hidden_reason=HIDDEN if hidden else "",
                staleness_seconds=staleness,
            ),
        )
