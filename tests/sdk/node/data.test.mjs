// azure-kusto-data: queries and commands.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, database, followed, leader, makeTable, rowsOf } from "./setup.mjs";

// sdk_call("node", "Client.execute", "works", "query and command, told apart by the leading dot")
test("execute: what is ingested on the leader is read on the follower", async () => {
    const client = connect(leader);
    const table = await makeTable(client, "a: int, b: string");
    await client.execute(database, `.ingest inline into table ${table} <|\n1,x\n2,y`);
    const query = `${table} | order by a asc`;
    const wanted = [{ a: 1, b: "x" }, { a: 2, b: "y" }];
    assert.deepEqual(rowsOf(await client.execute(database, query)), wanted);
    assert.deepEqual(await followed(query, 2), wanted);
});
