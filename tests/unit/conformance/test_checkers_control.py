"""A1 to A3, C1, L1: attachments, overrides, the coordinator, and the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stories import HIDDEN, PROFILE, Story

from cluster.conformance import notes
from cluster.conformance.calls import Detach, Outcome, Ran, Refused, Unknown
from cluster.conformance.rules import RuleParameters
from cluster.conformance.verdict import Judgement

LEASE = "the lease has run out: the coordinator has not been heard for too long"


def denied() -> Refused:
    return Refused(code="Conflict", reason="CONFLICT", message="it is followed by follower1")


# -- A1 -----------------------------------------------------------------------------------------


def attached() -> Story:
    return Story().attach().wrote("a", 1, upto=1).read("follower1", 1, upto=1)


def test_a_detached_database_is_gone_and_comes_back_complete() -> None:
    story = attached().detach().no_answer("follower1").attach().phase("quiet")
    story.read("leader", 1, upto=1).read("follower1", 1, upto=1).phase("end")
    assert story.passes("A1", "L1")


def test_a1_a_detached_database_answers() -> None:
    assert "detached since" in attached().detach().read("follower1", 1).violation("A1").message
    assert "A1" in attached().detach().read("follower1", hidden=HIDDEN, upto=0).broken()


def test_a_follower_that_cannot_hear_of_the_detach_shows_sealed_rows_only() -> None:
    story = attached().detach(how="lease-expired")
    assert "A1" not in story.read("follower1", hidden=LEASE, upto=0).broken()
    assert "A1" in story.read("follower1", 1, upto=1).broken()
    story = attached().detach(how="lease-expired").phase("quiet")
    assert "A1" in story.read("follower1", hidden=LEASE, upto=0).broken()


def test_a1_rows_are_sent_after_the_detach() -> None:
    story = attached().opened().metadata(1, reset=True).gate().detach()
    assert "A1" not in story.delivered(0, 1).broken()
    assert "A1" in story.wait(40).delivered(1, 2).broken()


def test_a1_the_new_copy_is_not_complete() -> None:
    story = attached().detach().attach().phase("quiet").read("leader", 1, upto=1)
    assert "attached again" in story.read("follower1", upto=0).phase("end").violation("A1").message


def test_a1_a_followed_database_is_dropped() -> None:
    assert "A1" in attached().command("drop-database", table="").broken()
    story = attached().command("drop-database", table="", outcome=denied())
    assert story.passes("A1")
    story = attached().detach().command("drop-database", table="")
    assert "A1" not in story.broken()


# -- A2 -----------------------------------------------------------------------------------------


def test_shared_tables_follow_and_others_do_not() -> None:
    story = Story().attach(include=("T*",), exclude=("TX",)).wrote("a", 1, upto=1)
    story.read("follower1", 1, upto=1).no_answer("follower1", table="TX")
    story.no_answer("follower1", table="U")
    assert story.passes("A2")


@pytest.mark.parametrize("table", ["TX", "U"])
def test_a2_a_table_that_is_not_shared_is_answered(table: str) -> None:
    story = Story().attach(include=("T*",), exclude=("TX",)).read("follower1", table=table)
    assert "which is not shared (include T*; exclude TX)" in story.violation("A2").message


def test_other_tables_are_shared_when_the_follower_has_heard() -> None:
    story = Story().attach().attach(exclude=("T",))
    assert "A2" not in story.read("follower1").broken()
    assert "A2" in story.wait(20).read("follower1").broken()
    partition = notes.FaultBegan(number=0, kind="partition", target="follower1->coordinator")
    story = Story().attach().note(partition).attach(exclude=("T",)).wait(20)
    assert "A2" not in story.read("follower1").broken()
    assert "A2" in story.phase("quiet").read("follower1").broken()


def test_a2_rows_of_a_table_that_is_not_shared_are_sent() -> None:
    story = Story().attach(exclude=("U",)).wrote("u", 9, upto=1, key=8, table="U")
    story.opened().metadata(1, reset=True).gate()
    assert "rows of leader/D.U" in story.delivered(0, 1, key=8).violation("A2").message
    story = Story().attach(exclude=("U",)).wrote("a", 1, upto=1)
    assert "A2" not in story.opened().metadata(1, reset=True).gate().delivered(0, 1).broken()


def test_a2_a_table_created_later_does_not_come() -> None:
    story = Story().attach(include=("T*",)).command("create-table", table="TT").phase("quiet")
    story.read("leader", table="TT")
    story.no_answer("follower1", table="TT", reason="TABLE_NOT_FOUND").phase("end")
    assert "which is shared" in story.violation("A2").message


# -- A3 -----------------------------------------------------------------------------------------

COLUMNS = (
    "DatabaseName",
    "LeaderClusterMetadataPath",
    "CachingPolicyOverride",
    "AuthorizedPrincipalsOverride",
    "AuthorizedPrincipalsModificationKind",
    "IsAutoPrefetchEnabled",
    "TableMetadataOverrides",
    "CachingPoliciesModificationKind",
)


def shown(
    story: Story,
    *,
    caching: str = "null",
    principals: str = "[]",
    kind: str = "Union",
    caching_kind: str = "Union",
    prefetch: str = "False",
) -> Story:
    row = ("D", "file:///leader", caching, principals, kind, prefetch, "", caching_kind)
    return story.command(
        "show-follower", cluster="follower1", outcome=Ran(columns=COLUMNS, rows=(row,))
    )


def told(story: Story, text: str) -> Story:
    return story.command("override", cluster="follower1", text=text)


OVERRIDES = [
    (".alter follower database D principals-modification-kind = replace", {"kind": "Replace"}),
    (
        ".alter follower database D from 'p' caching-policies-modification-kind = none",
        {"caching_kind": "None"},
    ),
    (".alter follower database D prefetch-extents = true", {"prefetch": "True"}),
    (
        ".alter follower database D policy caching hot = 7d",
        {"caching": '{"DataHotSpan":{"Value":"7.00:00:00"}}'},
    ),
    (".add follower database D viewers ('aaduser=x')", {"principals": '[{"P":"aaduser=x"}]'}),
]


@pytest.mark.parametrize(("text", "row"), OVERRIDES)
def test_overrides_are_as_they_were_told(text: str, row: dict[str, str]) -> None:
    assert shown(told(shown(Story()), text), **row).passes("A3")


@pytest.mark.parametrize("text", [text for text, _ in OVERRIDES])
def test_a3_an_override_is_forgotten(text: str) -> None:
    assert "A3" in shown(told(Story(), text)).broken()


def test_a3_an_override_stays_after_it_was_taken_back() -> None:
    story = told(Story(), ".add follower database D viewers ('aaduser=x')")
    told(story, ".drop follower database D viewers ('aaduser=x')")
    assert "A3" in shown(story, principals="aaduser=x").broken()
    story = told(Story(), ".alter follower database D policy caching hot = 7d")
    told(story, ".delete follower database D policy caching")
    assert "A3" in shown(story, caching="7.00:00:00").broken()
    assert "A3" in shown(Story(), kind="Whatever").broken()


def test_overrides_live_as_long_as_the_attachment() -> None:
    story = told(Story().attach(), ".alter follower database D prefetch-extents = true")
    assert "A3" in shown(story.attach(), prefetch="False").broken(), "attached as it was"
    story = told(Story().attach(), ".alter follower database D prefetch-extents = true")
    assert shown(story.detach().attach(), prefetch="False").passes("A3")


def test_overrides_go_with_the_disk_they_are_on() -> None:
    story = told(Story(), ".alter follower database D prefetch-extents = true")
    story.note(notes.FaultBegan(number=0, kind="replace", target="follower1/0"))
    assert shown(story, prefetch="False").passes("A3")


def principals(kind: str, *names: str, at_rest: bool = True) -> Story:
    """``own`` is the follower's override, ``theirs`` the leader's principal."""
    story = Story().attach().command("add", text=".add database D viewers ('theirs')", table="")
    told(story, ".add follower database D viewers ('own')")
    told(story, f".alter follower database D principals-modification-kind = {kind}")
    if at_rest:
        story.phase("quiet")
    rows = tuple(("Database D Viewer", name) for name in names)
    return story.command(
        "show", text=".show database D principals", cluster="follower1", table="",
        outcome=Ran(columns=("Role", "PrincipalFQN"), rows=rows),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "names"), [("none", ("theirs",)), ("union", ("own", "theirs")), ("replace", ("own",))]
)
def test_principals_have_the_documented_effect(kind: str, names: tuple[str, ...]) -> None:
    assert principals(kind, *names).passes("A3")
    for wrong in ((), ("own",), ("theirs",), ("own", "theirs")):
        assert wrong == names or "A3" in principals(kind, *wrong).broken()


def test_a_leaders_principal_may_be_on_its_way() -> None:
    assert "A3" not in principals("union", "own", at_rest=False).broken()


# -- C1 -----------------------------------------------------------------------------------------


def gone(seconds: float) -> Story:
    story = Story().attach().wrote("a", 1, upto=1)
    story.note(notes.ProcessEnded(process="coordinator", how="kill"))
    return story.wait(seconds).wrote("b", 2, upto=2)


def back(story: Story) -> Story:
    return story.note(notes.ProcessBegan(process="coordinator"))


def test_without_a_coordinator_rows_flow_until_the_lease_ends() -> None:
    story = back(gone(5).read("follower1", 1, 2, upto=2).wait(60).read("follower1", hidden=LEASE))
    story.phase("quiet").read("leader", 1, 2, upto=2).read("follower1", 1, 2, upto=2).phase("end")
    assert story.passes("C1", "L1")


def test_c1_a_lease_that_never_ends() -> None:
    story = back(gone(60).read("follower1", 1, 2, upto=2).wait(10))
    assert "every lease over" in story.violation("C1").message
    assert (
        "C1"
        not in gone(60)
        .note(notes.FaultBegan(number=0, kind="coordinator-twice", target="coordinator"))
        .read("follower1", 1, 2, upto=2)
        .broken()
    )


def test_c1_a_coordinator_that_is_stopped_gives_no_lease() -> None:
    story = Story().wrote("a", 1, upto=1)
    story.note(notes.FaultBegan(number=0, kind="pause", target="coordinator")).wait(60)
    assert "C1" in story.read("follower1", 1, upto=1).broken()


def test_c1_something_is_granted_without_a_coordinator() -> None:
    assert "C1" in back(gone(1).on("follower2").wait(10)).broken()
    # Its start is noted when it serves already.
    assert "C1" not in back(gone(1).on("follower2")).broken()


def test_c1_rows_stay_hidden_when_it_is_back() -> None:
    story = back(gone(60)).phase("quiet").read("leader", 1, 2, upto=2)
    story.read("follower1", hidden=LEASE, upto=0).phase("end")
    assert {"C1", "L1"} <= story.broken()


def test_c1_another_lease() -> None:
    story = gone(60).read("follower1", 1, 2, upto=2)
    verdict = story.verdicts(RuleParameters(lease_seconds=120.0))["C1"]
    assert verdict.judgement is Judgement.UNKNOWN


# -- L1 -----------------------------------------------------------------------------------------


def rest() -> Story:
    story = Story().attach().attach("follower2").wrote("a", 1, upto=1).lost("b", 2)
    return story.phase("quiet").read("leader", 1, upto=1)


def test_in_the_end_all_are_equal() -> None:
    assert rest().read("follower1", 1, upto=1).phase("end").passes("L1")
    late = rest().read("follower1", 1, 2, upto=2).phase("end")
    assert "L1" not in late.broken()


def test_l1_a_follower_does_not_catch_up() -> None:
    story = rest().read("follower1", upto=0).phase("end")
    assert "everything was at rest" in story.violation("L1").message


def test_l1_a_follower_has_what_its_leader_has_not() -> None:
    story = Story().attach().wrote("a", 1, upto=1).command("clear-table").phase("quiet")
    story.read("leader", upto=1, version=2).read("follower1", 1, upto=1).phase("end")
    assert "L1" in story.broken()


def test_l1_a_follower_does_not_answer() -> None:
    assert "L1" in rest().no_answer("follower1").phase("end").broken()
    assert "L1" in rest().call(rest().question("leader"), None).phase("end").broken()
    assert "L1" not in rest().no_answer("follower2").phase("end").broken()


def test_a_strict_follower_without_the_right_to_rows_has_nothing() -> None:
    def ended(*strict: str) -> set[str]:
        story = Story(replace(PROFILE, strict=frozenset(strict)))
        story.attach("follower2").wrote("a", 1, upto=1).phase("quiet").command("seal")
        story.read("leader", 1, upto=1).read("follower2", upto=0, hidden=HIDDEN)
        return story.phase("end").broken()

    assert "L1" in ended()
    assert "L1" not in ended("follower2")


def test_who_could_not_be_detached_because_it_never_followed_need_not_answer() -> None:
    def ended(*outcomes: Outcome) -> Story:
        story = Story().attach().wrote("a", 1, upto=1).on("follower2")
        for outcome in outcomes:
            story.call(Detach(leader="leader", database="D", follower="follower2"), outcome)
        story.phase("quiet").read("leader", 1, upto=1)
        return story.no_answer("follower2").phase("end")

    unknown = Refused(code="BadRequest_EntityNotFound", reason="ENTITY_NOT_FOUND", message="no")
    assert "L1" not in ended(unknown).broken()
    assert "L1" in ended().broken(), "a setup may come with its attachments"


def test_l1_sealed_rows_reach_who_may_not_stream() -> None:
    story = rest().command("seal").read("leader", 1, upto=1)
    assert story.read("follower2", 1, upto=1, hidden=HIDDEN).phase("end").passes("L1")
    story = rest().command("seal").read("leader", 1, upto=1)
    story.read("follower2", upto=0, hidden=HIDDEN).phase("end")
    assert "sealed by" in story.violation("L1").message
    story = rest().command("seal", outcome=Unknown(code="Timeout"))
    assert "L1" not in story.read("follower2", upto=0, hidden=HIDDEN).phase("end").broken()


def test_a_run_that_is_cut_off_proves_nothing_of_the_end() -> None:
    verdict = rest().read("follower1", upto=0).verdicts()["L1"]
    assert verdict.judgement is Judgement.UNKNOWN
    assert verdict.why.startswith("the run did not come to its end")


@pytest.mark.parametrize("field", ["row_store_bytes", "unacknowledged_bytes", "tasks", "calls"])
def test_l1_what_processes_hold_is_bounded(field: str) -> None:
    bound = getattr(RuleParameters(), field)
    held = notes.Resources(process="leader/0", **{field: bound})
    assert Story().note(held).passes("L1")
    held = notes.Resources(process="leader/0", **{field: bound + 1})
    assert "more than" in Story().note(held).violation("L1").message
