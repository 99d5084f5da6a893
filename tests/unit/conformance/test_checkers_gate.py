"""G1 to G6: the rule."""

from __future__ import annotations

import pytest
from stories import HIDDEN, Story, at

from cluster.conformance import notes
from cluster.conformance.calls import Attach, Changed, Refused, SetCapability, Unknown


def closed(*, how: str = "confirmed") -> Story:
    """One batch before ``follower1`` is turned off at epoch 5, one after."""
    story = Story().wrote("a", 1, upto=1).read("follower1", 1, upto=1)
    return story.off("follower1", epoch=5, how=how).wrote("b", 2, upto=2)


def empty() -> notes.Extents:
    return notes.Extents(cluster="leader", database="D", table="T", version=(1, 1))


# -- G1 -----------------------------------------------------------------------------------------


def test_a_closed_gate_shows_sealed_rows_only() -> None:
    story = closed().read("follower1", position=at(), hidden=HIDDEN)
    story.command("seal").read("follower1", 1, 2, upto=2, hidden=HIDDEN)
    assert story.passes("G1", "G3", "G4", "G5")


def test_g1_rows_are_shown_without_a_word() -> None:
    story = closed().read("follower1", 1, upto=1)
    assert "does not say that rows are hidden" in story.violation("G1").message


def test_g1_rows_beyond_the_floors() -> None:
    story = closed().read("follower1", 1, position=at(), hidden=HIDDEN)
    assert "which no extent held then" in story.violation("G1").message


def test_g1_rows_that_the_leader_had_not_sealed_when_it_was_looked_at_later() -> None:
    story = closed().read("leader", 1, 2, upto=2).read("follower1", 1, hidden=HIDDEN).note(empty())
    assert "which no extent held then" in story.violation("G1").message
    story = closed().read("follower1", 1, hidden=HIDDEN, position=at(1))
    assert "G1" not in story.command("clear-table").note(empty()).broken()


def test_g1_a_capability_that_is_off_from_the_beginning() -> None:
    story = Story().wrote("a", 1, upto=1).read("follower2", 1, upto=1)
    assert "from the beginning" in story.violation("G1").message


@pytest.mark.parametrize("answer", [(), (1,)])
def test_while_a_change_is_on_its_way_either_is_right(answer: tuple[int, ...]) -> None:
    story = Story().wrote("a", 1, upto=1)
    change = story.begin(SetCapability(cluster="follower1", on=False))
    hidden = "" if answer else HIDDEN
    story.read("follower1", *answer, upto=len(answer), hidden=hidden)
    story.finish(change, Changed(epoch=5))
    change = story.begin(SetCapability(cluster="follower1", on=True))
    story.read("follower1", *answer, upto=len(answer), hidden=hidden)
    story.finish(change, Changed(epoch=6))
    assert story.verdicts()["G1"].checked == 0
    assert story.passes("R1")


@pytest.mark.parametrize("outcome", [Unknown(code="Timeout"), None])
def test_an_on_that_nobody_knows_of_may_still_come(outcome: Unknown | None) -> None:
    story = Story().wrote("a", 1, upto=1)
    story.call(SetCapability(cluster="follower1", on=True), outcome)
    story.off("follower1", epoch=5).read("follower1", 1, upto=1)
    assert story.verdicts()["G1"].checked == 0


def test_g1_it_does_not_come_for_ever() -> None:
    story = Story().wrote("a", 1, upto=1)
    story.call(SetCapability(cluster="follower1", on=True), Unknown(code="Timeout"))
    story.wait(100).off("follower1", epoch=5).read("follower1", 1, upto=1)
    assert "G1" in story.broken()


def test_a_refused_off_closes_nothing() -> None:
    refused = Refused(code="Conflict", reason="CONFLICT", message="superseded")
    story = Story().wrote("a", 1, upto=1)
    story.call(SetCapability(cluster="follower1", on=False), refused).read("follower1", 1, upto=1)
    assert story.passes("R1", "G5")


def test_frames_on_their_way_may_arrive_after_an_off() -> None:
    story = Story().opened().metadata(1, reset=True).gate(0, epoch=4).wrote("a", 1, upto=1)
    story.off("follower1", epoch=5).delivered(0, 1, epoch=4)
    assert story.note(notes.Sent(session=1, epoch=4, count=10)).passes("G1", "G4")


@pytest.mark.parametrize(
    ("trouble", "seconds"), [(False, 16.0), (True, 36.0)], ids=["calm", "after a lease"]
)
def test_g1_rows_are_sent_under_an_old_epoch(trouble: bool, seconds: float) -> None:
    def story(wait: float) -> Story:
        told = Story()
        if trouble:
            told.note(notes.FaultBegan(number=0, kind="partition", target="leader->coordinator"))
        told.opened().metadata(1, reset=True).gate(0, epoch=4)
        told.wrote("a", 1, upto=1).off("follower1", epoch=5)
        return told.wait(wait).note(notes.Sent(session=1, epoch=4, count=10))

    assert "G1" in story(seconds).broken()
    assert "G1" not in story(seconds - 10).broken()


# -- G2 -----------------------------------------------------------------------------------------


def test_everything_of_the_closed_time_comes() -> None:
    story = closed().on("follower1", epoch=6).phase("quiet").read("leader", 1, 2, upto=2)
    assert story.read("follower1", 1, 2, upto=2).phase("end").passes("G2", "L1", "R5")


def test_g2_rows_of_the_closed_time_stay_away() -> None:
    story = closed().on("follower1", epoch=6).phase("quiet").read("leader", 1, 2, upto=2)
    story.read("follower1", 1).phase("end")
    assert "row 2 of source b" in story.violation("G2").message


def test_g2_rows_of_the_closed_time_come_only_when_they_are_sealed() -> None:
    story = closed().on("follower1", epoch=6).phase("quiet").read("leader", 1, 2, upto=2)
    story.read("follower1", 1).command("seal").read("follower1", 1, 2, upto=2).phase("end")
    assert {"G2", "L1"} <= story.broken()


def test_g2_rows_of_the_closed_time_come_twice() -> None:
    story = closed().on("follower1", epoch=6).phase("quiet").read("leader", 1, 2, upto=2)
    assert "G2" in story.read("follower1", 1, 2, 2, upto=2).phase("end").broken()


def test_g2_says_nothing_of_a_run_that_was_cut_off() -> None:
    story = closed().on("follower1", epoch=6).phase("quiet").read("follower1", 1)
    verdict = story.verdicts()["G2"]
    assert verdict.checked == 0
    assert verdict.why.startswith("no follower that may see rows")


# -- G3 -----------------------------------------------------------------------------------------


def test_g3_half_a_request_stays() -> None:
    story = Story().wrote("a", 1, 2, upto=2).off("follower1", epoch=5)
    story.read("follower1", 1, position=at(), hidden=HIDDEN)
    assert "shows 1 of the 2 rows 1..2" in story.violation("G3").message


def test_g3_rows_in_flight_become_visible_after_off() -> None:
    story = closed().read("follower1", position=at(), hidden=HIDDEN)
    assert "G3" in story.read("follower1", 1, position=at(), hidden=HIDDEN).broken()
    assert "G3" in closed().read("follower1", 1, 2, upto=2).broken()


def test_rows_that_were_sealed_meanwhile_may() -> None:
    story = closed().read("follower1", position=at(), hidden=HIDDEN)
    assert story.read("follower1", 1, upto=1, hidden=HIDDEN).passes("G3")


# -- G4 -----------------------------------------------------------------------------------------


def test_g4_rows_of_another_epoch_or_of_a_closed_gate() -> None:
    assert "G4" in Story().opened(1).gate(1, epoch=4).delivered(1, 2, epoch=3).broken()
    story = Story().opened(1).gate(1, is_open=False).delivered(1, 2)
    assert "answer gate report 1" in story.violation("G4").message
    assert "G4" in Story().opened(1).gate(1).delivered(1, 2, sequence=2).broken()


def test_g4_an_epoch_goes_back() -> None:
    assert "G4" in Story().opened(1).gate(1, epoch=4).gate(1, sequence=2, epoch=3).broken()


def test_g4_a_stale_open_after_off() -> None:
    story = closed().opened(1).gate(1, epoch=4)
    assert "reported its gate open at epoch 4" in story.violation("G4").message
    assert closed().opened(1).gate(1, epoch=4, is_open=False).passes("G4")
    assert closed().on("follower1", epoch=6).opened(1).gate(1, epoch=6).passes("G4")


def test_g4_a_report_that_waited_for_room_in_its_call_is_not_stale() -> None:
    story = Story().opened(1).gate(1, epoch=3, is_open=False)
    story = story.off("follower1", epoch=5).gate(1, sequence=2, epoch=4)
    assert story.gate(1, sequence=3, epoch=5, is_open=False).passes("G4")
    assert "G4" in story.gate(1, sequence=4, epoch=4).broken()


def test_g4_rows_show_again_although_nobody_turned_it_on() -> None:
    story = closed().read("follower1", position=at(), hidden=HIDDEN)
    assert "show" in story.read("follower1", 1, upto=1).violation("G4").message


# -- G5 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    [
        "streaming ingestion is off on this cluster",
        "the lease has run out",
        "FOLLOWER_STREAMING_DISABLED",
        "follower2 may not",
    ],
)
def test_reasons_that_people_understand(reason: str) -> None:
    assert Story().read("follower2", position=at(), hidden=reason).passes("G5")


@pytest.mark.parametrize("reason", ["no", "internal error 500", "something went wrong here"])
def test_g5_reasons_that_nobody_understands(reason: str) -> None:
    assert "G5" in Story().read("follower2", position=at(), hidden=reason).broken()


def test_g5_no_reason_at_all() -> None:
    assert "G5" in Story().read("follower2", position=at()).broken()
    story = Story().attach("follower2", outcome=Changed(epoch=3, rows_granted=False))
    assert "the reason is ''" in story.violation("G5").message
    assert Story().attach("follower1", outcome=Changed(epoch=3, rows_granted=True)).passes()


@pytest.mark.parametrize(
    "refused",
    [
        Refused(code="General_InternalServerError", reason="INTERNAL", message="oops"),
        Refused(code="", message="oops"),
        Refused(code="Conflict"),
    ],
)
def test_g5_refusals_without_a_code_or_a_word(refused: Refused) -> None:
    what = Attach(leader="leader", database="D", follower="follower2")
    assert "G5" in Story().call(what, refused).broken()


def test_a_full_disk_has_an_internal_code_and_a_reason() -> None:
    story = Story()
    full = Refused(code="General_InternalServerError", reason="STORAGE_FULL", message="disk full")
    assert story.call(story.request("a", 1), full).passes("G5")


# -- G6 -----------------------------------------------------------------------------------------


def disabled() -> Refused:
    return Refused(
        code="NotFound_StreamingIngestionDisabledForCluster",
        reason="STREAMING_DISABLED_FOR_CLUSTER",
        message="streaming ingestion is off",
    )


def test_a_leader_that_is_off_refuses() -> None:
    story = Story().wrote("a", 1, upto=1).off("leader")
    story.call(story.request("b", 2), disabled())
    story.command("streaming-on", outcome=disabled())
    story.wrote("a", 1, upto=1, repeated=True)
    assert story.on("leader").wrote("b", 2, upto=2).passes("G6")


def test_g6_rows_are_taken_while_off() -> None:
    story = Story().off("leader").wrote("a", 1, upto=1)
    assert "acknowledged source a while its streaming was off" in story.violation("G6").message


def test_g6_a_policy_is_taken_while_off() -> None:
    assert "G6" in Story().off("leader").command("streaming-on").broken()


def test_g6_a_leader_goes_off_while_a_table_streams() -> None:
    story = Story().command("streaming-on").off("leader")
    assert "went off while D.T streams" in story.violation("G6").message
    story = Story().command("streaming-on").command("streaming-off").off("leader")
    assert story.read("leader").passes()
    assert "G6" not in Story().command("streaming-on").off("leader", how="lease-expired").broken()


def test_a_policy_whose_change_is_unknown_says_nothing() -> None:
    story = Story().command("streaming-on")
    story.command("streaming-off", outcome=Unknown(code="Timeout")).off("leader")
    assert "G6" not in story.broken()


def test_g6_rows_are_taken_without_a_policy() -> None:
    story = Story().command("streaming-off").wrote("a", 1, upto=1)
    assert "took rows without its policy" in story.violation("G6").message
    story = Story().command("streaming-on", table="").command("streaming-off")
    assert "G6" not in story.wrote("a", 1, upto=1).broken()


def test_a_request_that_was_under_way_when_the_leader_went_off_may_be_taken() -> None:
    from cluster.conformance.calls import Ingested

    story = Story()
    call = story.begin(story.request("a", 1))
    story.off("leader")
    story.finish(call, Ingested(position=at(1)))
    assert story.passes()


@pytest.mark.parametrize("kind", ["coordinator-old-state", "coordinator-twice"])
def test_a_change_that_the_coordinator_may_have_lost_is_certain_no_more(kind: str) -> None:
    fault = notes.FaultBegan(number=0, kind=kind, target="coordinator")
    if kind == "coordinator-twice":
        story = Story().wrote("a", 1, upto=1).note(fault).off("follower1", epoch=5)
    else:
        story = Story().wrote("a", 1, upto=1).off("follower1", epoch=5).note(fault)
    story.note(notes.FaultEnded(number=0)).read("follower1", 1, upto=1).opened(1).gate(1, epoch=4)
    assert story.passes("R1")
    story.off("follower1", epoch=7).read("follower1", 1, upto=1)
    assert "G1" in story.broken()
