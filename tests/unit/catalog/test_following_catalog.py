"""A following database: the leader's tree as it came is stored, the effective one is served."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from catalog_world import open_catalog

from cluster.catalog.changes import CreateTable, DropTable, RenameTables, SetPrincipals, apply
from cluster.catalog.codec import decode_database, encode_database
from cluster.catalog.following import (
    EVERYTHING,
    FollowingSettings,
    ModificationKind,
    Sharing,
    effective,
)
from cluster.catalog.journal import Delta
from cluster.catalog.model import (
    Column,
    Database,
    Role,
    RoleAssignment,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Version,
)
from cluster.errors import ConflictError, CorruptionError, DatabaseNotFoundError, ProtocolError
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.catalog.changes import Change
    from cluster.catalog.driver import Catalog

COLUMNS = (Column("a", ScalarType.LONG),)
ALICE = RoleAssignment(Role.ADMINS, "aaduser=alice@contoso.com", "", "1")
BOB = RoleAssignment(Role.VIEWERS, "aaduser=bob@contoso.com", "note", "2")
HOT = '{"a":1}'
NO_B = Sharing(tables_to_exclude=("B*",))
EVERY_SETTING = FollowingSettings(
    sharing=Sharing(*((f"T{place}*",) for place in range(8))),
    default_principals_kind=ModificationKind.REPLACE,
    narrowing=NO_B,
    principals=(BOB,),
    principals_kind=ModificationKind.NONE,
    caching=HOT,
    table_caching={"A": HOT},
    caching_kind=ModificationKind.REPLACE,
    prefetch_extents=True,
)


def created(*names: str) -> list[Change]:
    """Makes tables whose keys are made of their names."""
    return [
        CreateTable(name, f"id-{name}", RowStoreKey(sum(name.encode())), COLUMNS) for name in names
    ]


def leaders() -> Database:
    """Tables A and B, and an admin."""
    changes = [*created("A", "B"), SetPrincipals("", (ALICE,))]
    return apply(Database("Sales", "guid"), changes, LIMITS)


def delta(tree: Database, *changes: Change) -> Delta:
    """The next transaction of the leader."""
    return Delta(tree.version, tree.version.next(), changes)


async def follow(catalog: Catalog, sharing: Sharing = EVERYTHING) -> Database:
    """Follows the leader's tree under the name F."""
    return await catalog.install_snapshot("F", "leader", "Sales", leaders(), sharing=sharing)


def keys(catalog: Catalog) -> set[int]:
    """Keys of all tables there are."""
    return set(catalog.tables_by_key())


async def test_what_is_not_shared_is_not_served(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        tree = await follow(catalog, NO_B)
        assert tree == catalog.get("f")
        assert set(tree.tables) == {"A"}
        assert [set(tree.tables) for tree in catalog.databases()] == [{"A"}, set()]
        assert keys(catalog) == {ord("A")}
        assert catalog.leader_tree("F") == replace(leaders(), name="F")
        assert catalog.statistics().tables == 1


async def test_tables_made_later_are_judged_by_their_names(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        tree = await follow(catalog, NO_B)
        tree = await catalog.apply_delta("F", delta(tree, *created("Bb", "C")))
        assert set(tree.tables) == {"A", "C"}
        tree = await catalog.apply_delta("F", delta(tree, RenameTables((("C", "B1"), ("B", "D")))))
        assert set(tree.tables) == {"A", "D"}
        assert keys(catalog) == {ord("A"), ord("B")}
        tree = await catalog.apply_delta("F", delta(tree, DropTable("A"), DropTable("B1")))
        assert set(tree.tables) == {"D"}
        assert keys(catalog) == {ord("B")}
        assert set(catalog.leader_tree("F").tables) == {"D", "Bb"}


async def test_settings_change_what_is_served_at_once(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        await follow(catalog)
        seen = catalog.revision
        settings = await catalog.set_following("f", lambda now: replace(now, sharing=NO_B))
        assert settings.sharing == NO_B
        assert catalog.revision == seen + 1
        assert keys(catalog) == {ord("A")}
        assert catalog.get("F").version == leaders().version
        await catalog.set_following("F", lambda now: replace(now, sharing=EVERYTHING))
        assert keys(catalog) == {ord("A"), ord("B")}
        seen = catalog.revision
        await catalog.set_following("F", lambda now: now)
        assert catalog.revision == seen


async def test_what_is_said_hides_before_it_is_stored(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        tree = await follow(catalog)
        seen = catalog.revision
        catalog.limit_sharing("f", NO_B)
        assert set(catalog.get("F").tables) == {"A"}
        assert keys(catalog) == {ord("A")}
        assert catalog.revision == seen + 1
        assert set(catalog.shared_tree("F").tables) == {"A", "B"}, "nothing is stored"
        catalog.limit_sharing("F", NO_B)
        assert catalog.revision == seen + 1
        # Whatever comes between, it stays hidden.
        await catalog.apply_delta("F", delta(tree, *created("Bb", "C")))
        await catalog.set_following("F", lambda now: replace(now, caching=HOT))
        assert set(catalog.get("F").tables) == {"A", "C"}
        await catalog.install_snapshot("F", "leader", "Sales", leaders())
        assert set(catalog.get("F").tables) == {"A"}
        # More than before is shown when it is stored, not when it is said.
        catalog.limit_sharing("F", EVERYTHING)
        assert set(catalog.get("F").tables) == {"A", "B"}
        await catalog.set_following("F", lambda now: replace(now, sharing=NO_B))
        catalog.limit_sharing("F", Sharing(tables_to_include=("B",)))
        assert not catalog.get("F").tables
        await catalog.set_following(
            "F", lambda now: replace(now, sharing=Sharing(tables_to_include=("B",)))
        )
        assert set(catalog.get("F").tables) == {"B"}
        with pytest.raises(ConflictError, match="does not follow"):
            catalog.limit_sharing("NetDefaultDB", NO_B)


async def test_narrowing_hides_what_is_still_followed(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        await follow(catalog)
        await catalog.set_following("F", lambda now: replace(now, narrowing=NO_B))
        assert set(catalog.get("F").tables) == {"A"}
        assert set(catalog.shared_tree("F").tables) == {"A", "B"}


async def test_overrides_are_in_the_tree_that_is_served_and_not_in_the_shared_one(
    path: Path,
) -> None:
    async with await open_catalog(path) as catalog:
        await follow(catalog)
        await catalog.set_following(
            "F", lambda now: replace(now, caching=HOT, table_caching={"A": HOT}, principals=(BOB,))
        )
        tree, shared = catalog.get("F"), catalog.shared_tree("F")
        assert tree.policies == tree.tables["A"].policies == {"caching": HOT}
        assert tree.principals == (ALICE, BOB)
        assert shared.policies == shared.tables["A"].policies == {}
        assert tree.tables["B"] is shared.tables["B"]


async def test_settings_outlive_resync_snapshot_and_restart(path: Path) -> None:
    async with await open_catalog(path, replace(LIMITS, catalog_snapshot_bytes=600)) as catalog:
        tree = await follow(catalog)
        await catalog.set_following("F", lambda _: EVERY_SETTING)
        for number in range(30):  # the journal outgrows the snapshot
            name = f"T0{number}"
            tree = await catalog.apply_delta("F", delta(tree, *created(name), DropTable(name)))
        assert catalog.statistics().snapshots > 2
        shown = catalog.get("F")
    async with await open_catalog(path) as catalog:
        assert catalog.following_settings("F") == EVERY_SETTING
        assert catalog.get("F") == shown == effective(catalog.leader_tree("F"), EVERY_SETTING)
        again = await catalog.install_snapshot("F", "leader", "Sales", leaders())
        assert catalog.following_settings("F") == EVERY_SETTING
        assert again == effective(replace(leaders(), name="F"), EVERY_SETTING)
        await catalog.install_snapshot(
            "F", "leader", "Sales", leaders(), sharing=NO_B, principals_kind=ModificationKind.UNION
        )
        assert catalog.following_settings("F") == replace(
            EVERY_SETTING, sharing=NO_B, default_principals_kind=ModificationKind.UNION
        )


async def test_detaching_forgets_the_settings(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        await follow(catalog, NO_B)
        await catalog.set_following("F", lambda now: replace(now, principals=(BOB,)))
        await catalog.remove_following("F")
        assert not keys(catalog)
        await follow(catalog)
        assert catalog.following_settings("F") == FollowingSettings()


async def test_only_a_following_database_has_settings(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        for read in (catalog.following_settings, catalog.shared_tree, catalog.leader_tree):
            with pytest.raises(ConflictError, match="does not follow"):
                read("NetDefaultDB")
            with pytest.raises(DatabaseNotFoundError):
                read("Nope")
        with pytest.raises(ConflictError, match="does not follow"):
            await catalog.set_following("NetDefaultDB", lambda now: now)


async def test_a_refused_plan_changes_nothing(path: Path) -> None:
    def refuse(_: FollowingSettings) -> FollowingSettings:
        raise ConflictError("no")

    async with await open_catalog(path) as catalog:
        await follow(catalog)
        with pytest.raises(ConflictError, match="no"):
            await catalog.set_following("F", refuse)
        assert catalog.following_settings("F") == FollowingSettings()


async def test_a_delta_costs_what_it_touches(path: Path) -> None:
    """10,000 tables: not one of those that did not change is looked at or made again."""
    tree = apply(
        Database("Sales", "guid"), [CreateTable("T", "id", RowStoreKey(1), COLUMNS)], LIMITS
    )
    (table,) = tree.tables.values()
    tables = [
        replace(
            table,
            name=f"T{n}",
            table_id=f"id{n}",
            references=(RowStoreReference(0, RowStoreKey(n + 1)),),
        )
        for n in range(10_000)
    ]
    tree = replace(tree, tables={table.name: table for table in tables})
    async with await open_catalog(path) as catalog:
        sharing = Sharing(tables_to_exclude=("*99",))
        before = await catalog.install_snapshot("F", "leader", "Sales", tree, sharing=sharing)
        assert len(before.tables) == 9_900
        changed = delta(before, DropTable("T7"), DropTable("T199"))
        after = await catalog.apply_delta("F", changed)
        assert len(after.tables) == 9_899
        assert all(table is before.tables[name] for name, table in after.tables.items())


def downgrade(path: Path) -> None:
    """Makes the file what format 2 was: no settings, trees without principals."""
    connection = sqlite3.connect(path)
    with connection:
        for folded, snapshot in connection.execute("SELECT folded, snapshot FROM databases"):
            connection.execute(
                "UPDATE databases SET snapshot = ? WHERE folded = ?",
                (tree_of_format_2(snapshot), folded),
            )
        connection.execute("ALTER TABLE databases DROP COLUMN settings")
        connection.execute("ALTER TABLE deltas DROP COLUMN user")
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def tree_of_format_2(encoded: bytes) -> bytes:
    """The same tree as format 2 wrote it, without its principals."""
    tree = json.loads(encoded)
    for part in (tree, *tree["tables"], *(dropped[0] for dropped in tree["dropped_tables"])):
        del part["principals"]
    return json.dumps(tree | {"format": 2}, separators=(",", ":"), sort_keys=True).encode()


async def test_a_file_of_format_2_is_migrated_when_it_is_opened(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        await follow(catalog)
        await catalog.commit("NetDefaultDB", created("Own"), text="")
        own = catalog.get("NetDefaultDB")
    downgrade(path)
    async with await open_catalog(path) as catalog:
        assert catalog.get("NetDefaultDB") == own
        assert catalog.get("F") == replace(leaders(), name="F", principals=())
        assert catalog.following_settings("F") == FollowingSettings()
        await catalog.set_following("F", lambda _: EVERY_SETTING)
    async with await open_catalog(path) as catalog:
        assert catalog.following_settings("F") == EVERY_SETTING


async def test_a_file_of_format_3_is_migrated_and_its_journal_names_nobody(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        await catalog.transact("NetDefaultDB", lambda _: created("Own"), text="one", user="ann")
        assert [delta.user for delta in catalog.history("NetDefaultDB")] == ["ann"]
    async with await open_catalog(path) as catalog:
        assert [delta.user for delta in catalog.history("NetDefaultDB")] == ["ann"]
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("ALTER TABLE deltas DROP COLUMN user")
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    async with await open_catalog(path) as catalog:
        history = catalog.history("NetDefaultDB")
        assert [(delta.text, delta.user) for delta in history] == [("one", "")]
        await catalog.transact("NetDefaultDB", lambda _: created("Two"), text="two", user="bob")
    async with await open_catalog(path) as catalog:
        assert [delta.user for delta in catalog.history("NetDefaultDB")] == ["", "bob"]


def test_a_tree_of_format_2_has_no_principals() -> None:
    tree = leaders()
    older = tree_of_format_2(encode_database(tree))
    assert decode_database(older) == replace(tree, principals=())
    with pytest.raises(ProtocolError, match="principals"):
        decode_database(older.replace(b'"format":2', b'"format":3'))
    mixed = older.replace(b'"pretty_name"', b'"principals":[],"pretty_name"', 1)
    with pytest.raises(ProtocolError, match="unknown fields"):
        decode_database(mixed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("caching", 1),
        ("caching_kind", "some"),
        ("principals_kind", "some"),
        ("principals", [["viewers", "a", "b"]]),
        ("principals", [["kings", "a", "b", "c"]]),
        ("sharing", {"tables": []}),
        ("sharing", {"tables_to_include": "T"}),
        ("table_caching", []),
        ("table_caching", {"T": None}),
        ("prefetch_extents", 1),
        ("more", 1),
    ],
)
async def test_damaged_settings_are_refused(path: Path, field: str, value: object) -> None:
    async with await open_catalog(path) as catalog:
        await follow(catalog)
    connection = sqlite3.connect(path)
    with connection:
        (stored,) = connection.execute(
            "SELECT settings FROM databases WHERE folded = 'f'"
        ).fetchone()
        damaged = json.dumps({**json.loads(stored), field: value}).encode()
        connection.execute("UPDATE databases SET settings = ? WHERE folded = 'f'", (damaged,))
    connection.close()
    with pytest.raises(CorruptionError, match="'f'"):
        await open_catalog(path)


async def test_a_new_database_has_the_version_of_its_tree(path: Path) -> None:
    async with await open_catalog(path) as catalog:
        assert (await follow(catalog, NO_B)).version == Version(1, 1)
