"""R1 to R9: the log, its copies and its frames."""

from __future__ import annotations

import pytest
from stories import KEY, Story, at

from cluster.conformance import notes
from cluster.conformance.calls import Answer, Ingested, Unknown


def written() -> Story:
    """Three requests, five rows."""
    return (
        Story()
        .wrote("a", 1, 2, upto=2)
        .wrote("b", 3, upto=3)
        .wrote("c", 4, 5, upto=5)
        .read("leader", 1, 2, 3, 4, 5, upto=5)
    )


# -- R1 -----------------------------------------------------------------------------------------


def test_a_follower_that_is_behind_shows_a_prefix() -> None:
    story = written().read("follower1", 1, 2, 3, upto=3).read("follower1", 1, 2, 3, 4, 5, upto=5)
    assert story.passes("R1", "R3", "R4", "R5", "R6")


def test_r1_a_position_includes_a_batch_that_is_not_there() -> None:
    story = written().read("follower1", 1, 2, 4, 5, upto=5)
    message = story.violation("R1").message
    assert message.startswith("Prefix: what a follower shows of a table is a prefix")
    assert "row 3 of source b" in message
    assert "R5" not in story.broken()


def test_r1_a_later_batch_without_an_earlier_one_whatever_the_position_says() -> None:
    assert "R1" in written().read("follower1", 1, 2, 4, 5).broken()


def test_r1_rows_beyond_the_position() -> None:
    story = written().read("leader", 1, 2, 3, 4, 5, upto=5)
    story.wrote("d", 6, upto=6).read("follower1", 1, 2, 3, 4, 5, 6, upto=5)
    assert "begin after its position" in story.violation("R1").message


def test_r1_equal_positions_have_equal_rows_even_of_unknown_requests() -> None:
    story = Story().wrote("a", 1, upto=1).lost("b", 2)
    story.read("leader", 1, upto=2).read("follower1", 1, 2, upto=2)
    assert "R1" in story.broken()


def test_r1_a_larger_position_keeps_the_rows_of_unknown_requests() -> None:
    story = Story().wrote("a", 1, upto=1).lost("b", 2).read("leader", 1, 2, upto=2)
    assert "R1" in story.wrote("c", 3, upto=3).read("follower1", 1, 3, upto=3).broken()


def test_r1_checksums_differ_at_an_ordinal() -> None:
    story = written().read("follower1", 1, 2, 3, 4, 5, position=at(5, check=666))
    assert "checksum" in story.violation("R1").message
    opened = written().opened().metadata().gate()
    assert "R1" in opened.delivered(0, 5, check=666).broken()


def test_positions_of_several_keys_find_the_one_a_batch_is_in() -> None:
    """An acknowledgement may name every key of the database."""
    both = at(2).keys | at(4, key=8).keys

    def position(upto: int) -> dict[int, tuple[int, int]]:
        return both | at(upto).keys

    story = Story().wrote("other", 90, 91, 92, 93, upto=4, key=8, table="U")
    story.read("leader", position=at(4, key=8))
    for source, row in (("a", 1), ("b", 2)):
        told = at(0).__class__(version=(1, 1), keys=position(row))
        story.call(story.request(source, row), Ingested(position=told))
    assert story.passes("R1")
    behind = at(0).__class__(version=(1, 1), keys=position(1))
    story.read("follower1", 1, position=behind)
    assert story.passes("R1")
    full = at(0).__class__(version=(1, 1), keys=position(2))
    assert "R1" in story.read("follower1", 1, position=full).broken()


def test_a_follower_that_lags_behind_a_clear_or_a_drop_is_not_accused() -> None:
    story = written().command("clear-table").read("leader", upto=5, version=2)
    assert story.read("follower1", 1, 2, 3, 4, 5, upto=5).passes("R1")
    assert story.read("follower1", upto=5, version=2).passes("R1", "R5")
    story.command("drop-table").command("create-table").wrote("n", 9, upto=1, key=8, version=4)
    assert story.read("follower1", upto=5, version=2).read("leader", 9, upto=1, key=8, version=4)
    assert story.passes("R1", "R5", "R6")


def test_a_clear_whose_outcome_is_unknown_may_or_may_not_have_happened() -> None:
    for rows in ((), (1, 2, 3, 4, 5)):
        story = written().command("clear-table", outcome=Unknown(code="Timeout"))
        assert story.read("leader", *rows, upto=5, version=2).passes("R1")


def test_a_refused_clear_takes_nothing_away() -> None:
    from cluster.conformance.calls import Refused

    refused = Refused(code="General_BadRequest", reason="BAD_REQUEST", message="no")
    story = written().command("clear-table", outcome=refused)
    assert "R5" in story.read("leader", upto=5, version=2).broken()


# -- R3, R4 -------------------------------------------------------------------------------------


def test_r3_a_row_twice() -> None:
    story = Story().lost("a", 1, 2).wrote("a", 1, 2, upto=2, repeated=True)
    assert story.read("leader", 1, 2, upto=2).passes("R3")
    story.read("follower1", 1, 2, 1, 2, upto=2)
    assert "row 1 of source a more than once" in story.violation("R3").message


def test_r3_a_row_twice_among_rows_seen_before() -> None:
    story = written().read("leader", 1, 2, 3, 4, 5, 3, upto=5)
    assert "R3" in story.broken()


@pytest.mark.parametrize("cluster", ["leader", "follower1"])
def test_r4_half_a_request(cluster: str) -> None:
    story = Story().wrote("a", 1, 2, 3, upto=3).read(cluster, 1, 3)
    assert "shows 2 of the 3 rows 1..3 of source a" in story.violation("R4").message


def test_r4_half_of_a_request_nobody_knows_about() -> None:
    assert "R4" in Story().lost("a", 1, 2).read("leader", 2).broken()
    assert Story().lost("a", 1, 2).read("leader", 2, 1).passes("R4")
    assert Story().lost("a", 1, 2).read("leader").passes()


# -- R5, R6 -------------------------------------------------------------------------------------


def test_r5_an_acknowledged_row_is_lost_in_a_crash() -> None:
    story = written().note(notes.ProcessEnded(process="leader/0", how="power"))
    story.note(notes.ProcessBegan(process="leader/0", lost_disk=True))
    story.read("leader", 1, 2, 3)
    violation = story.violation("R5")
    assert "rows 4..5 of source c" in violation.message
    assert violation.events == (5, 10, 11)


def test_r5_a_read_that_began_before_the_acknowledgement_need_not_see_it() -> None:
    story = Story()
    read = story.begin(story.question("leader"))
    story.wrote("a", 1, upto=1)
    story.finish(read, Answer(ids=()))
    assert story.passes()


def test_r5_in_the_end_also_on_followers() -> None:
    story = written().phase("quiet").read("leader", 1, 2, 3, 4, 5)
    assert "R5" in story.read("follower1", 1, 2, 3).phase("end").broken()


def test_r5_nothing_is_durable_when_the_leaders_disk_is_taken_away() -> None:
    story = written().note(notes.FaultBegan(number=0, kind="replace", target="leader/0"))
    assert "R5" not in story.read("leader").broken()


def test_r6_a_row_nobody_sent_or_of_another_table() -> None:
    assert "which nobody sent" in written().read("leader", 99).violation("R6").message
    story = written().wrote("u", 50, upto=1, key=8, table="U")
    story.read("leader", 1, 2, 3, 4, 5, 50)
    assert "was sent to leader/D.U" in story.violation("R6").message


def test_r6_a_refused_request_appears() -> None:
    story = Story().refused("a", 1).read("follower1", 1)
    assert "which was refused" in story.violation("R6").message


def test_a_request_refused_first_and_taken_later_is_there_once() -> None:
    story = Story().refused("a", 1).wrote("a", 1, upto=1).read("leader", 1, upto=1)
    assert story.passes("R3", "R5", "R6")


def test_a_request_refused_after_it_was_lost_may_be_there() -> None:
    assert Story().lost("a", 1).refused("a", 1).read("leader", 1).passes("R6")
    assert Story().lost("a", 1).refused("a", 1).read("leader").passes()


def test_r6_between_a_refusal_and_the_retry_nothing_is_there() -> None:
    story = Story().refused("a", 1).read("leader", 1).wrote("a", 1, upto=1)
    assert "R6" in story.broken()


def test_r6_rows_come_back_after_a_clear() -> None:
    story = written().command("clear-table").wrote("d", 6, upto=6, version=2)
    story.read("leader", 6, upto=6, version=2)
    assert story.passes("R6")
    story.read("follower1", 1, 2, 3, 4, 5, 6, upto=6, version=2)
    assert "dropped or cleared" in story.violation("R6").message


def test_an_unknown_request_may_appear_at_any_later_time() -> None:
    story = Story().lost("a", 1).read("leader").wait(5000).read("leader", 1)
    assert story.passes("R6")


def test_what_changed_in_memory_shows_its_own_checksum() -> None:
    def read(**fault: str) -> Story:
        began = notes.FaultBegan(number=0, kind="bit-flip", **fault)
        return written().note(began).read("follower1", 1, 2, 3, 4, 5, position=at(5, check=666))

    assert "R1" not in read(target="follower1/0", detail="memory").broken()
    assert "R1" in read(target="follower1/0", detail="body").broken()
    assert "R1" in read(target="follower2/0", detail="memory").broken()


# -- R2, R7, R8, R9 -----------------------------------------------------------------------------


def follow(upto: int = 0) -> Story:
    """A call of ``follower1`` that goes on from ``upto``."""
    story = Story().opened(upto or None)
    if not upto:
        story.metadata(1, reset=True)
    return story.gate(upto)


def test_frames_go_on_from_the_position_reported() -> None:
    story = follow(3).delivered(3, 5).bookmarked(5).delivered(5, 6).bookmarked(6)
    assert story.passes("R2", "R7", "R8", "R9", "G4")


def test_floors_move_what_is_due() -> None:
    story = follow().delivered(0, 2).metadata(2, 1, floor=4).bookmarked(4, version=2)
    assert story.delivered(4, 6).passes("R2", "R8", "R9")
    assert "R2" in story.delivered(2, 4).broken()


def test_a_report_below_a_floor_counts_from_the_floor() -> None:
    story = follow().metadata(2, 1, floor=4).gate(2, sequence=2, epoch=1)
    assert story.delivered(4, 6, sequence=2).passes("R2", "R9")


def test_late_frames_of_an_older_report_go_on_from_that_one() -> None:
    story = follow(2).delivered(2, 4).gate(3, sequence=2, is_open=False, epoch=2)
    assert story.delivered(4, 5).bookmarked(5).passes("R2", "R7", "R8", "R9", "G4")


def test_r2_rows_again_after_a_resume() -> None:
    assert "R2" in follow(3).delivered(2, 5).broken()
    assert "R2" in follow().delivered(0, 2).delivered(0, 2).broken()


def test_r2_metadata_goes_back() -> None:
    assert "R2" in follow().metadata(3, 1).metadata(2).broken()


def test_r7_a_gap_at_the_resume() -> None:
    story = follow(3).delivered(4, 5)
    assert {"R7", "R9"} <= story.broken()
    assert "came where ordinal 3 was due" in story.violation("R7").message


def test_r9_a_hole_between_frames_and_between_deltas() -> None:
    assert "R9" in follow().delivered(0, 2).delivered(3, 4).broken()
    assert "R9" in follow().metadata(4, 3).broken()


def test_r9_a_diverged_copy_does_not_grow() -> None:
    """Whether the leader sees it or not: rows on top of others are not stored."""
    grown = written().opened(5, check=666).gate(5).delivered(5, 6)
    assert grown.passes("R9"), "the leader may not know what was there; the follower does"
    assert "stored beyond ordinal 5" in grown.acknowledged(6).violation("R9").message
    assert "R9" in written().opened(5, check=666).gate(5).gate(6, sequence=2).broken()


def test_a_diverged_copy_is_reset_or_sealed_away() -> None:
    reset = written().opened(5, check=666).metadata(1, reset=True).gate(0).delivered(0, 5)
    assert reset.acknowledged(6).passes("R9")
    sealed = written().opened(5, check=666).metadata(2, 1, floor=6).gate(6).delivered(6, 7)
    assert sealed.acknowledged(7, version=2).passes("R9")


def test_r8_a_bookmark_races_ahead() -> None:
    story = follow().delivered(0, 2).bookmarked(3)
    assert "a bookmark at ordinal 3" in story.violation("R8").message
    assert "R8" in follow().bookmarked(0, version=2).broken()


def test_r8_a_bookmark_before_any_report_counts_from_the_hello() -> None:
    assert Story().opened(3).bookmarked(3, sequence=0).passes("R8")
    assert "R8" in Story().opened(3).bookmarked(4, sequence=0).broken()


def test_keys_are_told_in_hexadecimal() -> None:
    assert f"key {KEY:x}" in follow(3).delivered(4, 5).violation("R7").message
