"""``.show X | KQL``: the result goes through the query engine, as it is declared."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest

from cluster.catalog.model import Column, ScalarType
from cluster.commands.results import CommandResult
from cluster.errors import SemanticError, SyntaxRefusedError
from cluster.gateway.management import result_to_arrow


@pytest.mark.fidelity(
    "management index", "The result of a command that shows goes through KQL behind a pipe"
)
async def test_a_result_goes_through_kql(world):
    await world.run(".create table A (x:int)")
    text = ".show tables | where DatabaseName == 'Sales' // | not here"
    result = await world.service.execute("Sales", text)
    ((columns, rows, kql),) = world.node.queries.asked
    assert [column.name for column in columns] == [
        "TableName",
        "DatabaseName",
        "Folder",
        "DocString",
    ]
    assert rows == [("A", "Sales", "", ""), ("T", "Sales", "", "")]
    assert kql == "| where DatabaseName == 'Sales' // | not here"
    assert result.columns == (Column("TableName", ScalarType.STRING),)
    assert result.rows == ()
    assert result.piped.to_pydict() == {"TableName": ["A", "T"]}


async def test_errors_of_the_query_count_as_refused(world, monkeypatch):
    async def refuse(columns, rows, kql):
        raise SemanticError("SEM0100: no such column")

    monkeypatch.setattr(world.node.queries, "run_over", refuse)
    with pytest.raises(SemanticError):
        await world.run(".show tables | where x == 1")
    assert world.service.statistics().refused == 1


async def test_only_what_shows_can_be_piped(world):
    with pytest.raises(SyntaxRefusedError):
        await world.run(".drop table T | count")
    with pytest.raises(SyntaxRefusedError):
        await world.run(".show tables; | count")
    assert "T" in world.catalog.get("Sales").tables


def test_a_piped_result_travels_in_the_types_of_rows():
    guid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    columns = (Column("Id", ScalarType.GUID), Column("n", ScalarType.LONG))
    piped = pa.table({"Id": pa.array([guid, None]), "n": pa.array([1, 2], pa.int64())})
    with pa.ipc.open_stream(result_to_arrow(CommandResult(columns, (), piped))) as reader:
        table = reader.read_all()
    assert table.schema.types == [pa.binary(16), pa.int64()]
    assert table.to_pydict() == {"Id": [uuid.UUID(guid).bytes, None], "n": [1, 2]}
