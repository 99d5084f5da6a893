"""Off is done when nothing is left to seal: who is waited for, how long, and what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.coordinator import capability
from cluster.coordinator.capability import Phase, waiting_for
from cluster.coordinator.events import CapabilitySet, Certainty
from cluster.coordinator.reports import DatabaseReport
from cluster.coordinator.state import Durable, longest_lease
from cluster.coordinator.store import Store
from cluster.errors import ConflictError
from cluster.limits import LIMITS
from cluster.replication.authority import Issuer, PastLife

if TYPE_CHECKING:
    from pathlib import Path

LEASE = longest_lease(LIMITS)
UNSEALED = (DatabaseReport(DATABASE, streaming_content=True),)


def phase(story: Story) -> Phase:
    return capability.phase(story.state.durable, "leader")


def closing(**heartbeat: object) -> tuple[Story, int]:
    """A leader with rows to seal whose gates have closed already, and who waits for off."""
    story = attached()
    story.beat("leader", databases=UNSEALED)
    request = story.off("leader")
    story.beat("leader", databases=UNSEALED, drained=False, **heartbeat)
    assert phase(story) is Phase.DRAINING
    return story, request


def lines(story: Story) -> tuple[str, ...]:
    return waiting_for(story.state, "leader", story.now)


def test_off_with_nothing_to_seal_takes_one_heartbeat() -> None:
    story = attached()
    request = story.off("leader")
    story.beat("leader", databases=owns(DATABASE))
    assert story.answers[request].certainty is Certainty.CONFIRMED
    assert phase(story) is Phase.OFF


@pytest.mark.fidelity(
    "ingest-data-streaming.md",
    "Turning streaming off moves what is in row stores into extents first",
)
def test_off_waits_as_long_as_sealing_takes_and_says_for_whom() -> None:
    story, request = closing()
    for _ in range(10):
        story.wait(LEASE / 2)
        story.beat("leader", databases=UNSEALED, drained=False)
    assert request not in story.answers
    assert lines(story) == ("node 'leader/0' is sealing 'Db'",)
    story.beat("leader", databases=owns(DATABASE))
    epoch = story.view("leader").followed[0].epoch
    assert story.answers[request] == CapabilitySet(epoch, Certainty.CONFIRMED)
    assert lines(story) == ()


def test_a_report_without_content_is_no_promise() -> None:
    """Rows may be on their way to the disk."""
    story, request = closing()
    story.beat("leader", databases=owns(DATABASE), drained=False)
    assert request not in story.answers
    story.beat("leader", databases=owns(DATABASE), drained=True)
    assert request in story.answers


def test_a_promise_of_an_earlier_off_does_not_count() -> None:
    story, request = closing()
    revision = story.view("leader").revision
    story.beat("leader", databases=UNSEALED, revision=revision - 1, drained=True)
    assert request not in story.answers


def test_why_a_node_cannot_seal_is_told() -> None:
    story, _ = closing(trouble="the storage root is away")
    assert lines(story) == ("node 'leader/0' is sealing 'Db': the storage root is away",)


def test_a_node_with_rows_to_seal_that_cannot_be_reached_holds_up_off() -> None:
    story, request = closing()
    for _ in range(5):
        story.wait(LEASE)
    assert request not in story.answers
    assert "'leader/0' is not heard" in lines(story)[0]
    assert "'Db'" in lines(story)[0]
    story.beat("leader", databases=owns(DATABASE))
    assert story.answers[request].certainty is Certainty.CONFIRMED


def test_on_takes_it_back_while_rows_are_being_sealed() -> None:
    story, request = closing()
    story.on("leader")
    assert "superseded" in str(story.answers[request])
    assert phase(story) is Phase.ON
    assert not story.state.durable.changes
    story.beat("leader", databases=UNSEALED, drained=False)
    assert story.off("leader") not in story.answers, "there is a next time"


def test_a_policy_enabled_while_rows_are_being_sealed_takes_it_back_and_is_named() -> None:
    story, request = closing()
    story.beat("leader", databases=owns(DATABASE, tables=("T",)), drained=False)
    error = story.answers[request]
    assert isinstance(error, ConflictError)
    assert error.metadata["tables"] == "Db.T"
    assert phase(story) is Phase.ON


def test_every_node_of_the_cluster_must_promise() -> None:
    story = attached()
    story.register("leader", number=1, instance="b")
    story.beat("leader", databases=UNSEALED)
    story.beat("leader", number=1, instance="b", databases=UNSEALED)
    request = story.off("leader")
    story.beat("leader", databases=owns(DATABASE))
    story.beat("leader", number=1, instance="b", databases=UNSEALED, drained=False)
    assert lines(story) == ("node 'leader/1' is sealing 'Db'",)
    story.beat("leader", number=1, instance="b", databases=owns(DATABASE))
    assert story.answers[request].certainty is Certainty.CONFIRMED


def test_a_policy_on_any_node_forbids_off() -> None:
    story = attached()
    story.register("leader", number=1, instance="b")
    story.beat("leader", number=1, instance="b", databases=owns("Other", tables=("T",)))
    error = story.answers[story.off("leader")]
    assert isinstance(error, ConflictError)
    assert error.metadata["tables"] == "Other.T"


@pytest.mark.parametrize("heard_again", [True, False])
def test_a_restart_while_rows_are_being_sealed_goes_on_waiting(heard_again: bool) -> None:
    story, _ = closing()
    story.restart()
    assert phase(story) is Phase.DRAINING
    request = story.off("leader")
    story.wait(LEASE)
    assert request not in story.answers
    assert "is not heard" in lines(story)[0]
    if heard_again:
        story.beat("leader", databases=owns(DATABASE))
        assert story.answers[request].certainty is Certainty.CONFIRMED


def test_a_process_that_takes_the_nodes_place_must_promise_itself() -> None:
    story, request = closing()
    story.register("leader", instance="b")
    story.wait(LEASE)
    assert request not in story.answers
    story.beat("leader", instance="b", databases=owns(DATABASE))
    assert story.answers[request].certainty is Certainty.CONFIRMED


def test_a_node_that_had_nothing_to_seal_and_is_lost_is_waited_for_until_its_lease_ends() -> None:
    story = attached()
    request = story.off("leader")
    story.beat("leader", databases=owns(DATABASE), drained=False)
    assert phase(story) is Phase.DRAINING
    assert lines(story) == ("node 'leader/0' is sealing its databases",)
    story.wait(LEASE - 0.001)
    assert request not in story.answers
    story.wait(0.001)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_off_with_no_lease_running_still_waits_for_what_is_known_to_be_unsealed() -> None:
    story = attached()
    story.beat("leader", databases=UNSEALED)
    story.wait(LEASE)
    request = story.off("leader")
    assert request not in story.answers
    assert phase(story) is Phase.DRAINING
    story.beat("leader", databases=owns(DATABASE))
    assert request in story.answers


def test_while_it_closes_the_status_says_whose_lease_is_waited_for() -> None:
    story = attached()
    story.off("leader")
    (line,) = lines(story)
    assert line.startswith("node 'leader/0' has not confirmed; its lease is over in")


ISSUER = Issuer(
    "c", 3, "x", 7, ("a", "b"), (PastLife(2, "w", 7), PastLife(9, "v", 6, adopted=True))
)


def test_what_is_left_to_seal_and_whose_views_they_are_is_on_disk(tmp_path: Path) -> None:
    story, _ = closing()
    durable = replace(story.state.durable, issuer=ISSUER)
    store = Store.open(tmp_path)
    store.save(Durable(), durable)
    store.close()
    again = Store.open(tmp_path)
    assert again.load() == durable
    assert again.load().nodes["leader/0"].unsealed == (DATABASE,)
    without = replace(durable, nodes={k: replace(n, unsealed=()) for k, n in durable.nodes.items()})
    again.save(durable, without)
    assert again.load() == without
    again.close()
