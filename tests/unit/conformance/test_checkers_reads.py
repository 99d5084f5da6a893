"""R10 to R15: sessions, positions, staleness, read-only, schema, seals."""

from __future__ import annotations

import pytest
from stories import BASE, HIDDEN, KEY, Story, at

from cluster.conformance import notes
from cluster.conformance.calls import Answer, Refused, Unknown


def two() -> Story:
    """Two requests of one row."""
    return Story().wrote("a", 1, upto=1).wrote("b", 2, upto=2)


# -- R10 ----------------------------------------------------------------------------------------


def test_a_session_that_goes_forward() -> None:
    story = two().read("follower1", 1, upto=1, session="s")
    assert story.read("follower1", 1, 2, upto=2, session="s").passes("R10")


def test_r10_a_restart_from_an_older_state() -> None:
    story = two().read("follower1", 1, 2, upto=2, session="s")
    story.note(notes.ProcessEnded(process="follower1/0", how="kill"))
    story.note(notes.ProcessBegan(process="follower1/0")).read("follower1", 1, upto=1, session="s")
    assert "does not show row 2 of source b any more" in story.violation("R10").message


def test_r10_an_older_position_with_the_same_rows() -> None:
    story = two().read("follower1", 1, 2, upto=2, version=3, session="s")
    assert "R10" in story.read("follower1", 1, 2, upto=2, version=2, session="s").broken()


def test_sessions_and_clusters_are_told_apart() -> None:
    story = two().read("follower1", 1, 2, upto=2, session="s").read("follower1", 1, session="t")
    assert "R10" not in story.read("leader", 1, 2, session="s").broken()


def test_overlapping_reads_of_a_session_have_no_order() -> None:
    from cluster.conformance.calls import Answer

    story = two()
    slow = story.begin(story.question("follower1", session="s"))
    story.read("follower1", 1, 2, upto=2, session="s")
    story.finish(slow, Answer(ids=(1,), position=at(1)))
    assert "R10" not in story.broken()


def test_rows_hidden_by_a_gate_come_back() -> None:
    story = two().off("follower2").on("follower2").read("follower2", 1, 2, upto=2, session="s")
    story.off("follower2").read("follower2", hidden=HIDDEN, position=at(), session="s")
    story.on("follower2").read("follower2", 1, 2, upto=2, session="s")
    assert story.passes("R10", "G1")
    assert "R10" in story.read("follower2", 1, upto=1, session="s").broken()


def test_r10_sealed_rows_stay_while_the_others_are_hidden() -> None:
    story = two().read("follower2", 1, upto=1, hidden=HIDDEN, session="s")
    assert "R10" in story.read("follower2", position=at(), hidden=HIDDEN, session="s").broken()


def test_r10_older_metadata_while_rows_are_hidden() -> None:
    story = (
        two().off("follower2").on("follower2").read("follower2", 1, upto=1, version=3, session="s")
    )
    story.off("follower2")
    assert "R10" not in (
        story.read("follower2", hidden=HIDDEN, position=at(version=3), session="s").broken()
    )
    story.read("follower2", hidden=HIDDEN, position=at(version=2), session="t")
    assert "R10" not in story.broken()
    newer = two().off("follower2").on("follower2")
    newer.read("follower2", 1, upto=1, version=3, session="s").off("follower2")
    older = newer.read("follower2", hidden=HIDDEN, position=at(version=2), session="s")
    assert "is of an older position" in older.violation("R10").message


@pytest.mark.parametrize(
    "why",
    [
        (notes.ProcessBegan(process="follower1/0", lost_disk=True),),
        (notes.FaultBegan(number=0, kind="replace", target="follower1/0"),),
        (
            notes.FollowOpened(session=1, leader="leader", follower="follower1", database="D"),
            notes.MetadataDelivered(session=1, version=(1, 1), reset_rows=True),
        ),
    ],
    ids=["power", "replaced", "reset"],
)
def test_a_copy_that_begins_anew_may_go_back(why: tuple[notes.Note, ...]) -> None:
    story = two().read("follower1", 1, 2, upto=2, session="s").note(*why)
    assert "R10" not in story.read("follower1", 1, upto=1, session="s").broken()


def test_a_copy_attached_again_begins_anew() -> None:
    story = two().attach().read("follower1", 1, 2, upto=2, session="s").detach().attach()
    assert "R10" not in story.read("follower1", upto=0, session="s").broken()


# -- R11 ----------------------------------------------------------------------------------------


def test_a_position_that_is_asked_for_is_reached() -> None:
    story = two().read("follower1", 1, 2, upto=2, at_least=at(2))
    assert story.no_answer("follower1", reason="TIMEOUT", at_least=at(2)).passes("R11")


def test_r11_the_position_is_ignored() -> None:
    story = two().read("follower1", 1, upto=1, at_least=at(2))
    assert "asked for a position that includes row 2" in story.violation("R11").message
    assert "R11" in two().read("follower1", 1, at_least=at(2)).broken()


def test_r11_an_older_version() -> None:
    story = two().read("follower1", 1, 2, upto=2, at_least=at(2, version=3))
    assert "asked for version" in story.violation("R11").message


def test_r11_a_later_position_of_another_table() -> None:
    story = two().wrote("u", 9, upto=1, key=8, table="U")
    assert "R11" in story.read("follower1", 1, 2, upto=2, at_least=at(1, key=8)).broken()


def test_a_key_of_a_dropped_or_unshared_table_is_not_waited_for() -> None:
    story = two().wrote("u", 9, upto=1, key=8, table="U").command("drop-table", table="U")
    assert story.read("follower1", 1, 2, upto=2, version=2, at_least=at(1, key=8)).passes("R11")
    story = two().attach(exclude=("U",)).wrote("u", 9, upto=1, key=8, table="U")
    assert story.read("follower1", 1, 2, upto=2, at_least=at(1, key=8)).passes("R11")


# -- R12 ----------------------------------------------------------------------------------------


def test_staleness_that_is_told_large_enough() -> None:
    story = two().wait(10).read("follower1", 1, upto=1, staleness=15.0)
    assert story.passes("R12")


def test_r12_staleness_that_is_too_small() -> None:
    story = two().wait(10).read("follower1", 1, upto=1, staleness=9.0)
    message = story.violation("R12").message
    assert "at most 9.001 s behind" in message
    assert "acknowledged 11.000 s before it" in message


def test_r12_a_bound_that_is_not_kept() -> None:
    story = two().wait(10)
    assert (
        "R12"
        in story.read("follower1", 1, 2, upto=2, staleness=5.0, max_staleness_seconds=4.0).broken()
    )
    story = two().wait(10)
    assert "R12" in story.read("follower1", 1, upto=1, max_staleness_seconds=4.0).broken()


def test_staleness_says_nothing_of_hidden_rows_or_under_drift() -> None:
    story = two().wait(50).read("follower2", position=at(), hidden=HIDDEN, staleness=1.0)
    assert story.passes("R12")
    story = two().note(notes.FaultBegan(number=0, kind="clock-drift", target="follower1/0"))
    assert "R12" not in story.wait(50).read("follower1", 1, upto=1, staleness=1.0).broken()


def test_r12_a_clock_that_leaps_is_no_excuse() -> None:
    story = two().note(notes.FaultBegan(number=0, kind="clock-jump", target="follower1/0"))
    assert "R12" in story.wait(50).read("follower1", 1, upto=1, staleness=1.0).broken()


# -- R13 ----------------------------------------------------------------------------------------


def denied() -> Refused:
    return Refused(code="Forbidden", reason="DATABASE_IS_READ_ONLY", message="read-only")


def test_changes_at_a_follower_are_refused() -> None:
    story = Story().command("mutate", cluster="follower1", outcome=denied())
    story.call(story.request("x", 8, cluster="follower1"), denied())
    assert story.read("leader").read("follower1").passes("R13")


def test_r13_a_change_is_taken() -> None:
    assert "R13" in Story().command("mutate", cluster="follower1", text=".drop table T").broken()
    assert "R13" in Story().wrote("x", 8, upto=1, cluster="follower1").broken()


def test_r13_a_trace_is_left_though_nobody_knows_the_outcome() -> None:
    story = Story().lost("x", 8, cluster="follower1")
    assert story.read("follower1").passes("R13")
    assert "R13" in story.read("leader", 8).broken()


# -- R14 ----------------------------------------------------------------------------------------


def made() -> Story:
    text = ".create table T (Id:long, Source:string, At:datetime, Payload:string)"
    story = Story().command("create-table", text=text).wrote("a", 1, upto=1, version=2)
    story.read("leader", 1, upto=1, version=2, columns=BASE)
    story.command("add-column", argument="C1")
    return story.wrote("b", 2, upto=2, version=3, columns=(*BASE, "C1"))


def test_columns_come_before_rows() -> None:
    wide = (*BASE, "C1")
    story = made().read("leader", 1, 2, upto=2, version=3, columns=wide, filled={"C1": (2,)})
    story.read("follower1", 1, upto=1, version=2, columns=BASE)
    story.read("follower1", 1, upto=1, version=3, columns=wide, filled={"C1": ()})
    assert story.passes("R14")


@pytest.mark.parametrize(
    ("columns", "filled"),
    [
        (BASE, {}),
        (BASE, {"C1": (2,)}),
        ((*BASE, "C1"), {"C1": ()}),
        ((*BASE, "C1"), {"C1": (1, 2)}),
        ((*BASE, "C1", "C9"), {"C1": (2,)}),
    ],
    ids=["row before column", "value without column", "no value", "foreign value", "from nowhere"],
)
def test_r14_rows_and_columns_disagree(
    columns: tuple[str, ...], filled: dict[str, tuple[int, ...]]
) -> None:
    story = made().read("follower1", 1, 2, upto=2, version=3, columns=columns, filled=filled)
    assert "R14" in story.broken()


def test_r14_a_column_vanishes_or_differs_at_a_version() -> None:
    wide = (*BASE, "C1")
    story = made().read("leader", 1, upto=1, version=3, columns=wide)
    assert "R14" in story.read("follower1", 1, upto=1, version=4, columns=BASE).broken()
    story = made().read("leader", 1, upto=1, version=3, columns=wide)
    assert "R14" in story.read("follower1", 1, upto=1, version=3, columns=BASE).broken()


def test_a_table_made_again_begins_with_its_first_columns() -> None:
    story = made().read("leader", 1, 2, upto=2, version=3, columns=(*BASE, "C1"))
    story.command("drop-table").command("create-table", text=".create table T (Id:long)")
    assert "R14" not in story.read("leader", version=5, upto=0, columns=("Id",)).broken()


def test_rows_sent_without_names_to_a_table_made_again_are_in_its_columns() -> None:
    """Who sends a row again long after means the columns of then."""
    text = ".create table T (Id:long, Source:string, At:datetime, Payload:string)"
    story = Story().command("create-table", text=text).command("add-column", argument="C2")
    story.command("drop-table").command("create-table", text=text)
    story.command("add-column", argument="C1")
    story.wrote("a", 1, upto=1, version=5, columns=(*BASE, "C2"))
    answer = {"columns": (*BASE, "C1"), "filled": {"C1": (1,)}}
    assert "R14" not in story.read("leader", 1, upto=1, version=5, **answer).broken()


# -- R15 ----------------------------------------------------------------------------------------


def extents(
    *ranges: tuple[str, int, int], cluster: str = "leader", version: int = 2, rows: int = 0
) -> notes.Extents:
    return notes.Extents(
        cluster=cluster,
        database="D",
        table="T",
        version=(1, version),
        extents={name: (rows or end - first, ((KEY, first, end),)) for name, first, end in ranges},
    )


def test_sealing_changes_nothing() -> None:
    story = (
        two()
        .command("seal")
        .note(extents(("e1", 0, 1)), extents(("e1", 0, 1), ("e2", 1, 2), version=3))
    )
    story.note(extents(("e1", 0, 1), cluster="follower1"), extents(("m", 0, 2), version=4))
    story.read("leader", 1, 2, upto=2, version=2).read("follower1", 1, 2, upto=2, version=2)
    assert story.passes("R15")


def test_r15_rows_are_sealed_twice() -> None:
    assert "both hold row 1" in (
        two().note(extents(("e1", 0, 2), ("e2", 1, 2))).violation("R15").message
    )
    assert "R15" in two().command("seal").read("leader", 1, 2, 2, upto=2).broken()


def test_r15_rows_are_lost_in_a_seal() -> None:
    assert "no extent on leader holds rows 0..0" in (
        two().note(extents(("e2", 1, 2))).violation("R15").message
    )
    assert "R15" in two().command("seal").read("leader", 1, upto=1, version=2).broken()


def test_r15_an_extent_is_another_on_a_follower() -> None:
    story = two().note(extents(("e1", 0, 2)), extents(("e1", 0, 1), cluster="follower1"))
    assert "R15" in story.broken()
    assert "R15" in two().note(extents(("e1", 0, 2), rows=3)).broken()
    story = two().note(extents(("e1", 0, 1), ("e2", 1, 2)))
    story.note(extents(("e1", 0, 1), cluster="follower1"))
    assert "other extents of leader/D.T at version (1, 2)" in story.violation("R15").message


def test_after_a_clear_extents_begin_later() -> None:
    story = two().command("clear-table").note(extents(("e9", 2, 3)))
    assert story.passes("R15")


def test_what_is_unknown_or_refused_is_no_seal() -> None:
    story = two().command("seal", outcome=denied()).read("leader", 1, 2, upto=2)
    assert story.verdicts()["R15"].checked == 0
    story = two().command("seal", outcome=Unknown(code="Timeout")).read("leader", 1, 2, upto=2)
    assert story.verdicts()["R15"].checked == 1


def test_a_read_that_was_asked_for_before_the_rows_came_is_no_loss_in_a_seal() -> None:
    story = Story().wrote("a", 1, upto=1)
    early = story.begin(story.question("leader"))
    story.wrote("b", 2, upto=2).command("seal")
    story.finish(early, Answer(ids=(1,), position=at(1)))
    assert story.passes("R15")
    late = story.begin(story.question("leader"))
    story.finish(late, Answer(ids=(1,), position=at(1)))
    assert "there before a seal" in story.violation("R15").message
