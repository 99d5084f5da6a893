"""The coordinator's file: whole, locked, versioned, and honest about damage."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.catalog.following import ModificationKind, Sharing
from cluster.coordinator import store as store_module
from cluster.coordinator.configuration import Configuration
from cluster.coordinator.identity import begin
from cluster.coordinator.state import (
    Attachment,
    Change,
    ChangeKind,
    Cluster,
    Durable,
    Node,
)
from cluster.coordinator.store import FILE_NAME, FORMAT_VERSION, Store, ThreadedStore
from cluster.errors import ConflictError, CorruptionError, NotSupportedError
from cluster.replication.authority import Issuer, Origin, PastLife

if TYPE_CHECKING:
    from pathlib import Path

SHARING = Sharing(tables_to_include=("Logs*", "Tä"), functions_to_exclude=("f",))

FULL = Durable(
    epoch=2**62,
    revision=12,
    clusters={"l": Cluster("l", True, location="westus"), "f": Cluster("f", False, strict=True)},
    nodes={
        "l/0": Node("l/0", "l", "i1", "127.0.0.1:1", 7, "/d", (("Db", ("T1", "Tä")), ("E", ("X",))))
    },
    attachments={
        a.key: a
        for a in [
            Attachment("l", "Db", "f", 9, "C", "Db", 5),
            Attachment("l", "dB2", "f", 3, "all", "p-dB2"),
        ]
    },
    changes={
        c.key: c
        for c in [
            Change(ChangeKind.OFF, "f", 9, 11),
            Change(ChangeKind.DETACH, "f", 9, 12, "l", "Old", "Gone", "p-Old"),
            Change(ChangeKind.SHARING, "f", 9, 12, "l", "Db", "C", "Db"),
        ]
    },
    configurations={
        c.key: c
        for c in [
            Configuration("f", "C", "l", "Db", "Db", sharing=SHARING, origin=Origin.DATA_SHARE),
            Configuration("f", "all", "l", "*", "", "p-", principals_kind=ModificationKind.NONE),
        ]
    },
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "new" / "folder")


def test_a_new_file_holds_nothing(store: Store) -> None:
    assert store.load() == Durable()


def test_what_is_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    with_state = Store.open(tmp_path)
    with_state.save(Durable(), FULL)
    with_state.close()
    again = Store.open(tmp_path)
    assert again.load() == FULL
    again.save(FULL, Durable(epoch=FULL.epoch, revision=FULL.revision))
    assert again.load() == Durable(epoch=FULL.epoch, revision=FULL.revision)


names = st.sampled_from(["a", "b", "c"])
durables = st.builds(
    lambda clusters, nodes, attachments, changes, configurations, epoch: Durable(
        epoch,
        epoch,
        {c.name: c for c in clusters},
        {n.node: n for n in nodes},
        {a.key: a for a in attachments},
        {c.key: c for c in changes},
        {c.key: c for c in configurations},
    ),
    st.lists(st.builds(Cluster, names, st.booleans(), st.booleans())),
    st.lists(st.builds(Node, names, names, names, names, registration=st.integers(0, 2))),
    st.lists(
        st.builds(
            Attachment, names, st.sampled_from(["D", "d"]), names, st.integers(1, 3), names, names
        )
    ),
    st.lists(st.builds(Change, st.sampled_from(ChangeKind), names, st.just(1), st.just(1))),
    st.lists(st.builds(Configuration, names, st.sampled_from(["N", "n", "m"]), names, names)),
    st.integers(0, 5),
)


@settings(max_examples=30)
@given(states=st.lists(durables, min_size=1, max_size=4))
def test_any_step_from_any_state_is_saved_exactly(
    tmp_path_factory: pytest.TempPathFactory, states: list[Durable]
) -> None:
    store = Store.open(tmp_path_factory.mktemp("store"))
    before = Durable()
    for after in states:
        store.save(before, after)
        assert store.load() == after
        before = after
    store.close()


def test_a_copy_of_the_files_taken_at_any_moment_has_everything_saved(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "live")
    store.save(Durable(), FULL)
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    assert Store.open(tmp_path / "copy").load() == FULL


def test_a_torn_write_ahead_log_loses_the_last_step_as_a_whole(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "live")
    store.save(Durable(), FULL)
    store.save(FULL, Durable(epoch=FULL.epoch + 1, revision=99))
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    log = tmp_path / "copy" / (FILE_NAME + "-wal")
    log.write_bytes(log.read_bytes()[:-100])
    assert Store.open(tmp_path / "copy").load() == FULL


def test_two_coordinators_cannot_share_a_folder(tmp_path: Path) -> None:
    first = Store.open(tmp_path)
    with pytest.raises(ConflictError, match="in use by another coordinator"):
        Store.open(tmp_path)
    first.close()
    first.close()
    Store.open(tmp_path)


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    connection.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(NotSupportedError, match=f"format {FORMAT_VERSION + 1}"):
        Store.open(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


OLD = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE clusters (name TEXT PRIMARY KEY, streaming_ingestion INTEGER NOT NULL,
    strict INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes (node TEXT PRIMARY KEY, cluster TEXT NOT NULL, instance TEXT NOT NULL,
    grpc_address TEXT NOT NULL, pid INTEGER NOT NULL, data TEXT NOT NULL,
    streaming_tables TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE attachments (leader_cluster TEXT, database_key TEXT, follower_cluster TEXT,
    database TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (leader_cluster, database_key, follower_cluster)) WITHOUT ROWID;
CREATE TABLE changes (kind TEXT, cluster TEXT, leader_cluster TEXT, database_key TEXT,
    database TEXT NOT NULL, epoch INTEGER NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (kind, cluster, leader_cluster, database_key)) WITHOUT ROWID;
INSERT INTO counters VALUES ('epoch', 7), ('revision', 9);
INSERT INTO clusters VALUES ('l', 1, 0), ('f', 0, 1);
INSERT INTO nodes VALUES ('l/0', 'l', 'i', '127.0.0.1:1', 7, '/d', '[["Db", ["T"]]]');
INSERT INTO attachments VALUES ('l', 'db', 'f', 'Db', 5);
INSERT INTO changes VALUES ('off', 'f', '', '', '', 6, 8), ('detach', 'f', 'l', 'old', 'Old', 7, 9);
PRAGMA user_version = 1;
"""
"""A file as the first format was, in its own words."""


def test_a_file_of_the_first_format_gets_the_configurations_its_attachments_mean(
    tmp_path: Path,
) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.executescript(OLD)
    connection.close()
    attachment = Attachment("l", "Db", "f", 5, "l.Db", "Db")
    configuration = Configuration("f", "l.Db", "l", "Db")
    changes = [
        Change(ChangeKind.OFF, "f", 6, 8),
        Change(ChangeKind.DETACH, "f", 7, 9, "l", "Old", "l.Old", "Old"),
    ]
    expected = Durable(
        epoch=7,
        revision=9,
        clusters={"l": Cluster("l", True), "f": Cluster("f", False, strict=True)},
        nodes={"l/0": Node("l/0", "l", "i", "127.0.0.1:1", 7, "/d", (("Db", ("T",)),))},
        attachments={attachment.key: attachment},
        changes={change.key: change for change in changes},
        configurations={configuration.key: configuration},
    )
    store = Store.open(tmp_path)
    assert store.load() == expected
    store.save(expected, FULL)
    store.close()
    again = Store.open(tmp_path)
    assert again.load() == FULL
    again.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
    connection.close()


def test_a_life_of_a_format_without_a_past_has_none(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.executescript(OLD)
    connection.executescript(
        "ALTER TABLE nodes ADD COLUMN registration INTEGER NOT NULL DEFAULT 0;"
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
        'INSERT INTO facts VALUES (\'issuer\', \'["c", 3, "x", 7, ["c2"]]\');'
        + store_module._FORMAT_2
        + "PRAGMA user_version = 3;"
    )
    connection.close()
    before = Issuer("c", 3, "x", 7, ("c2",))
    loaded = Store.open(tmp_path).load()
    assert loaded.issuer == before
    issuer = begin(loaded, coordinator="", instance="y").issuer
    assert issuer.past == (PastLife(3, "x", ended=9),)
    assert issuer.knows(before) == 9
    assert issuer.knows(replace(before, generation=2, instance="w")) == 9, "forgotten"
    assert issuer.knows(replace(before, instance="z")) == -1


def test_a_migration_that_is_cut_off_is_done_at_the_next_start(tmp_path: Path) -> None:
    """It is one transaction: a crash leaves the file of before."""
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.executescript(OLD)
    connection.close()
    broken = store_module._MIGRATIONS
    try:
        store_module._MIGRATIONS = (*broken[:1], broken[1] + "; SELECT * FROM nowhere")
        with pytest.raises(OSError, match="nowhere"):
            Store.open(tmp_path)
    finally:
        store_module._MIGRATIONS = broken
    assert set(Store.open(tmp_path).load().configurations) == {("f", "l.db")}


def test_a_file_of_something_else_is_named_as_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"hello, this is not a database" * 100)
    with pytest.raises(CorruptionError, match=FILE_NAME) as caught:
        Store.open(tmp_path)
    assert caught.value.metadata["file"] == str(tmp_path / FILE_NAME)


def test_overwritten_pages_are_noticed_at_open(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.save(Durable(), FULL)
    store.close()
    content = bytearray((tmp_path / FILE_NAME).read_bytes())
    content[4096:8192] = b"\xff" * 4096
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(CorruptionError):
        Store.open(tmp_path).load()


def test_a_failed_save_is_no_damage_but_an_error_of_the_disk(store: Store) -> None:
    store.close()
    with pytest.raises((OSError, CorruptionError)):
        store.save(Durable(), FULL)


async def test_a_threaded_store_saves(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    await ThreadedStore(store).save(Durable(), FULL)
    assert store.load() == FULL
