"""What may be asked of endpoints, the plans made for them, and what operators' commands mean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from cluster.conformance.generate import generate_plan
from cluster.conformance.plan import Ask, Flip, Follow, Manage, Unfollow, Write
from cluster.conformance.request import Endpoint, Target
from cluster.conformance.system import Feature
from cluster.conformance.target import TargetError
from cluster.errors import NotSupportedError, TimedOutError, UnavailableError
from cluster.testing.endpoint.claims import (
    GRPC_FEATURES,
    check_target,
    features_of,
    is_loopback,
    parameters_of,
    profile_of,
    times_of,
)
from cluster.testing.endpoint.control import EndpointControl
from cluster.testing.endpoint.planning import EXAMINER, Tables, plan_of

if TYPE_CHECKING:
    from pathlib import Path

GRPC = Target(
    leaders=(Endpoint("lead", "grpc://127.0.0.1:1"),),
    followers=(
        Endpoint("one", "grpc://127.0.0.1:2"),
        Endpoint("two", "grpc://localhost:3", streaming=False),
    ),
    database="db",
)
REST = Target(
    leaders=(Endpoint("lead", "https://lead.example", token_variable="TOKEN"),),
    followers=(Endpoint("one", "https://one.example", token_variable="TOKEN"),),
    database="db",
    confirmed=True,
)
SWITCHES = (("capability-off", "off"), ("capability-on", "on"))


def test_features_follow_from_the_schemes():
    coordinated = replace(GRPC, coordinator_url="grpc://127.0.0.1:9")
    mixed = replace(GRPC, followers=(*GRPC.followers, Endpoint("three", "http://127.0.0.1:4")))
    assert features_of(GRPC) == GRPC_FEATURES
    assert features_of(coordinated) == GRPC_FEATURES | {Feature.CAPABILITY}
    assert features_of(REST) == features_of(mixed) == frozenset()
    assert features_of(replace(REST, commands=SWITCHES)) == {Feature.CAPABILITY}
    claimed = replace(coordinated, features=frozenset({"ATTACH", "SHARING"}))
    assert {Feature.ATTACH, Feature.SHARING} <= features_of(claimed)
    assert features_of(replace(REST, features=frozenset({"SEAL"}))) == {Feature.SEAL}


@pytest.mark.parametrize(
    ("target", "features", "why"),
    [
        (GRPC, {"FRAMES"}, "FRAMES cannot be seen from outside"),
        (GRPC, {"FAULTS"}, "FAULTS cannot be seen"),
        (REST, {"POSITIONS"}, "POSITIONS does not exist over Kusto's REST"),
        (REST, {"CAPABILITY"}, "CAPABILITY needs a coordinator, or commands capability-on and"),
        (GRPC, {"ATTACH"}, "ATTACH needs a coordinator, or commands attach and detach"),
        (GRPC, {"SHARING"}, "SHARING needs ATTACH"),
    ],
)
def test_claims_that_cannot_be_used(target, features, why):
    with pytest.raises(TargetError, match=why):
        check_target(replace(target, features=frozenset(features)), {"TOKEN": "x"})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"confirmed": False}, r"https://lead.example is not on this machine.*--yes"),
        ({"leaders": REST.leaders * 2}, "has one leader"),
        ({"coordinator_url": "grpc://127.0.0.1:9"}, "over gRPC endpoints only"),
        ({"followers": (Endpoint("one", "https://h", token_variable="NONE"),)}, "NONE is not set"),
        (
            {"followers": (Endpoint("one", "http://h", token_variable="TOKEN"),)},
            "not sent over plain http",
        ),
        (
            {"followers": (Endpoint("one", "grpc://h:1", token_variable="TOKEN"),)},
            r"tokens are for http\(s\) endpoints only",
        ),
    ],
)
def test_what_must_be_known_before_anything_is_sent(changes, why):
    check_target(REST, {"TOKEN": "x"})
    with pytest.raises(TargetError, match=why):
        check_target(replace(REST, **changes), {"TOKEN": "x"})


def test_this_machine_needs_no_agreement():
    check_target(GRPC, {})
    for url, expected in (
        ("grpc://127.9.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://localhost.example", False),
        ("grpc://10.0.0.1:1", False),
    ):
        assert is_loopback(url) is expected


def test_times():
    assert (times_of(REST, None, None).safety, times_of(REST, None, None).liveness) == (120, 300)
    assert (times_of(GRPC, None, None).safety, times_of(GRPC, None, None).liveness) == (30, 60)
    own = replace(REST, liveness_seconds=900.0, visible_seconds=1.0, unsealed_seconds=5.0)
    times = times_of(own, None, None)
    assert (times.liveness, times.visible) == (900, 1)
    assert times_of(own, 7.0, 8.0).liveness == 8
    assert parameters_of(own, times).notice_seconds == 900
    assert parameters_of(own, times).unsealed_seconds == 5
    operated = replace(REST, commands=SWITCHES, command_seconds=1800.0)
    assert 3 * times_of(operated, None, None).call >= 1800


# -- plans --------------------------------------------------------------------------------------


def planned(target, seed=1):
    tables = Tables.of(target, "r")
    return plan_of(seed, target, tables, times_of(target, None, None)), tables


def steps_of(plan):
    return [(client.name, step.action) for client in plan.clients for step in client.steps]


@pytest.mark.parametrize("seed", range(1, 40))
def test_only_the_runs_own_tables_are_touched(seed):
    features = frozenset({"ATTACH", "SHARING"})
    target = replace(GRPC, coordinator_url="grpc://127.0.0.1:9", features=features)
    plan, tables = planned(target, seed)
    for _, action in [*steps_of(plan), *((None, action) for action in plan.setup)]:
        if isinstance(action, Manage) and action.verb not in ("seal", "show-follower"):
            assert action.table in tables.all
            assert tables.prefix in action.text or not action.text
        if isinstance(action, Write | Ask):
            assert action.table in tables.all
        if isinstance(action, Flip):
            assert action.cluster in ("one", "two")
    assert plan.end.capability == {"one": True, "two": False}
    assert {(f.follower, f.include, f.exclude) for f in plan.end.attachments} == {
        ("one", (), ()),
        ("two", (), ()),
    }


@pytest.mark.parametrize("seed", range(1, 40))
def test_ids_and_sources_are_unique(seed):
    plan, _ = planned(replace(GRPC, coordinator_url="grpc://127.0.0.1:9"), seed)
    written = {}
    for action in [*(a for _, a in steps_of(plan)), *plan.closing]:
        if isinstance(action, Write):
            assert written.setdefault(action.source, action.ids) == action.ids
    ids = [number for ids in written.values() for number in ids]
    assert len(ids) == len(set(ids))


def test_some_seed_would_have_touched_more():
    """The filter has something to do: commands about the database, and the leader's capability."""
    profile = profile_of(replace(GRPC, coordinator_url="grpc://127.0.0.1:9"))
    actions = [
        step.action
        for seed in range(1, 40)
        for client in generate_plan(seed, profile).clients
        for step in client.steps
    ]
    assert any(isinstance(a, Flip) and a.cluster == "lead" for a in actions)


@pytest.mark.parametrize("seed", range(1, 20))
def test_an_operator_is_asked_by_the_examiner_alone(seed):
    commands = (*SWITCHES, ("attach", "a"), ("detach", "d"))
    plan, _ = planned(replace(REST, commands=commands), seed)
    control = [
        (who, action)
        for who, action in steps_of(plan)
        if isinstance(action, Flip | Follow | Unfollow)
    ]
    assert control
    assert {who for who, _ in control} == {EXAMINER}
    assert not any(isinstance(a, Write) and (a.flaw or a.attempts > 1) for _, a in steps_of(plan))


# -- operators' commands ------------------------------------------------------------------------


def control_of(seconds=5.0, **commands):
    told = tuple((name.replace("_", "-"), text) for name, text in commands.items())
    return EndpointControl(replace(GRPC, commands=told, command_seconds=seconds), None)


async def test_commands_are_told_what_to_do(tmp_path: Path):
    told = tmp_path / "told"
    text = f'echo "$REMORA_ACTION $REMORA_CLUSTER $REMORA_LEADER $REMORA_DATABASE" >> {told}'
    control = control_of(capability_off=text, capability_on=text, attach=text, detach=text)
    await control.set_capability("one", on=False)
    await control.detach("lead", "db", "two", side="follower")
    await control.restore()
    await control.restore()
    assert told.read_text().splitlines() == [
        "capability-off one lead db",
        "detach two lead db",
        "capability-on one lead db",
        "attach two lead db",
    ]


async def test_commands_that_fail():
    control = control_of(0.2, capability_on="echo no rights >&2; exit 3", capability_off="sleep 60")
    with pytest.raises(UnavailableError, match="ended with 3: no rights"):
        await control.set_capability("one", on=True)
    began = trio.current_time()
    with pytest.raises(TimedOutError, match=r"did not end within 0\.2 seconds"):
        await control.set_capability("one", on=False)
    assert trio.current_time() - began < 5
    with pytest.raises(NotSupportedError):
        await control.detach("lead", "db", "one", side="follower")


async def test_what_failed_is_put_back_too(tmp_path: Path):
    """A command that failed may have worked."""
    told = tmp_path / "told"
    control = control_of(capability_off="exit 1", capability_on=f"echo on >> {told}")
    with pytest.raises(UnavailableError):
        await control.set_capability("one", on=False)
    await control.restore()
    assert told.read_text() == "on\n"
