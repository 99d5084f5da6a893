"""Mappings, formats and update policies over the real door, with the real query engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rows import make_table

from cluster.errors import (
    MappingReferenceError,
    RemoraError,
    UpdatePolicyIncompatibleError,
    UpdatePolicySchemaError,
)

if TYPE_CHECKING:
    from cluster.client import Client
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process


async def rows(client: Client, database: str, query: str) -> list[tuple[object, ...]]:
    """The answer of a query."""
    return [tuple(row) for row in (await client.query(database, query)).rows()]


async def streamed(setup: LocalSetup, *tables: str) -> tuple[Client, str]:
    """The leader, with these tables; those that end in ``!`` are streamed into."""
    client, database = setup.client("leader"), setup.database
    await make_table(client, database)
    for table in tables:
        await client.command(database, f".create table {table.rstrip('!')}")
        if table.endswith("!"):
            name = table.partition(" ")[0]
            await client.command(database, f".alter table {name} policy streamingingestion enable")
    return client, database


async def test_mappings_are_created_shown_and_used(local_setup: LocalSetup) -> None:
    client, database = await streamed(local_setup, "Mapped (Name: string, At: datetime)")
    await client.command(database, ".alter table Mapped policy streamingingestion enable")
    await client.command(
        database,
        ".create table Mapped ingestion json mapping 'M' "
        '\'[{"column":"Name","Properties":{"Path":"$.o.name"}},\''
        '\'{"column":"At","Properties":{"Path":"$.t","Transform":"DateTimeFromUnixSeconds"}}]\'',
    )
    payload = b'{"o":{"name":"Ada"},"t":1714979289}\n'
    await client.ingest(database, "Mapped", payload, data_format="json", mapping="M")
    assert await rows(client, database, "Mapped | project Name, year = getyear(At)") == [
        ("Ada", 2024)
    ]
    with pytest.raises(MappingReferenceError):
        await client.ingest(database, "Mapped", b"x,1\n", mapping="M")
    shown = (await client.command(database, ".show table Mapped ingestion json mappings")).rows()
    assert json.loads(str(shown[0][2]))[0] == {
        "Properties": {"Path": "$.o.name"}, "column": "Name", "datatype": "",
    }  # fmt: skip


UPDATE = (
    '.alter table {0} policy update \'[{{"IsEnabled":true,"Source":"Raw","Query":"{1}",'
    '"IsTransactional":{2}}}]\''
)


@pytest.mark.parametrize("transactional", ["true", "false"])
async def test_update_policies_follow_streamed_rows(
    local_setup: LocalSetup, transactional: str
) -> None:
    client, database = await streamed(
        local_setup,
        "Raw (Name: string, Number: long, Id: guid, More: dynamic)",
        "Big (Name: string, Double: long, Id: guid, More: dynamic)",
        "Other (Name: string)",
    )
    await client.command(database, ".alter table Raw policy streamingingestion enable")
    query = "Raw | where Number > 10 | project Name, Double = Number * 2, Id, More"
    await client.command(database, UPDATE.format("Big", query, transactional))
    payload = b'a,1,,\nb,11,01234567-89ab-cdef-0123-456789abcdef,"{""x"":1}"\n'
    response = await client.ingest(database, "Raw", payload)
    assert response.row_count == 2
    shown = "Big | project Name, Double, tostring(Id), x = toint(More.x)"
    expected = ("b", 22, "01234567-89ab-cdef-0123-456789abcdef", 1)
    assert await rows(client, database, shown) == [expected]
    join = "Raw | join kind=inner (Other) on Name | project Name, Number, Id, More"
    with pytest.raises(UpdatePolicyIncompatibleError):
        await client.command(database, UPDATE.format("Big", join, transactional))
    with pytest.raises(UpdatePolicySchemaError):
        await client.command(database, UPDATE.format("Big", "Raw | project Name", transactional))
    with pytest.raises(RemoraError):
        await client.command(database, UPDATE.format("Big", "Nothing", transactional))
