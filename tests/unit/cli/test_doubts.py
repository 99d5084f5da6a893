"""What people are told when off is held up, and when it is in doubt who the coordinator is."""

from __future__ import annotations

import json


def sealing(world):
    leader = world.status.clusters.add(name="leader", changing=True, phase="draining")
    leader.waiting_for.append("node 'leader/0' is sealing 'Db': the storage root is away")


def words(result):
    return " ".join(result.output.split())


def test_off_that_takes_too_long_says_who_is_waited_for_and_how_to_take_it_back(world):
    sealing(world)
    result = world.run("capability", "leader", "off")
    assert result.exit_code == 1
    assert "'leader/0' is sealing 'Db': the storage root is away" in words(result)
    assert "remora capability leader on" in words(result)


def test_status_says_who_an_off_waits_for(world):
    sealing(world)
    assert "leader is being turned off: node 'leader/0' is sealing" in words(world.run("status"))
    view = json.loads(world.run("status", "--json").output)
    assert [len(cluster["waiting_for"]) for cluster in view["clusters"]][:1] == [1]


def test_status_says_that_nobody_knows_who_the_coordinator_is(world):
    world.status.doubt = "another coordinator answers"
    assert "another coordinator answers" in words(world.run("status"))


def test_adopt_says_what_was_in_doubt(world):
    world.status.doubt = "another coordinator answers"
    result = world.run("adopt")
    assert result.exit_code == 0
    assert "until now: another coordinator answers" in words(result)
    world.status.doubt = ""
    assert "until now" not in words(world.run("adopt"))
