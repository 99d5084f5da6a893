"""Stories of Follow as text, to be read: ``stories/*.txt``.

A story is blocks of commands, a line ``----``, and what happened: each frame as it was sent, with
an arrow for its direction, then what was asked to be shown. ``REWRITE_STORIES=1`` writes what
happens now; read the difference before you commit it.

Commands are in :data:`COMMANDS`; ``leader``, ``read``, ``up`` and ``down`` are one step each,
``run`` is all steps until nothing is due.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from follow_world import World

from cluster.replication.protocol import (
    FollowAck,
    FollowerGate,
    Hello,
    LeaderGate,
    MetadataDelta,
    Progress,
    Refusal,
    RowRecords,
    Snapshot,
)

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))


def at(position):
    if position is None:
        return "nothing"
    keys = " ".join(f"k{key}:{p.ordinal}" for key, p in sorted(position.keys.items()))
    return f"{position.version} {keys}".rstrip()


def words(frame):
    match frame:
        case Hello():
            return f"Hello at {at(frame.position)}, epoch {frame.epoch}"
        case FollowAck():
            stamp = f", stamp {frame.stamp / 1e9:g}" if frame.stamp else ""
            return f"Ack {at(frame.position)}{stamp}"
        case FollowerGate():
            state = "open" if frame.open else "closed"
            return (
                f"Gate #{frame.sequence} {state} at epoch {frame.epoch}, from {at(frame.position)}"
            )
        case Snapshot():
            reset = ", drop your rows" if frame.reset_rows else ", keep your rows"
            root = frame.database.storage_root
            where = "" if root.endswith("/1") else f", extents in {root}"
            return f"Snapshot {frame.database.version}{reset}{where}"
        case MetadataDelta():
            names = ", ".join(type(change).__name__ for change in frame.changes)
            return f"Delta {frame.from_version} to {frame.to_version}: {names}"
        case RowRecords():
            spans = " ".join(
                f"k{s.key}[{s.first_ordinal}..{s.end}) s{s.schema_version}" for s in frame.spans
            )
            return f"Rows epoch {frame.epoch} for gate #{frame.sequence}: {spans}"
        case Progress():
            stamp = f", stamp {frame.stamp / 1e9:g}" if frame.stamp else ""
            return f"Progress {at(frame.position)} since gate #{frame.sequence}{stamp}"
        case LeaderGate():
            state = "open" if frame.open else f"closed: {frame.reason}"
            return f"Gate {state}, epoch {frame.epoch}"
        case Refusal():
            return f"Refused: {frame.message}"


class Teller:
    def __init__(self):
        self.world = World()
        self.lines = []

    def run(self, commands):
        self.lines = []
        self.world.notes.clear()
        self.world.errors.clear()
        for command in commands:
            self.obey(command.split())
            self.tell_frames()
            self.world.check()
        return self.lines

    def tell_frames(self):
        world = self.world
        for side, frame in world.notes:
            arrow = "<-" if side == "leader" else "->"
            self.lines.append(f"{arrow} {words(frame)}")
        world.notes.clear()
        for error in world.errors:
            ending = f"{type(error).__name__}: {error.message}" if error else "the link broke"
            self.lines.append(f"the call ends, {ending}")
        world.errors.clear()

    def obey(self, command):
        for words_of_it, do in COMMANDS.items():
            pattern = words_of_it.split()
            if len(pattern) == len(command) and all(
                wanted.isupper() or wanted == word
                for wanted, word in zip(pattern, command, strict=True)
            ):
                values = [w for p, w in zip(pattern, command, strict=True) if p.isupper()]
                do(self, *values)
                return
        raise AssertionError(f"no such command: {' '.join(command)}")

    def new_leader(self):
        self.world.hang_up()
        self.world.fresh_leader()

    def move_root(self):
        self.world.hang_up()
        self.world.root = "file:///leader/2"

    def forget_deltas(self):
        self.world.kept = len(self.world.history)

    def show(self):
        world = self.world
        self.tell_frames()
        gate = world.gate
        closed = f"closed ({gate.reason})"
        visible = {
            f"k{key}": f"{spans[0].first_ordinal}..{spans[-1].end}"
            if spans[0].first_ordinal
            else spans[-1].end
            for key, spans in sorted(world.visible().items())
        }
        lag = world.session.lag_seconds(world.now)
        self.lines.append(f"gate {'open' if gate.visible(world.now) else closed}")
        sealed = {
            name: sum(extent.row_count for extent in table.extents.values())
            for name, table in sorted(world.stored_database.tables.items())
            if table.extents
        }
        also = f"; sealed {sealed}" if sealed else ""
        self.lines.append(
            f"stored {at(world.session.position())}; visible {visible or 'no rows'}{also}"
        )
        self.lines.append("lag unknown" if lag is None else f"lag {lag:.2f} s")


# Words in capitals stand for values.
COMMANDS = {
    "create TABLE": lambda t, table: t.world.create_table(table),
    "create TABLE KEYS": lambda t, table, keys: t.world.create_table(table, int(keys)),
    "seal TABLE": lambda t, table: t.world.seal(table),
    "seal TABLE RECORDS": lambda t, table, records: t.world.seal(table, int(records)),
    "merge TABLE": lambda t, table: t.world.merge(table),
    "clear TABLE": lambda t, table: t.world.clear(table),
    "undo TABLE": lambda t, table: t.world.restore_table(table),
    "move root": Teller.move_root,
    "column TABLE": lambda t, table: t.world.add_column(table),
    "drop TABLE": lambda t, table: t.world.drop_table(table),
    "ingest TABLE ROWS": lambda t, table, rows: t.world.ingest(table, int(rows)),
    "ingest TABLE ROWS PLACE": lambda t, table, rows, place: t.world.ingest(
        table, int(rows), int(place)
    ),
    "decide STATE": lambda t, state: t.world.decide(follower_on=state == "on"),
    "tell leader": lambda t: t.world.tell_leader(),
    "tell follower": lambda t: t.world.tell_follower(),
    "connect": lambda t: t.world.connect(),
    "break": lambda t: t.world.hang_up(),
    "run": lambda t: t.world.settle(),
    "leader": lambda t: t.world.leader_step(),
    "read": lambda t: t.world.finish_read(),
    "up": lambda t: t.world.leader_receive(),
    "down": lambda t: t.world.follower_receive(),
    "time SECONDS": lambda t, seconds: t.world.pass_time(float(seconds)),
    "forget deltas": Teller.forget_deltas,
    "restart follower": lambda t: t.world.restart_follower(),
    "distort": lambda t: t.world.distort(),
    "new leader": Teller.new_leader,
    "show": Teller.show,
}


def blocks_of(text):
    """Yields (commands, comment and command lines as written, expected lines)."""
    written, expected, after = [], [], False
    for line in [*text.splitlines(), ""]:
        if line == "----":
            after = True
        elif after and not line:
            yield [w for w in written if w and not w.startswith("#")], written, expected
            written, expected, after = [], [], False
        elif after:
            expected.append(line)
        else:
            written.append(line)
    assert not any(written), f"commands without ----: {written}"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story(path):
    teller = Teller()
    told, now = [], []
    for commands, written, expected in blocks_of(path.read_text()):
        lines = teller.run(commands)
        told.append("\n".join([*written, "----", *expected]))
        now.append("\n".join([*written, "----", *lines]))
    if os.environ.get("REWRITE_STORIES"):
        path.write_text("\n\n".join(now) + "\n")
    else:
        assert "\n\n".join(now) == "\n\n".join(told)


def test_there_are_stories():
    assert len(STORIES) >= 8
