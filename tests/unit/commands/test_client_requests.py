"""What is kept of who asked for a command, and requests that may only read."""

from __future__ import annotations

import json

import pytest

from cluster.errors import NotSupportedError, ReadOnlyRequestError
from cluster.history.records import Executed, OperationState
from cluster.request import Caller, ClientRequest

ACTIVITY = "3f8fad5b-d9cb-469f-a165-70867728950e"
REQUEST = ClientRequest(
    Caller("aaduser=ada@example.org;contoso"),
    request_id="KPC.execute;1",
    activity_id=ACTIVITY,
    application="notebook",
    user="somebody",
    options={"servertimeout": "00:01:00"},
)


async def records(world, text):
    result = await world.service.execute("Sales", text)
    return [dict(zip([c.name for c in result.columns], row, strict=True)) for row in result.rows]


@pytest.mark.fidelity(
    "commands.md", ".show commands tells who asked, with which program and options"
)
async def test_a_command_is_recorded_with_who_asked(world):
    await world.run(".show tables", request=REQUEST)
    for text in (".show commands", ".show commands-and-queries"):
        (shown,) = (row for row in await records(world, text) if row["Text"] == ".show tables")
        assert shown["ClientActivityId"] == "KPC.execute;1"
        assert shown["RootActivityId"] == ACTIVITY
        assert shown["Application"] == "notebook"
        assert shown["Principal"] == "aaduser=ada@example.org;contoso"
        assert shown["User"] == "ada@example.org"
        assert json.loads(shown["ClientRequestProperties"]) == {
            "ClientRequestId": "KPC.execute;1",
            "Options": {"servertimeout": "00:01:00"},
        }


async def test_a_user_that_nobody_vouches_for_is_who_the_client_says(world):
    await world.run(".show tables", request=ClientRequest(Caller(), user="ada"))
    (shown,) = (r for r in await records(world, ".show commands") if r["Text"] == ".show tables")
    assert (shown["User"], shown["Principal"]) == ("ada", "")
    assert shown["ClientActivityId"] == shown["RootActivityId"] != ""


async def test_queries_of_a_user(world):
    state = OperationState.IN_PROGRESS
    world.node.history.begun(Executed("1", "Query", "T", "Sales", 0, 0, state, user="ada"))
    world.node.history.begun(
        Executed("2", "Query", "T", "Sales", 0, 0, state, client_request_id="x")
    )
    for by, found in ((" by user 'ada'", ["1"]), (" by user 'x'", []), (" by *", ["1", "x"])):
        shown = await records(world, f".show running queries{by}")
        assert [row["ClientActivityId"] for row in shown] == found


async def test_an_operation_is_of_who_asked(world, nursery):
    await nursery.start(world.node.operations.run)
    for word in ("", "async "):
        await world.run(f".clear {word}table T data", request=REQUEST)
    principals = {row["Principal"] for row in await records(world, ".show operations")}
    assert principals == {"aaduser=ada@example.org;contoso"}


@pytest.mark.fidelity("rest/request-properties.md", "request_readonly refuses commands that change")
@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        (".show tables", False),
        (".show tables | count", False),
        (".create table New (a:long)", True),
        (".clear async table T data", True),
        (".append T <| T", True),
    ],
)
async def test_a_request_that_may_only_read_changes_nothing(world, text, is_refused):
    before = world.version()
    request = ClientRequest(Caller(), read_only=True)
    if is_refused:
        with pytest.raises(ReadOnlyRequestError, match="may only read"):
            await world.run(text, request=request)
    else:
        await world.service.execute("Sales", text, request)
    assert world.version() == before


async def test_what_is_not_supported_is_said_of_a_request_that_may_only_read_too(world):
    with pytest.raises(NotSupportedError):
        await world.run(".purge table T", request=ClientRequest(Caller(), read_only=True))
