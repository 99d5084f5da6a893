"""What is not shared is neither sent nor kept nor seen; what is shared later comes whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from cluster.catalog.changes import RenameTables, SetPrincipals
from cluster.catalog.following import EVERYTHING, ModificationKind, Sharing
from cluster.catalog.model import Role, RoleAssignment
from cluster.errors import DatabaseNotFoundError
from cluster.replication.position import Position

NO_SECRETS = Sharing(tables_to_exclude=("Secret*",))


async def two_tables(setup, sharing=EVERYTHING):
    """Tables T and Secret with rows, followed as ``sharing`` says."""
    if sharing != EVERYTHING:
        setup.decide(sharing=sharing)
        setup.tell()
    await setup.leader.create_table("Secret")
    await setup.leader.ingest([1, 2])
    await setup.leader.ingest([10], "Secret")
    await setup.leader.ingest([3])
    await setup.follower.shows([1, 2, 3])


def keys_here(setup):
    """Row store keys of which the follower stores rows."""
    return set(setup.follower.database.copy.positions())


def keys_of(setup, name):
    return set(setup.leader.table(name).keys)


@pytest.mark.fidelity("follower.md", "Only shared tables are followed")
async def test_rows_of_tables_that_are_not_shared_never_come(autojump_clock, setup):
    await two_tables(setup, NO_SECRETS)
    await trio.sleep(5)  # bookmarks and acknowledgements of shared keys only
    assert setup.follower.tables() == ["T"]
    assert keys_here(setup) <= keys_of(setup, "T")
    (report,) = setup.follower.manager.report()
    assert set(report.position.keys) <= keys_of(setup, "T")
    assert report.connected
    assert setup.follower.database.statistics().session.calls <= 2
    assert 0 <= report.lag_ms <= 2000


async def test_a_position_with_rows_that_are_not_shared_can_be_waited_for(autojump_clock, setup):
    await two_tables(setup, NO_SECRETS)
    keys = [*setup.leader.table().keys, *setup.leader.table("Secret").keys]
    position = Position(
        setup.leader.catalog.get("db").version, setup.leader.row_stores.position_of(keys)
    )
    with trio.fail_after(5):
        await setup.follower.manager.wait_for("db", position)


async def test_what_is_not_shared_any_more_is_hidden_at_once_and_then_gone(autojump_clock, setup):
    await two_tables(setup)
    await setup.follower.shows([10], "Secret")
    setup.decide(sharing=NO_SECRETS)
    setup.tell(setup.follower)  # no checkpoint between this and what follows
    assert setup.follower.tables() == ["T"]
    assert list(setup.follower.catalog.get("db").tables) == ["T"], "for commands too"
    (report,) = setup.follower.manager.report()
    assert report.applied_epoch == setup.epoch
    setup.tell()
    await setup.follower.until(lambda node: not keys_here(setup) & keys_of(setup, "Secret"))
    assert set(setup.follower.catalog.get("db").tables) == {"T"}
    await setup.leader.ingest([4])
    await setup.leader.ingest([11], "Secret")
    await setup.follower.shows([1, 2, 3, 4])
    assert not keys_here(setup) & keys_of(setup, "Secret")


async def test_what_is_shared_from_now_on_comes_whole(autojump_clock, setup):
    await two_tables(setup, NO_SECRETS)
    await setup.leader.seal("Secret")
    await setup.leader.ingest([11], "Secret")
    setup.decide(sharing=EVERYTHING)
    setup.tell()
    await setup.follower.shows([10, 11], "Secret")
    await setup.follower.shows([1, 2, 3])


async def test_how_old_another_part_is_nobody_knows_before_its_rows_are_there(
    autojump_clock, setup
):
    await two_tables(setup, NO_SECRETS)
    await trio.sleep(5)
    assert setup.follower.database.pin().staleness_seconds() is not None
    setup.decide(sharing=EVERYTHING)
    setup.tell(setup.follower)
    await setup.follower.until(lambda node: "Secret" in node.tables())
    assert setup.follower.database.pin().staleness_seconds() is None
    setup.tell()
    await setup.follower.shows([10], "Secret")
    await trio.sleep(5)
    assert setup.follower.database.pin().staleness_seconds() <= 2


@pytest.mark.parametrize("first", ["leader", "follower"])
async def test_both_ends_hear_of_it_in_any_order(autojump_clock, setup, first):
    await two_tables(setup)
    for sharing in (NO_SECRETS, EVERYTHING, Sharing(tables_to_include=("Secret",)), EVERYTHING):
        setup.decide(sharing=sharing)
        setup.tell(getattr(setup, first))
        await trio.sleep(0.7)
        setup.tell()
    await setup.follower.shows([1, 2, 3])
    await setup.follower.shows([10], "Secret")
    await setup.leader.ingest([4])
    await setup.leader.ingest([11], "Secret")
    await setup.follower.shows([1, 2, 3, 4])
    await setup.follower.shows([10, 11], "Secret")


async def test_flips_of_sharing_under_load(autojump_clock, setup):
    await two_tables(setup)
    expected = {"T": [1, 2, 3], "Secret": [10]}
    for number in range(20, 50):
        name = ("T", "Secret")[number % 2]
        await setup.leader.ingest([number], name)
        expected[name].append(number)
        if number % 5 == 0:
            await setup.leader.seal(name)
        setup.decide(sharing=(NO_SECRETS, EVERYTHING)[number % 2])
        setup.tell(*((setup.leader, setup.follower)[number % 3 : number % 3 + 1]))
        await trio.sleep(0.05 * (number % 7))
    setup.decide(sharing=EVERYTHING)
    setup.tell()
    await setup.follower.until(
        lambda node: all(
            name in node.tables() and sorted(node.numbers(name)) == numbers
            for name, numbers in expected.items()
        )
    )


async def test_a_table_that_is_renamed_goes_and_comes(autojump_clock, setup):
    await two_tables(setup, NO_SECRETS)
    await setup.leader.catalog.commit("db", [RenameTables((("Secret", "Open"),))], text="")
    await setup.follower.shows([10], "Open")
    await setup.leader.catalog.commit("db", [RenameTables((("T", "Secret"),))], text="")
    await setup.follower.until(lambda node: node.tables() == ["Open"])
    assert not keys_here(setup) & keys_of(setup, "Secret")
    await setup.leader.catalog.commit("db", [RenameTables((("Secret", "T"),))], text="")
    await setup.follower.shows([1, 2, 3])


async def test_tables_created_later(autojump_clock, setup):
    await two_tables(setup, NO_SECRETS)
    await setup.leader.create_table("Secret2")
    await setup.leader.create_table("U")
    await setup.leader.ingest([7], "Secret2")
    await setup.leader.ingest([8], "U")
    await setup.follower.shows([8], "U")
    assert setup.follower.tables() == ["T", "U"]


async def test_a_follower_that_was_down_learns_of_it_at_its_start(autojump_clock, setup):
    await two_tables(setup)
    await setup.follower.shows([10], "Secret")
    await setup.follower.stop()
    setup.decide(sharing=NO_SECRETS)
    setup.tell()
    await setup.leader.ingest([4])
    await setup.follower.start()
    setup.tell()
    assert setup.follower.tables() == ["T"]
    await setup.follower.shows([1, 2, 3, 4])
    await setup.follower.stop()
    setup.decide(sharing=EVERYTHING)
    setup.tell()
    await setup.follower.start()
    setup.tell()
    await setup.follower.shows([10], "Secret")
    await setup.follower.shows([1, 2, 3, 4])


async def test_rows_that_were_hidden_and_came_again_survive_a_restart(autojump_clock, setup):
    await two_tables(setup)
    await setup.follower.shows([10], "Secret")
    for sharing in (NO_SECRETS, EVERYTHING):
        setup.decide(sharing=sharing)
        setup.tell()
        await trio.sleep(1)
    await setup.follower.shows([10], "Secret")
    await setup.leader.ingest([11], "Secret")
    await setup.follower.shows([10, 11], "Secret")
    await setup.follower.stop()
    await setup.follower.start()
    setup.tell()
    await setup.follower.shows([10, 11], "Secret")
    assert setup.follower.database.copy.drops == 0


async def test_while_the_leader_is_away_what_is_not_shared_is_gone_too(autojump_clock, setup):
    await two_tables(setup)
    await setup.leader.stop()
    setup.decide(sharing=NO_SECRETS)
    setup.tell(setup.follower)
    assert setup.follower.tables() == ["T"]
    await setup.follower.until(lambda node: set(node.catalog.get("db").tables) == {"T"})
    assert setup.follower.numbers() == [1, 2, 3]


async def test_the_kind_of_principals_comes_with_the_attachment(autojump_clock, setup):
    jack = RoleAssignment(Role.ADMINS, "aaduser=jack", "", "1")
    jill = RoleAssignment(Role.ADMINS, "aaduser=jill", "", "2")
    await setup.leader.catalog.commit("db", [SetPrincipals("", (jack,))], text="")
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    catalog = setup.follower.catalog
    await catalog.set_following("db", lambda now: replace(now, principals=(jill,)))
    assert catalog.get("db").principals == (jack, jill)
    setup.decide(principals_kind=ModificationKind.REPLACE)
    setup.tell()
    await setup.follower.until(lambda node: node.catalog.get("db").principals == (jill,))
    await setup.leader.ingest([2])
    await setup.follower.shows([1, 2])


async def test_overrides_do_not_disturb_following(autojump_clock, setup):
    """The session and the copy count what the leader counts, whatever is shown."""
    await two_tables(setup)
    await setup.follower.catalog.set_following(
        "db",
        lambda now: replace(
            now, narrowing=NO_SECRETS, caching="{}", table_caching={"T": "{}"}, principals=()
        ),
    )
    await setup.leader.ingest([4])
    await setup.leader.ingest([11], "Secret")
    await setup.leader.seal()
    await setup.follower.shows([1, 2, 3, 4])
    assert setup.follower.tables() == ["T"]
    assert setup.follower.database.pin().database.tables["T"].policies == {"caching": "{}"}
    await trio.sleep(5)
    assert setup.follower.database.statistics().session.calls == 1
    await setup.follower.catalog.set_following("db", lambda now: replace(now, narrowing=EVERYTHING))
    await setup.follower.shows([10, 11], "Secret")


@pytest.mark.fidelity("follower.md", "A database may have another name at the follower")
async def test_a_database_under_another_name_here(autojump_clock, setup):
    setup.decide(follower_database="prefix_db")
    setup.tell()
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    assert setup.follower.database.pin().database.name == "prefix_db"
    state = setup.follower.manager.state("PREFIX_DB")
    assert (state.leader_database, state.configuration) == ("db", "configuration")
    assert (state.origin, state.gate, state.is_connected) == ("Direct", "open", True)
    assert sum(state.ordinals.values()) == state.rows_visible == 1
    with pytest.raises(DatabaseNotFoundError):
        setup.follower.manager.state("db")


async def test_another_name_begins_anew_and_leaves_nothing_behind(autojump_clock, setup):
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    setup.decide(follower_database="renamed")
    setup.tell()
    assert (
        setup.follower.manager.get("db") is None
        or setup.follower.manager.get("db").pin().rows_hidden
    )
    await setup.follower.shows([1, 2])
    with pytest.raises(DatabaseNotFoundError):
        setup.follower.catalog.get("db")
    (report,) = setup.follower.manager.report()
    assert report.applied_epoch == setup.epoch
