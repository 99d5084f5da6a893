"""How one call is written down, and how a plan's actions become calls."""

from __future__ import annotations

import pytest
import trio

from cluster.conformance.calls import (
    Answer,
    Command,
    Ingest,
    Ingested,
    Ran,
    Read,
    Refused,
    SetCapability,
    Unknown,
)
from cluster.conformance.history import History
from cluster.conformance.plan import BASE_COLUMNS, Ask, ClientPlan, Flip, Manage, Step, Write
from cluster.conformance.playing import Player
from cluster.conformance.recording import Recorder
from cluster.conformance.values import At
from cluster.errors import (
    FieldCountError,
    InternalError,
    ReadOnlyError,
    RpcError,
    Status,
    ThrottledError,
    TimedOutError,
    TooStaleError,
    UnavailableError,
)

INGEST = Ingest(cluster="leader", database="D1", table="T1", source="s", ids=(1,))
FIRST, SECOND = At(version=(1, 1)), At(version=(1, 2))


class Scripted:
    """A system whose one door answers by a list: errors are raised, functions are awaited."""

    profile = control = None

    def __init__(self, *answers):
        self.history = History()
        self.answers = list(answers)
        self.asked = []
        self.doors = []

    def now(self):
        return trio.current_time()

    async def sleep(self, seconds):
        await trio.sleep(seconds)

    def door(self, cluster, client):
        self.doors.append((cluster, client))
        return self

    async def _answer(self, *asked):
        self.asked.append(asked)
        await trio.sleep(0.01)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return await answer() if callable(answer) else answer

    async def ingest(self, database, table, ids, columns, source, *, flaw=""):
        return await self._answer("ingest", table, tuple(ids), tuple(columns), source, flaw)

    async def read(self, database, table, *, at_least=None, max_staleness_seconds=None):
        return await self._answer("read", table, at_least, max_staleness_seconds)

    async def command(self, database, text):
        return await self._answer("command", text)

    @property
    def outcomes(self):
        return [e.what for e in self.history if isinstance(e.what, Refused | Unknown | Ingested)]


def write(**changes):
    given = {"cluster": "leader", "database": "D1", "table": "T1", "source": "s", "ids": (1, 2)}
    return Write(**(given | changes))


async def act(system, action, *, until=1000.0, session="", player=None):
    player = player or Player(system, Recorder(system), 30.0)
    return await player.act("c", action, until=until, session=session)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ReadOnlyError("no"), Refused(code="Forbidden", reason="DATABASE_IS_READ_ONLY",
                                      message="no", permanent=True)),
        (ThrottledError("no"), Refused(code="General_ThrottledIngestion", reason="THROTTLED",
                                       message="no", permanent=False)),
        (UnavailableError("gone"), Unknown(code="ServiceUnavailable", message="gone")),
        (TimedOutError("late"), Unknown(code="Timeout", message="late")),
        (InternalError("bug"), Unknown(code="General_InternalServerError", message="bug")),
        (TooStaleError("old"), Unknown(code="ServiceUnavailable", message="old")),
        (RpcError(Status.NOT_FOUND, "what"),
         Unknown(code="General_InternalServerError", message="what")),
        (trio.BrokenResourceError("cut"),
         Unknown(code="ConnectionLost", message="BrokenResourceError: cut")),
        (ConnectionResetError("reset"),
         Unknown(code="ConnectionLost", message="ConnectionResetError: reset")),
    ],
)  # fmt: skip
async def test_an_outcome_is_a_failure_only_if_it_is_certain(autojump_clock, error, expected):
    system = Scripted(error)
    assert await act(system, write()) == expected
    invoked, ended = system.history
    assert isinstance(invoked.what, Ingest)
    assert ended.what == expected
    assert invoked.call == ended.call == 1
    assert invoked.who == ended.who == "c"
    assert ended.at > invoked.at


async def test_a_call_that_hangs_is_given_up_and_nobody_knows(autojump_clock):
    system = Scripted(trio.sleep_forever)
    outcome = await act(system, write())
    assert outcome == Unknown(code="Timeout", message="no answer within 30 seconds")
    assert trio.current_time() == pytest.approx(30.0)


async def test_a_defect_is_not_an_outcome(autojump_clock):
    with pytest.raises(ZeroDivisionError):
        await act(Scripted(ZeroDivisionError()), write())


async def test_a_cancelled_run_leaves_its_calls_open(autojump_clock):
    system = Scripted(trio.sleep_forever)
    with trio.move_on_after(5):
        await act(system, write())
    assert [type(event.what) for event in system.history] == [Ingest]


async def test_calls_are_numbered_in_the_order_they_begin(autojump_clock):
    system = Scripted(Ingested(position=FIRST), Ingested(position=FIRST, repeated=True))
    await act(system, write(twice=True))
    begun = [event for event in system.history if isinstance(event.what, Ingest)]
    assert [event.call for event in begun] == [1, 2]
    assert {event.who for event in begun} == {"c", "c-twin"}
    assert {event.what for event in begun} == {begun[0].what}
    assert {client for _cluster, client in system.doors} == {"c", "c-twin"}


async def test_a_request_is_repeated_with_its_source_until_it_is_decided(autojump_clock):
    answers = UnavailableError("gone"), ThrottledError("busy"), Ingested(position=FIRST)
    system = Scripted(*answers)
    outcome = await act(system, write(attempts=5, retry_seconds=2.0))
    assert outcome == Ingested(position=FIRST)
    assert system.asked == [("ingest", "T1", (1, 2), BASE_COLUMNS, "s", "")] * 3
    assert trio.current_time() == pytest.approx(4.03)


async def test_attempts_are_counted(autojump_clock):
    system = Scripted(*[UnavailableError("gone")] * 3)
    assert isinstance(await act(system, write(attempts=3)), Unknown)
    assert len(system.asked) == 3


async def test_no_attempt_begins_when_the_phase_is_over(autojump_clock):
    system = Scripted(*[UnavailableError("gone")] * 3)
    await act(system, write(attempts=3, retry_seconds=4.0), until=5.0)
    assert len(system.asked) == 2


async def test_what_is_refused_for_good_is_not_repeated(autojump_clock):
    system = Scripted(ReadOnlyError("no"))
    assert isinstance(await act(system, write(attempts=5)), Refused)
    assert len(system.asked) == 1


async def test_columns_are_looked_up_when_they_were_not_the_tables(autojump_clock):
    schema = Ran(columns=("TableName", "Schema"), rows=(("T1", "Id:long,['C 1']:long,C2:long"),))
    system = Scripted(FieldCountError("3"), schema, Ingested(position=FIRST))
    await act(system, write(attempts=2))
    assert system.asked[1] == ("command", ".show table T1 cslschema")
    assert system.asked[2][3] == ("Id", "C 1", "C2")


async def test_a_retry_of_what_may_be_stored_keeps_its_columns(autojump_clock):
    """Else one source would stand for two different requests."""
    system = Scripted(TimedOutError("late"), FieldCountError("5 columns"))
    player = Player(system, Recorder(system), 30.0)
    assert isinstance(await act(system, write(attempts=5), player=player), Refused)
    assert [asked[3] for asked in system.asked] == [BASE_COLUMNS] * 2


async def test_columns_follow_the_commands_that_ran(autojump_clock):
    done, stored = Ran(), Ingested(position=FIRST)
    system = Scripted(done, stored, UnavailableError("gone"), stored, done, stored)
    player = Player(system, Recorder(system), 30.0)
    add, table = {"verb": "add-column", "text": "add"}, {"cluster": "leader", "database": "D1"}
    await act(system, Manage(**table, **add, table="T1", argument="C1"), player=player)
    await act(system, write(), player=player)
    await act(system, Manage(**table, **add, table="T1", argument="C2"), player=player)
    await act(system, write(source="later"), player=player)
    drop = Manage(**table, verb="drop-table", text="drop", table="T1")
    await act(system, drop, player=player)
    await act(system, write(source="last"), player=player)
    sent = [asked[3] for asked in system.asked if asked[0] == "ingest"]
    assert sent == [(*BASE_COLUMNS, "C1"), (*BASE_COLUMNS, "C1"), BASE_COLUMNS]


async def test_tokens_are_what_is_known_when_the_read_is_made(autojump_clock):
    answer = Answer(ids=(1, 2), position=SECOND)
    system = Scripted(answer, Ingested(position=FIRST), answer, answer, answer)
    player = Player(system, Recorder(system), 30.0)
    ask = {"cluster": "follower1", "database": "D1", "table": "T1"}
    newest, own = Ask(**ask, token="acknowledged"), Ask(**ask, token="session")
    await act(system, newest, player=player)  # nothing acknowledged yet
    await act(system, write(), player=player)
    await act(system, newest, player=player, session="r")
    await act(system, own, player=player, session="r")
    await act(system, own, player=player, session="other")
    reads = [asked[2] for asked in system.asked if asked[0] == "read"]
    assert reads == [None, FIRST, SECOND, None]
    recorded = [e.what.at_least for e in system.history if isinstance(e.what, Read)]
    assert recorded == reads


async def test_a_merge_takes_the_extents_that_are_there(autojump_clock):
    shown = Ran(columns=("ExtentId", "Rows"), rows=(("a", "1"), ("b", "2")))
    alone = Ran(columns=("ExtentId", "Rows"), rows=(("a", "1"),))
    system = Scripted(shown, Ran(), alone)
    merge = Manage(cluster="leader", database="D1", verb="merge", table="T1")
    await act(system, merge)
    await act(system, merge)
    assert [asked[1] for asked in system.asked] == [
        ".show table T1 extents", ".merge T1 (a, b)", ".show table T1 extents",
    ]  # fmt: skip
    verbs = [e.what.verb for e in system.history if isinstance(e.what, Command)]
    assert verbs == ["show-extents", "merge", "show-extents"]


async def test_a_client_keeps_its_times_and_stops_with_the_phase(autojump_clock):
    asks = [Ask(cluster="leader", database="D1", table="T1")] * 4
    steps = [Step(at=at, action=ask) for at, ask in zip((1.0, 2.0, 3.0, 50.0), asks, strict=True)]
    slow = Answer(ids=())

    async def late():
        await trio.sleep(5)
        return slow

    system = Scripted(late, slow, slow, slow)
    player = Player(system, Recorder(system), 30.0)
    await player.play(ClientPlan(name="r", steps=tuple(steps)), until=40.0)
    begun = [event.at for event in system.history if isinstance(event.what, Read)]
    assert begun == [pytest.approx(1.0), pytest.approx(6.01), pytest.approx(6.02)]


async def test_control_calls_may_wait_for_a_lease(autojump_clock):
    system = Scripted()
    system.control = system

    async def set_capability(cluster, *, on):
        await trio.sleep_forever()

    system.set_capability = set_capability
    outcome = await act(system, Flip(cluster="follower1", on=False))
    assert isinstance(outcome, Unknown)
    assert trio.current_time() == pytest.approx(90.0)
    assert system.history.events[0].what == SetCapability(cluster="follower1", on=False)


async def test_a_request_that_is_sent_again_has_the_columns_of_the_first_time(autojump_clock):
    schema = Ran(columns=("Schema",), rows=(("Id:long,Source:string,C1:long",),))
    system = Scripted(Ingested(position=FIRST), schema, Ingested(position=SECOND, repeated=True))
    player = Player(system, Recorder(system), 30.0)

    await act(system, write(), player=player)
    added = Manage(cluster="leader", database="D1", table="T1", verb="add-column", argument="C1")
    await act(system, added, player=player)
    outcome = await act(system, write(again=True), player=player)

    assert outcome == Ingested(position=SECOND, repeated=True)
    assert system.asked[0] == system.asked[2]


async def test_a_reader_that_insists_asks_until_somebody_answers_with_all(autojump_clock):
    answer, hidden = Answer(ids=(1,), position=FIRST), Answer(ids=(), hidden_reason="closed")
    system = Scripted(UnavailableError("away"), TimedOutError("slow"), hidden, answer)
    ask = Ask(cluster="leader", database="D1", table="T1", attempts=5, retry_seconds=0.5)

    assert await act(system, ask) == answer
    assert [event.at for event in system.history][::2] == [0.0, 0.51, 1.02, 1.53]


async def test_nobody_insists_on_what_is_refused_for_good_or_beyond_the_end(autojump_clock):
    ask = Ask(cluster="leader", database="D1", table="T1", attempts=3, retry_seconds=0.5)

    refused = Scripted(ReadOnlyError("no"))
    await act(refused, ask)
    late = Scripted(UnavailableError("away"), UnavailableError("away"))
    await act(late, ask, until=trio.current_time() + 0.6)

    assert (len(refused.asked), len(late.asked)) == (1, 2)
