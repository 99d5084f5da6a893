"""Whole runs against a small Kusto over REST, from `run_seed` to verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from endpoint_server import Reply, ToyKusto, error, serving

from cluster.conformance.calls import Answer, Ingest, SetCapability
from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.request import Endpoint, RunRequest, Target
from cluster.conformance.target import TargetError
from cluster.conformance.verdict import Judgement
from cluster.testing.endpoint.run import run_seed

APPLICABLE = {"R3", "R4", "R5", "R6", "R13", "R14", "L1"}
"""What can be judged by rows alone."""


def verdicts_of(result):
    return {verdict.rule: verdict.judgement for verdict in result.verdicts}


def run_against(kusto, **changes):
    with serving(kusto.leader) as leader, serving(kusto.follower) as follower:
        target = Target(
            leaders=(Endpoint("lead", leader),),
            followers=(Endpoint("follow", follower),),
            database="db",
            visible_seconds=0.0,
        )
        return run_seed(
            RunRequest(
                seed=1,
                system="endpoint",
                safety_seconds=1.0,
                liveness_seconds=4.0,
                target=replace(target, **changes),
            )
        )


def test_a_right_one(capsys):
    kusto = ToyKusto()
    others = {name: [[1, "", "", ""]] for name in ("Conform_s1", "Conform")}
    kusto.tables |= others
    result = run_against(kusto)
    assert result.error == ""
    judged = verdicts_of(result)
    assert {rule for rule, j in judged.items() if j is Judgement.PASS} == APPLICABLE
    assert {judged[rule] for rule in set(judged) - APPLICABLE} == {Judgement.NOT_APPLICABLE}
    assert kusto.tables == others
    assert capsys.readouterr().err == ""
    sources = [e.what.source for e in result.history.events if isinstance(e.what, Ingest)]
    assert len(sources) == len(set(sources)) > 5  # nothing is sent twice: REST knows no sources
    assert result.operations > 0
    encodings = {type(r.json["properties"]) for r in kusto.requests if "query" in r.path}
    assert encodings == {str, dict}


def test_acknowledged_rows_that_are_dropped():
    kusto = ToyKusto(drops=4)
    result = run_against(kusto)
    assert verdicts_of(result)["R5"] is Judgement.FAIL
    assert kusto.tables == {}


def test_keep_leaves_the_tables():
    kusto = ToyKusto()
    run_against(kusto, keep=True, table_prefix="Mine")
    assert len(kusto.tables) == 3
    assert all(name.startswith("Mine_s1_") for name in kusto.tables)


@pytest.mark.parametrize(
    ("leaks", "unsealed_seconds", "judgement"),
    [(False, 60.0, Judgement.PASS), (True, 60.0, Judgement.FAIL), (True, 0.0, Judgement.UNKNOWN)],
)
def test_capabilities_by_commands(tmp_path, leaks, unsealed_seconds, judgement):
    kusto = ToyKusto(leaks=leaks)
    log = tmp_path / "log"
    log.touch()

    class Watched(ToyKusto):
        """Looks what the commands have done before it answers."""

        def follower(self, request):
            done = log.read_text().split()
            on = not done or done[-1] == "follow:capability-on"
            if on is not self.is_on:
                self.turn(on=on)
            return super().follower(request)

    kusto = Watched(leaks=leaks)
    command = f'echo "$REMORA_CLUSTER:$REMORA_ACTION" >> {log}'
    result = run_against(
        kusto,
        unsealed_seconds=unsealed_seconds,
        commands=(("capability-off", command), ("capability-on", command)),
    )
    assert result.error == ""
    judged = verdicts_of(result)
    assert judged["G1"] is judgement
    assert judged["G2"] is judged["G3"] is Judgement.PASS
    assert judged["G4"] is judged["G6"] is Judgement.NOT_APPLICABLE
    done = log.read_text().split()
    assert "follow:capability-off" in done
    assert done[-1] == "follow:capability-on"
    asked = [e.what for e in result.history.events if isinstance(e.what, SetCapability)]
    assert {what.cluster for what in asked} == {"follow"}


def test_a_command_that_fails_is_no_violation(tmp_path):
    result = run_against(
        ToyKusto(),
        commands=(("capability-off", "exit 3"), ("capability-on", "true")),
    )
    judged = verdicts_of(result)
    assert Judgement.FAIL not in judged.values()
    assert judged["G1"] is judged["G3"] is Judgement.UNKNOWN


def test_what_cannot_be_reached_proves_nothing():
    with serving(ToyKusto().leader) as leader:
        target = Target(
            leaders=(Endpoint("lead", leader),),
            followers=(Endpoint("follow", "http://127.0.0.1:1"),),
            database="db",
            visible_seconds=0.0,
        )
        result = run_seed(RunRequest(seed=1, liveness_seconds=0.5, target=target))
    assert result.error == ""
    by_judgement = {v.judgement for v in result.verdicts}
    assert by_judgement == {Judgement.UNKNOWN, Judgement.NOT_APPLICABLE}
    why = {v.why for v in result.verdicts if v.judgement is Judgement.UNKNOWN}
    assert len(why) == 1
    assert "follow: a read of Conform_s1_" in why.pop()
    assert not any(isinstance(e.what, Answer) for e in result.history.events)


def test_a_database_that_does_not_exist_is_not_waited_for():
    missing = error("BadRequest_DatabaseNotExist", "Database 'db' was not found.", permanent=True)
    with serving(lambda request: Reply(missing, status=400)) as leader:
        target = Target(
            leaders=(Endpoint("lead", leader),),
            followers=(Endpoint("follow", leader),),
            database="db",
            visible_seconds=0.0,
        )
        result = run_seed(RunRequest(seed=1, liveness_seconds=600.0, target=target))
    (why,) = {v.why for v in result.verdicts if v.judgement is Judgement.UNKNOWN}
    assert "Database 'db' was not found." in why
    assert "List the databases" in why
    assert "not within" not in why


def test_what_is_no_request_for_endpoints():
    fault = Fault(kind=FaultKind.KILL, target="leader/0")
    far = Target(
        leaders=(Endpoint("lead", "https://lead.example"),),
        followers=(Endpoint("follow", "https://follow.example"),),
        database="db",
    )
    for request in (
        RunRequest(seed=1),
        RunRequest(seed=1, target=far, mutant="x"),
        RunRequest(seed=1, target=far, schedule=Schedule(faults=(fault,))),
    ):
        with pytest.raises(ValueError, match="no mutant and no faults"):
            run_seed(request)
    with pytest.raises(TargetError, match="not on this machine"):
        run_seed(RunRequest(seed=1, target=far))
