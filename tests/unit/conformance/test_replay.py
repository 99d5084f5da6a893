"""One line that runs a seed again: nothing gets lost in it, and nothing wrong is run."""

from __future__ import annotations

import re
import shlex
import string
from dataclasses import fields, replace

import pytest
from campaign_worlds import run_seed
from hypothesis import given
from hypothesis import strategies as st

from cluster.conformance.campaign import replay_mismatch
from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.replay import (
    Replay,
    ReplayError,
    command,
    decode,
    encode,
    schedule_hash,
)
from cluster.conformance.request import Endpoint, RunRequest, Target
from cluster.conformance.traits import TRAFFIC

CUT = Fault(kind=FaultKind.PARTITION, target="leader->follower1", at=12.5, duration=30.0)
LINE = "v=1;history=1;plan=2;seed=7;rule=R5;faults=partition:leader->follower1@12.5+30"

numbers = st.floats(min_value=0, max_value=1e6, allow_nan=False, allow_infinity=False)
faults = st.builds(
    Fault,
    kind=st.sampled_from(FaultKind),
    target=st.sampled_from(["leader/0", "coordinator", "leader->follower1"]),
    at=numbers,
    duration=numbers,
    ratio=numbers,
    seconds=st.floats(-1e5, 1e5, allow_nan=False),
    jitter_seconds=numbers,
    bytes_per_second=st.integers(0, 10**9),
    detail=st.text(max_size=20),
)
names = st.text(string.ascii_letters + string.digits + "-_.", max_size=10)
ranges = st.lists(st.integers(0, 10**6), unique=True, max_size=8).map(
    lambda cuts: tuple(zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False))
)
requests = st.builds(
    RunRequest,
    seed=st.integers(0, 2**63 - 1),
    schedule=st.none() | st.lists(faults, max_size=4).map(lambda f: Schedule(faults=tuple(f))),
    mutant=names,
    system=st.sampled_from(["sim", "local"]),
    intensity=numbers,
    skipped=ranges,
    safety_seconds=st.none() | numbers,
    liveness_seconds=st.none() | numbers,
    plan_version=st.sampled_from(sorted(TRAFFIC)),
)


def test_the_line_is_this():
    request = RunRequest(seed=7, schedule=Schedule(faults=(CUT,)))
    assert encode(Replay(request, "R5")) == LINE
    assert command(Replay(request, "R5")) == f"remora conform replay '{LINE}'"


def test_a_line_from_before_plans_had_versions_is_of_the_first():
    old = LINE.replace("plan=2;", "")
    assert decode(old).request == replace(decode(LINE).request, plan_version=1)
    assert encode(decode(old)) == old


@given(requests, names)
def test_whatever_is_asked_comes_back(request, rule):
    drawn = "12ab34cd" if request.schedule is None else ""
    replay = Replay(request, rule, "9f2c51d0", drawn)
    assert decode(encode(replay)) == replay


@given(requests)
def test_the_line_goes_through_any_shell_and_log(request):
    line = encode(Replay(request))
    assert line.isascii()
    assert line.isprintable()
    assert not set(line) & set(" '\"`\\$!")
    assert shlex.split(command(Replay(request)))[-1] == line


@pytest.mark.parametrize("around", [" {} ", "'{}'", '"{}"\n', "`{}`"])
def test_what_copying_leaves_around_it_does_not_matter(around):
    assert decode(around.format(LINE)).request.seed == 7


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "empty"),
        ("v=1", "format none"),
        (LINE.replace("v=1", "v=2"), "version 2, this build replays 1"),
        (LINE.replace("v=1;", ""), "version none"),
        (LINE.replace("history=1", "history=2"), "histories of format 2, this build has 1"),
        (LINE.replace("plan=2", "plan=3"), "a plan of version 3, this build draws 1, 2"),
        (LINE.replace("plan=2", "plan=02"), "a plan of version 02"),
        (LINE + ";seed=8", "not a new name=value"),
        (LINE + ";colour=red", "no field 'colour'"),
        (LINE.replace("seed=7", "seed=-7"), "seed='-7'"),
        (LINE.replace("seed=7", f"seed={2**63}"), "is not a number from 0"),
        (LINE.replace("partition:", "flood:"), "no fault 'flood'"),
        (LINE.replace("@12.5", "@nan"), "'nan' is not a number"),
        (LINE.replace("+30", ""), "is not kind:target@begin+duration"),
        (LINE + ",weight=2", "no field 'weight'"),
        (LINE.partition(";faults")[0], "nothing of faults"),
        (LINE + ";skip=3-3", "is not a range"),
        (LINE + ";skip=0-4,4-6", "is not a range above"),
        (LINE + ";mutant=a/b", "is not a name"),
        (LINE + ";intensity=-1", "negative"),
    ],
)
def test_a_line_that_would_run_something_else_is_refused(line, why):
    with pytest.raises(ReplayError, match=re.escape(why)):
        decode(line)


def test_a_line_holds_every_field_of_a_fault():
    """Whoever gives faults another field teaches it to replay lines too."""
    numbers = {name: 2 for name in Fault.__struct_fields__ if name not in ("kind", "target")}
    fault = Fault(kind=FaultKind.DROP, target="a->b", **{**numbers, "detail": "2"})
    line = encode(Replay(RunRequest(seed=1, schedule=Schedule(faults=(fault,)))))
    assert decode(line).request.schedule.faults == (fault,)


def test_a_line_holds_every_field_of_a_request():
    """Whoever gives requests another field teaches it to replay lines too; targets have no line."""
    unusual = {"schedule": Schedule(), "mutant": "m", "system": "local", "skipped": ((1, 2),)}
    unusual |= {"intensity": 2.0, "plan_version": 2}  # lines without a plan are of the first
    names = {field.name for field in fields(RunRequest)} - unusual.keys() - {"target"}
    request = RunRequest(**unusual, **dict.fromkeys(names, 1))
    usual = RunRequest(seed=0)
    assert not [name for name in names if getattr(usual, name) == getattr(request, name)]
    assert decode(encode(Replay(request))).request == request


def test_the_greatest_seed_is_taken():
    assert decode(LINE.replace("seed=7", f"seed={2**63 - 1}")).request.seed == 2**63 - 1


def test_a_run_against_endpoints_has_no_line():
    there = Endpoint("a", "grpc://a:1")
    target = Target(leaders=(there,), followers=(there,), database="D")
    with pytest.raises(ReplayError, match="needs their profile"):
        encode(Replay(RunRequest(seed=1, system="endpoint", target=target)))


def test_a_replay_knows_whether_it_is_the_recorded_run():
    request = RunRequest(seed=7)
    result = run_seed(request)
    digest, drawn = result.history.digest(), schedule_hash(result.schedule)
    assert replay_mismatch(Replay(request, "R5", digest[:8], drawn), result) == ""
    assert replay_mismatch(Replay(request, "R5"), result) == ""
    assert "draws other faults" in replay_mismatch(Replay(request, "R5", digest, "0" * 8), result)
    assert "another" in replay_mismatch(Replay(request, "R5", "0" * 8, drawn), result)
