"""What the simulation has found, run again: defects that were fixed stay fixed.

Each line is the shrunk run that showed a defect of Remora. It names its faults itself, so it is the
same run for as long as its version of plans is drawn; a test of the part that was wrong, named
beside it, holds the defect down for ever.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from cluster.conformance.replay import decode
from cluster.conformance.summary import violations_of
from cluster.testing.sim.run import run_seed


class Found(NamedTuple):
    """A defect: what it was, the test that holds it down, and the run that showed it."""

    story: str
    test: str
    line: str


TRACK_RECORD = (
    Found(
        "an old copy adopts the node that comes first, the others had heard of newer epochs: "
        "a gate closed at one of those never opened again",
        "test_coordinator_identity.py::test_epochs_go_on_above_whatever_a_process_has_heard_of",
        "v=1;history=1;seed=231;rule=L1;skip=0-246,256-286;"
        "faults=coordinator-old-state:coordinator@251.549+1,seconds=59.392",
    ),
    Found(
        "the same after two coordinators, at a process that was restarted in between",
        "test_follower_gate.py::test_it_knows_the_newest_epoch_it_has_heard_of_from_anybody",
        "v=1;history=1;seed=308;rule=L1;skip=0-8,13-75,80-120,125-143;"
        "faults=coordinator-twice:coordinator@376+71.507,seconds=0.594"
        "|reset:follower1->leader@430+1|kill:follower1/0@446.202+0.68",
    ),
    Found(
        "off was answered at once by a coordinator that had just taken the place of one that had "
        "turned it on: its own old data said off",
        "test_coordinator_identity.py::"
        "test_off_that_is_so_in_an_old_copy_is_asked_of_every_process_after_adopting",
        "v=1;history=1;seed=657;rule=G1;skip=0-34,38-115,124-137;"
        "faults=coordinator-twice:coordinator@21+113.969,seconds=0.113"
        "|replace:follower2/0@103+0.619",
    ),
    Found(
        "a session that read rows while the last of a table were sealed ended by an IndexError",
        "test_rowstore_floors.py::"
        "test_a_reader_from_before_a_seal_of_everything_finds_nothing_to_read",
        "v=1;history=1;seed=2017;rule=crash;skip=93-187,327-350;"
        "faults=kill:follower2/0@31+1|restart:follower1/0@308+27.9"
        "|restart:coordinator@327+84.313|pause:follower2/0@378+92.553",
    ),
    Found(
        "off was answered at once by a coordinator that had just begun beside one that had turned "
        "it on: its own data said off",
        "test_coordinator_past.py::"
        "test_off_that_is_so_in_the_data_is_not_answered_while_another_has_turned_it_on",
        "v=1;history=1;seed=348;rule=G1;skip=0-71,78-114;"
        "faults=coordinator-twice:coordinator@35+4.9,seconds=2.136",
    ),
    Found(
        "rows whose table was dropped before they were durable were acknowledged, at ordinal 0",
        "test_ingest_pipeline.py::"
        "test_rows_that_become_durable_after_their_table_was_dropped_are_not_acknowledged",
        "v=1;history=1;seed=2238;rule=R1;skip=0-72,82-289,299-320;faults=none",
    ),
    Found(
        "the age of what a follower had shown before was told of a table it had just come to share",
        "test_follower_sharing.py::"
        "test_how_old_another_part_is_nobody_knows_before_its_rows_are_there",
        "v=1;history=1;seed=2162;rule=R12;"
        "skip=20-25,35-81,91-106,111-116,121-126,131-136,141-162;faults=none",
    ),
)


@pytest.mark.parametrize("found", TRACK_RECORD, ids=lambda found: decode(found.line).rule)
def test_it_is_not_found_again(found):
    result = run_seed(decode(found.line).request)
    assert result.error == ""
    assert not violations_of(result), found.story
