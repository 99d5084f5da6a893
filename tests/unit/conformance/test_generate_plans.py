"""Plans: functions of their seed, within what a system can do, different from each other."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from toy_system import PROFILE

from cluster.conformance.generate import CLIENTS, generate_plan
from cluster.conformance.plan import Ask, Flip, Follow, Home, Manage, Plan, Unfollow, Write
from cluster.conformance.system import Feature
from cluster.conformance.traits import draw_traits

SEEDS = range(25)


def actions(plan):
    return [step.action for client in plan.clients for step in client.steps]


def without(*features):
    return dataclasses.replace(PROFILE, features=PROFILE.features - set(features))


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    plans = [generate_plan(seed, PROFILE).encode() for seed in SEEDS]
    assert plans == [generate_plan(seed, PROFILE).encode() for seed in SEEDS]
    assert len(set(plans)) == len(plans)


def test_the_hash_seed_of_python_changes_nothing():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from toy_system import PROFILE\n"
        "from cluster.conformance.generate import generate_plan, generate_schedule\n"
        "print(generate_plan(5, PROFILE).encode(), generate_schedule(5, PROFILE).encode())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(("version", "digest"), [(1, "cd1e058b249f4b53"), (2, "50071f453ccb9f3d")])
def test_a_version_of_plans_is_drawn_as_ever(version, digest):
    """Replay lines leave operations out by number. To draw others, add a version to TRAFFIC."""
    plans = "".join(generate_plan(seed, PROFILE, version=version).encode() for seed in range(1, 21))
    assert hashlib.blake2b(plans.encode(), digest_size=8).hexdigest() == digest


def test_a_plan_survives_being_written_and_read():
    for seed in SEEDS:
        plan = generate_plan(seed, PROFILE)
        assert Plan.decode(plan.encode()) == plan


@pytest.mark.parametrize("text", ["", "{}", '{"seed":"x"}', "[]"])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ValueError, match="not a plan"):
        Plan.decode(text)


def test_every_row_and_every_request_of_a_run_is_known_by_its_id():
    for seed in SEEDS:
        plan = generate_plan(seed, PROFILE, first_id=1000, source_prefix="run-")
        writes = [a for a in actions(plan) if isinstance(a, Write) and not a.again]
        writes += plan.closing
        ids = [number for write in writes for number in write.ids]
        assert len(ids) == len(set(ids))
        assert min(ids) > 1000
        sources = [write.source for write in writes]
        assert len(sources) == len(set(sources))
        assert all(source.startswith("run-") for source in sources)


def test_steps_are_in_order_and_leave_time_to_end():
    for seed in SEEDS:
        plan = generate_plan(seed, PROFILE, safety_seconds=100.0)
        assert {client.name for client in plan.clients} <= set(CLIENTS)
        for client in plan.clients:
            times = [step.at for step in client.steps]
            assert times == sorted(times)
            assert times[0] >= 1.0
            assert times[-1] <= 97.0


def test_what_must_be_refused_is_sent_once_and_alone():
    writes = [a for seed in SEEDS for a in actions(generate_plan(seed, PROFILE))]
    wrong = [a for a in writes if isinstance(a, Write) and (a.flaw or a.cluster != "leader")]
    assert {a.flaw for a in wrong} == {"", "malformed", "fields", "oversize", "gzip"}
    assert all(a.attempts == 1 for a in wrong)
    assert not any(a.twice for a in wrong if a.flaw)


def test_some_requests_are_sent_again_later_as_they_were():
    repeated = 0
    for seed in SEEDS:
        for client in generate_plan(seed, PROFILE).clients:
            sent = {}
            for write in (step.action for step in client.steps):
                if isinstance(write, Write) and write.again:
                    first = sent[write.source]
                    assert msgspec.structs.replace(first, twice=False, again=True) == write
                    repeated += 1
                elif isinstance(write, Write):
                    sent[write.source] = write
    assert repeated > len(SEEDS)


def test_runs_differ_in_kind():
    traits = [draw_traits(seed, PROFILE) for seed in range(200)]
    for kind in sorted(set().union(*traits)):
        share = sum(kind in drawn for drawn in traits) / len(traits)
        assert share == 1.0 if kind in ("writes", "reads") else 0.1 < share < 0.95, kind


def test_every_kind_of_action_and_verb_is_met():
    met = [a for seed in range(60) for a in actions(generate_plan(seed, PROFILE))]
    assert {type(a) for a in met} == {Write, Ask, Flip, Follow, Unfollow, Manage}
    assert {a.verb for a in met if isinstance(a, Manage)} == {
        "streaming-on", "streaming-off", "seal", "merge", "drop-table", "create-table",
        "add-column", "clear-table", "mutate", "show-follower",
            "principals", "override", "show-principals",
    }  # fmt: skip
    assert {a.token for a in met if isinstance(a, Ask)} == {"", "session", "acknowledged"}
    assert {a.side for a in met if isinstance(a, Unfollow)} == {"leader", "follower"}
    assert any(a.twice for a in met if isinstance(a, Write))
    assert any(a.include or a.exclude for a in met if isinstance(a, Follow))


@pytest.mark.parametrize(
    ("feature", "is_needed"),
    [
        (Feature.CAPABILITY, lambda a: isinstance(a, Flip)),
        (Feature.ATTACH, lambda a: isinstance(a, Follow | Unfollow)),
        (Feature.SHARING, lambda a: isinstance(a, Follow) and (a.include or a.exclude)),
        (Feature.AT_LEAST, lambda a: isinstance(a, Ask) and a.token),
        (Feature.STALENESS, lambda a: isinstance(a, Ask) and a.max_staleness_seconds),
        (Feature.SOURCE_IDS, lambda a: isinstance(a, Write) and (a.attempts > 1 or a.twice)),
        (Feature.SEAL, lambda a: isinstance(a, Manage) and a.verb in ("seal", "merge")),
        (Feature.COMMANDS, lambda a: isinstance(a, Manage) and a.verb not in ("seal", "merge")),
    ],
)
def test_nothing_is_done_that_the_system_cannot(feature, is_needed):
    homes = [Home(leader="leader", database="Given", tables=("A", "B"))]
    profile = without(feature)
    for seed in SEEDS:
        plan = generate_plan(seed, profile, homes=homes)
        done = [*actions(plan), *plan.setup, *plan.closing, *plan.end.attachments]
        assert not [a for a in done if is_needed(a)]
    everything = [a for seed in SEEDS for a in actions(generate_plan(seed, PROFILE))]
    assert [a for a in everything if is_needed(a)]


def test_a_run_takes_tables_that_exist_or_makes_its_own():
    own = generate_plan(1, PROFILE)
    assert own.setup[0].verb == "create-database"
    given = generate_plan(
        1, without(Feature.COMMANDS), homes=[Home(leader="leader", database="D", tables=("T",))]
    )
    assert not [a for a in given.setup if isinstance(a, Manage)]
    with pytest.raises(ValueError, match="tables that exist"):
        generate_plan(1, without(Feature.COMMANDS))


def test_some_follower_streams_in_the_end():
    ends = [generate_plan(seed, PROFILE).end for seed in SEEDS]
    assert all(end.capability["leader"] and end.capability["follower1"] for end in ends)
    assert {end.capability["follower2"] for end in ends} == {True, False}
    assert all(end.attachments[0].follower == "follower1" for end in ends)


def test_load_multiplies_what_is_done():
    usual = sum(len(actions(generate_plan(seed, PROFILE))) for seed in SEEDS)
    more = sum(len(actions(generate_plan(seed, PROFILE, load=3.0))) for seed in SEEDS)
    assert 2.5 < more / usual < 3.5


def test_one_trait_less_changes_no_other_client():
    profile = without(Feature.CAPABILITY)
    for seed in SEEDS:
        with_flips, without_flips = generate_plan(seed, PROFILE), generate_plan(seed, profile)
        clients = {client.name: client for client in without_flips.clients}
        for client in with_flips.clients:
            if client.name.startswith(("writer", "reader")):
                assert clients[client.name] == client


def test_sharing_is_exact_and_exclude_wins():
    everything = Follow(leader="l", database="d", follower="f")
    assert everything.shares("A")
    some = Follow(leader="l", database="d", follower="f", include=("A", "B"), exclude=("B",))
    assert [table for table in "ABC" if some.shares(table)] == ["A"]


def test_operations_are_left_out_by_number_and_nothing_else_changes() -> None:
    plan = generate_plan(3, PROFILE)
    assert plan.operations == sum(len(client.steps) for client in plan.clients) > 10
    assert plan.without(()) == plan
    first = plan.clients[0].steps
    kept = plan.without(((0, 2), (len(first), len(first) + 1)))
    assert kept.operations == plan.operations - 3
    assert kept.clients[0].steps == first[2:]
    assert kept.clients[1].steps == plan.clients[1].steps[1:]
    assert kept.clients[2:] == plan.clients[2:]
    assert kept.setup == plan.setup
    assert plan.without(((0, plan.operations),)).operations == 0
