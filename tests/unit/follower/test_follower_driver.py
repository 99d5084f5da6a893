"""Two nodes follow for real: rows, gate, restarts, detach, all on virtual time."""

from __future__ import annotations

import pytest
import trio
from follow_cluster import ADDRESS, COLUMNS, REFUSAL

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.changes import AppendColumns, DropTable
from cluster.catalog.model import Column, ScalarType
from cluster.errors import DatabaseNotFoundError
from cluster.replication.position import Position
from cluster.transport.faults import LinkFaults
from follower import store


@pytest.mark.fidelity(
    "follower.md",
    "A follower shows what its leader has",
    differs="Rows are pushed at once; the page says seconds to minutes",
)
async def test_rows_arrive_in_order_and_are_reported(autojump_clock, setup):
    await setup.leader.ingest([1, 2, 3])
    await setup.leader.ingest([4])
    await setup.follower.shows([1, 2, 3, 4])
    (report,) = setup.follower.manager.report()
    assert (report.gate, report.refusal, report.rows_visible) == ("open", "", 4)
    assert report.connected
    assert report.applied_epoch == setup.epoch
    assert report.position.keys == setup.leader.row_stores.position_of([setup.leader.table().key])
    await trio.sleep(2)
    (report,) = setup.follower.manager.report()
    assert 0 <= report.lag_ms <= 2000
    assert 0 <= report.apply_lag_ms_p50 <= report.apply_lag_ms_p99


async def test_no_lag_is_told_of_rows_that_were_never_measured(autojump_clock, setup):
    await setup.follower.until(lambda f: any(r.gate == "open" for r in f.manager.report()))
    (report,) = setup.follower.manager.report()
    assert (report.apply_lag_ms_p50, report.apply_lag_ms_p99) == (-1, -1)


async def test_a_commit_leaves_at_once(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    before = trio.current_time()
    await setup.leader.ingest([2])
    await setup.follower.manager.wait_for("db", leader_position(setup))
    assert trio.current_time() - before == 0, "no timer was needed"


def leader_position(setup):
    table = setup.leader.table()
    version = setup.leader.catalog.get("db").version
    return Position(version, setup.leader.row_stores.position_of([table.key]))


async def test_wait_for_waits_while_rows_are_hidden(autojump_clock, setup):
    await setup.leader.ingest([1])
    position = leader_position(setup)
    await setup.follower.manager.wait_for("db", position)
    setup.decide(rows=False)
    setup.tell()
    with trio.move_on_after(3) as scope:
        await setup.follower.manager.wait_for("db", position)
    assert scope.cancelled_caught
    with pytest.raises(DatabaseNotFoundError):
        await setup.follower.manager.wait_for("nothing", position)


async def test_a_close_hides_before_it_is_confirmed(autojump_clock, setup):
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    pokes = setup.follower.pokes
    setup.decide(rows=False)
    setup.tell(setup.follower)  # no checkpoint between this and what follows
    assert setup.follower.numbers() == []
    (report,) = setup.follower.manager.report()
    assert report.applied_epoch == setup.epoch
    assert (report.gate, report.refusal, report.rows_visible) == ("closed", REFUSAL, 0)
    assert setup.follower.pokes == pokes + 1
    pin = setup.follower.database.pin()
    assert pin.rows_hidden
    assert pin.hidden_reason == REFUSAL
    assert pin.position == Position(pin.database.version)


async def test_open_again_brings_the_closed_window_once_and_in_order(autojump_clock, setup):
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    setup.decide(rows=False)
    setup.tell()
    for number in range(3, 30):
        await setup.leader.ingest([number])
    await setup.leader.create_table("Later")
    await setup.follower.until(lambda f: "Later" in f.database.pin().database.tables)
    assert setup.follower.numbers() == []
    setup.decide(rows=True)
    setup.tell()
    await setup.follower.shows(range(1, 30))
    (report,) = setup.follower.manager.report()
    assert report.connected, "no restart was needed"
    assert setup.follower.database.statistics().session.calls == 1


async def test_capability_flips_under_load(autojump_clock, setup):
    stop = trio.Event()

    async def load():
        for number in range(300):
            await setup.leader.ingest([number])
            await trio.sleep(0.01)
        stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load)
        allowed = True
        while not stop.is_set():
            await trio.sleep(0.13)
            allowed = not allowed
            setup.decide(rows=allowed)
            setup.tell(setup.follower)
            assert allowed or setup.follower.numbers() == []
            await trio.sleep(0.03)
            setup.tell(setup.leader)
            seen = setup.follower.numbers()
            assert seen == list(range(len(seen)))
    setup.decide(rows=True)
    setup.tell()
    await setup.follower.shows(range(300))


async def test_the_lease_runs_out_at_both_ends_and_comes_back(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    setup.tell = lambda *nodes: None  # the coordinator is gone
    await trio.sleep(setup.limits.lease_seconds + 1.5)
    assert setup.follower.numbers() == []
    (report,) = setup.follower.manager.report()
    assert "lease has run out" in report.refusal
    await setup.leader.ingest([2])
    await trio.sleep(5)
    assert setup.follower.numbers() == []
    del setup.tell
    await setup.follower.shows([1, 2])


async def test_a_restarted_follower_resumes_from_its_own_position(autojump_clock, setup):
    await setup.leader.ingest([1, 2, 3])
    await setup.follower.shows([1, 2, 3])
    before = setup.leader.service.statistics().records_sent_total
    await setup.follower.stop()
    await setup.leader.ingest([4])
    await setup.follower.start()
    assert setup.follower.manager.get("db") is not None
    assert setup.follower.numbers() == [], "nothing is visible before the coordinator is heard"
    await setup.follower.shows([1, 2, 3, 4])
    assert setup.leader.service.statistics().records_sent_total == before + 1


async def test_a_restarted_leader_is_found_again(autojump_clock, setup):
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    await setup.leader.stop()
    await trio.sleep(3)
    assert setup.follower.numbers() == [1, 2]
    await setup.leader.start()
    await setup.leader.ingest([3])
    await setup.follower.shows([1, 2, 3])
    assert setup.leader.service.statistics().records_sent_total == 1


@pytest.mark.parametrize("kept_bytes", [0, 40, 200])
async def test_a_follower_that_lost_power_loses_and_repeats_nothing(
    autojump_clock, setup, kept_bytes
):
    for number in range(10):
        await setup.leader.ingest([number])
    await setup.follower.shows(range(10))
    await setup.follower.stop()
    setup.follower.disk.crash(kept_bytes=kept_bytes)  # nothing of a copy is ever synced
    await setup.follower.start()
    await setup.leader.ingest([10])
    await setup.follower.shows(range(11))


async def test_a_copy_that_cannot_be_read_is_filled_again(autojump_clock, setup):
    for number in range(10):
        await setup.leader.ingest([number])
    await setup.follower.shows(range(10))
    await setup.follower.stop()
    (segment,) = (path for path in setup.follower.disk.paths() if path.name != "LOCK")
    setup.follower.disk.flip_bit(segment, 700)
    await setup.follower.start()
    await setup.leader.ingest([10])
    await setup.follower.shows(range(11))


async def test_a_schema_change_goes_before_its_rows(autojump_clock, setup):
    await setup.leader.ingest([1])
    change = AppendColumns("T", (Column("More", ScalarType.REAL),))
    await setup.leader.catalog.commit("db", [change], text="")
    await setup.leader.ingest([2])
    await setup.follower.shows([1, 2])
    assert len(setup.follower.database.pin().database.tables["T"].columns) == 3


async def test_a_delta_costs_what_it_changes_not_what_there_is(autojump_clock, setup, monkeypatch):
    for name in ("A", "B", "C"):
        await setup.leader.create_table(name)
    await setup.leader.ingest([1], "C")
    await setup.follower.shows([1], "C")
    made = []

    def counted(columns):
        made.append(columns)
        return arrow_schema(columns)

    monkeypatch.setattr(store, "arrow_schema", counted)
    await setup.leader.create_table("D")
    await setup.leader.ingest([2], "D")
    await setup.follower.shows([2], "D")
    assert made == [COLUMNS]


async def test_a_dropped_table_goes_with_its_rows(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    key = setup.leader.table().key
    await setup.leader.catalog.commit("db", [DropTable("T")], text="")
    setup.leader.row_stores.forget(key)
    await setup.leader.create_table()
    await setup.leader.ingest([7])
    await setup.follower.shows([7])
    pin = setup.follower.database.pin()
    assert set(pin.rows) == {setup.leader.table().key}


async def test_detach_removes_everything_and_attach_gives_a_fresh_copy(autojump_clock, setup):
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    setup.decide(attached=False)
    setup.tell()
    assert setup.follower.numbers() == []
    await setup.follower.until(lambda f: f.manager.get("db") is None)
    assert setup.follower.manager.report() == ()
    assert setup.follower.disk.paths() == []
    with pytest.raises(DatabaseNotFoundError):
        setup.follower.catalog.get("db")
    assert setup.leader.service.statistics().sessions == ()
    setup.decide(attached=True)
    setup.tell()
    await setup.follower.shows([1, 2])


async def test_a_detach_while_the_node_was_down_is_carried_out_at_its_start(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    await setup.follower.stop()
    setup.decide(attached=False)
    await setup.follower.start()
    assert setup.follower.numbers() == []
    await setup.follower.until(lambda f: f.manager.get("db") is None)
    assert setup.follower.disk.paths() == []


async def test_attached_again_while_being_removed(autojump_clock, setup):
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    setup.decide(attached=False)
    setup.tell()
    setup.decide(attached=True)
    setup.tell()
    assert setup.follower.numbers() == [], "the copy of before is never shown again"
    (report,) = setup.follower.manager.report()
    assert report.applied_epoch == setup.epoch
    await setup.follower.shows([1, 2])


async def test_a_strict_follower_gets_nothing_until_it_may_have_rows(autojump_clock, setup):
    await setup.follower.stop()
    setup.decide(rows=False, attached=False)
    setup.strict = True
    await setup.follower.start()
    await setup.follower.until(lambda f: f.manager.get("db") is None)
    await setup.leader.ingest([1])
    setup.decide(attached=True)
    setup.tell()
    await trio.sleep(3)
    with pytest.raises(DatabaseNotFoundError):
        setup.follower.database.pin()
    (report,) = setup.follower.manager.report()
    assert report.refusal == REFUSAL
    assert REFUSAL in setup.follower.database.statistics().trouble
    setup.decide(rows=True)
    setup.tell()
    await setup.follower.shows([1])


async def test_a_slow_follower_finds_its_place_after_the_log_was_cut(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    setup.decide(rows=False)
    setup.tell()
    dropped = setup.leader.table()
    await setup.leader.create_table("Kept")
    await setup.leader.ingest([5], "Kept")
    await setup.leader.catalog.commit("db", [DropTable("T")], text="")
    setup.leader.row_stores.forget(dropped.key)
    setup.decide(rows=True)
    setup.tell()
    await setup.leader.ingest([6], "Kept")
    await setup.follower.shows([5, 6], "Kept")


async def test_a_local_database_wins_the_name(autojump_clock, setup):
    setup.decide(attached=False)
    setup.tell()
    await setup.follower.until(lambda f: f.manager.get("db") is None)
    await setup.follower.catalog.create_database("mine")
    setup.decide(attached=True, follower_database="MINE")
    setup.tell()
    await trio.sleep(2)
    (report,) = setup.follower.manager.report()
    assert report.refusal == "this cluster has a database 'MINE' of its own"
    assert report.applied_epoch == setup.epoch
    assert not setup.follower.catalog.is_following("mine")
    assert setup.follower.manager.statistics().conflicts == (report.refusal,)


async def test_the_leader_moves_to_another_address(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    setup.decide(address="leader:7001")
    setup.tell()
    await trio.sleep(1)
    assert setup.follower.numbers() == [1], "losing the leader hides nothing"
    (report,) = setup.follower.manager.report()
    assert not report.connected
    assert "connection refused" in setup.follower.database.statistics().trouble
    setup.decide(address=ADDRESS)
    setup.tell()
    await setup.leader.ingest([2])
    await setup.follower.shows([1, 2])


async def test_a_silent_leader_is_left_and_found_again(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    setup.network.set_faults("leader", "follower", LinkFaults(partitioned=True))
    await setup.leader.ingest([2])
    await trio.sleep(8)
    (report,) = setup.follower.manager.report()
    assert report.lag_ms >= 7000, "the lag grows while nothing is heard"
    assert setup.follower.numbers() == [1]
    setup.network.clear_faults()
    await setup.follower.shows([1, 2])


async def test_a_bad_network_loses_and_repeats_nothing(autojump_clock, setup):
    setup.network.seed = 7
    faults = LinkFaults(drop_ratio=0.02, delay_seconds=0.003, jitter_seconds=0.01)
    setup.network.set_faults("leader", "follower", faults)
    setup.network.set_faults("follower", "leader", faults)
    for number in range(150):
        await setup.leader.ingest([number])
        await trio.sleep(0.02)
    await setup.follower.shows(range(150))
    assert setup.follower.database.statistics().session.calls > 1
