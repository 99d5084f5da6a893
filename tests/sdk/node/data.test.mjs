// azure-kusto-data: queries, commands and errors. Rows are read on the follower.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { ClientRequestProperties, KustoConnectionStringBuilder, KustoDataErrors } from "azure-kusto-data";
import { closing, connect, database, followed, follower, leader, makeTable, off, rowsOf, streamOf, tight } from "./setup.mjs";

const ROWS = [{ a: 1, b: "x" }, { a: 2, b: "y" }];
const LONG =
    "range a from 1 to 100000 step 1 | extend k = 1" +
    " | join kind=inner (range b from 1 to 100000 step 1 | extend k = 1) on k | summarize sum(a * b % 7)";

const makeRows = async () => {
    const table = await makeTable(connect(leader));
    await connect(leader).execute(database, `.ingest inline into table ${table} <|\n1,x\n2,y`);
    await followed(table, 2);
    return table;
};

/** The error object of the service, from what the SDK raised. */
const refusal = async (promise) => {
    const error = await promise.then(
        () => assert.fail("it was not refused"),
        (raised) => raised,
    );
    assert.ok(error.response, `not an answer of the service: ${error.stack}`);
    return { status: error.response.status, ...error.response.data.error };
};

// sdk_call("node", "Client.execute", "works", "queries and commands, told apart by the dot")
test("execute: queries and commands", async () => {
    const table = await makeRows();
    const client = connect(follower);
    assert.deepEqual(rowsOf(await client.execute(database, `${table} | order by a asc`)), ROWS);
    const shown = await client.execute(database, `.show tables | where TableName == "${table}" | project TableName`);
    assert.deepEqual(rowsOf(shown), [{ TableName: table }]);
});

// sdk_call("node", "Client.executeQuery", "works", "several statements, several results")
test("executeQuery: several statements", async () => {
    const table = await makeRows();
    const response = await connect(follower).executeQuery(database, `${table} | count; ${table} | summarize m = max(a)`);
    assert.deepEqual([rowsOf(response, 0), rowsOf(response, 1)], [[{ Count: 2 }], [{ m: 2 }]]);
    assert.equal(response.getErrorsCount().errors, 0);
});

// sdk_call("node", "Client.executeQueryV1", "works", "the older form of answers")
test("executeQueryV1: the older form of answers", async () => {
    const table = await makeRows();
    assert.deepEqual(rowsOf(await connect(follower).executeQueryV1(database, `${table} | order by a asc`)), ROWS);
});

// sdk_call("node", "Client.executeMgmt", "works")
test("executeMgmt: a command", async () => {
    const table = await makeRows();
    const shown = await connect(follower).executeMgmt(database, `.show table ${table} cslschema | project Schema`);
    assert.deepEqual(rowsOf(shown), [{ Schema: "a:int,b:string" }]);
});

// sdk_call("node", "Client.executeStreamingIngest", "works")
test("executeStreamingIngest: a stream", async () => {
    const client = connect(leader);
    const table = await makeTable(client);
    await client.executeStreamingIngest(database, table, streamOf(gzipSync("1,x\n2,y\n")), "csv", null);
    assert.deepEqual(await followed(`${table} | order by a asc`, 2), ROWS);
});

// sdk_call("node", "KustoResultTable", "works", "values of every type")
test("values of every type", async () => {
    const query =
        "print b = true, dt = datetime(2026-01-02 03:04:05.123), dy = dynamic({'k': [1, null]})," +
        " g = guid(74be27de-1e4e-49d9-b579-fe0b331d3642), i = int(1), l = long(2), r = 1.5, s = 'text'," +
        " ts = 1.5s, de = decimal(1.25), n = int(null), nan = real(nan)";
    const [row] = rowsOf(await connect(follower).execute(database, query));
    assert.deepEqual(row, {
        b: true,
        dt: new Date("2026-01-02T03:04:05.123Z"),
        dy: { k: [1, null] },
        g: "74be27de-1e4e-49d9-b579-fe0b331d3642",
        i: 1,
        l: 2,
        r: 1.5,
        s: "text",
        ts: 1500,
        de: "1.25",
        n: null,
        nan: "NaN",
    });
});

// sdk_call("node", "ClientRequestProperties", "works", "parameters and options")
test("parameters and options", async () => {
    const table = await makeRows();
    const id = `mine;${randomUUID()}`;
    const properties = new ClientRequestProperties();
    properties.setParameter("least", 2);
    properties.setParameter("name", "it's");
    properties.setTimeout(60_000);
    properties.setOption("query_take_max_records", 1);
    properties.setOption("unknown_to_everybody", true);
    properties.clientRequestId = id;
    properties.application = "my-app";
    properties.user = "me@example.org";
    const query = `declare query_parameters(least: long, name: string); ${table} | where a >= least | project a, name`;
    const client = connect(follower);
    assert.deepEqual(rowsOf(await client.execute(database, query, properties)), [{ a: 2, name: "it's" }]);
    const shown = await client.execute(
        database,
        `.show queries | where ClientActivityId == "${id}" | project Application, User, Database`,
    );
    assert.deepEqual(rowsOf(shown), [{ Application: "my-app", User: "me@example.org", Database: database }]);
});

// sdk_call("node", "KustoConnectionStringBuilder", "works", "an address, a connection string, tokens over http")
test("forms of a connection string", async () => {
    const table = await makeRows();
    const forms = [
        leader,
        `Data Source=${leader};Initial Catalog=${database}`,
        KustoConnectionStringBuilder.withAccessToken(leader, "opaque"),
        KustoConnectionStringBuilder.withTokenProvider(leader, async () => "opaque"),
    ];
    for (const form of forms) {
        assert.deepEqual(rowsOf(await connect(form).execute(database, `${table} | count`)), [{ Count: 2 }]);
    }
});

// sdk_call("node", "AxiosError", "refused as documented", "what is wrong with a text, by code and @permanent")
test("refused: what is wrong with a text", async () => {
    const client = connect(follower);
    for (const [text, code, words] of [
        ["Nonexistent", "General_BadRequest", "Semantic error:"],
        ["print 1 | where", "BadRequest_SyntaxError", "Syntax error:"],
        [".show nothing at all", "BadRequest_SyntaxError", "Syntax error:"],
    ]) {
        const error = await refusal(client.execute(database, text));
        assert.deepEqual([error.status, error.code, error["@permanent"]], [400, code, true]);
        assert.ok(error["@message"].startsWith(words), error["@message"]);
        assert.ok(error["@context"].clientRequestId.startsWith("KNC.execute;"));
    }
});

test("refused: writing to a follower", async () => {
    const error = await refusal(connect(follower).execute(database, ".create table Other (a: int)"));
    assert.deepEqual([error.status, error.code], [403, "Forbidden"]);
});

test("refused: a stream that is wrong, or not allowed", async () => {
    const client = connect(leader);
    const closed = await makeTable(client);
    await client.execute(database, `.alter table ${closed} policy streamingingestion disable`);
    const table = await makeTable(client);
    const send = (where, name, data, format = "csv") =>
        refusal(where.executeStreamingIngest(database, name, streamOf(gzipSync(data)), format, null));
    for (const [where, name, data, format, status, code] of [
        [client, closed, "1,x", "csv", 400, "BadRequest_StreamingIngestionPolicyNotEnabled"],
        [client, "Nowhere", "1,x", "csv", 400, "BadRequest_TableNotExist"],
        [client, table, '1,"x', "csv", 400, "Stream_ClosingQuoteMissing"],
        [client, table, "not json", "json", 400, "BadRequest_NoRecordsOrWrongFormat"],
        [client, table, "PAR1", "parquet", 400, "BadRequest_FormatNotSupported"],
        [connect(follower), table, "1,x", "csv", 403, "Forbidden"],
        [connect(off), table, "1,x", "csv", 404, "NotFound_StreamingIngestionDisabledForCluster"],
    ]) {
        const error = await send(where, name, data, format);
        assert.deepEqual([error.status, error.code], [status, code]);
    }
});

test("refused: a result over its limits", async () => {
    const query = "set truncationmaxrecords = 2; range a from 1 to 5 step 1";
    await assert.rejects(connect(follower).execute(database, query), /Kusto request had errors.*/s);
});

// sdk_call("node", "ThrottlingError", "refused as documented", "too many queries at once")
test("refused: too many queries at once", async () => {
    const client = connect(tight);
    const ids = [];
    const running = [];
    const startOneMore = async () => {
        const properties = new ClientRequestProperties();
        properties.clientRequestId = `long;${randomUUID()}`;
        let isOver = false;
        const over = () => (isOver = true);
        running.push(client.execute("NetDefaultDB", LONG, properties).then(over, over));
        ids.push(properties.clientRequestId);
        const listed = () => client.execute("NetDefaultDB", ".show running queries");
        while (!rowsOf(await listed()).some((row) => row.ClientActivityId === properties.clientRequestId)) {
            assert.ok(!isOver);
        }
    };
    const startTooMany = async () => {
        for (;;) {
            await client.execute("NetDefaultDB", "print 1"); // one a core is allowed
            await startOneMore();
        }
    };
    try {
        await assert.rejects(startTooMany(), KustoDataErrors.ThrottlingError);
    } finally {
        for (const id of ids) await client.execute("NetDefaultDB", `.cancel query '${id}'`);
        await Promise.all(running);
    }
});

// sdk_call("node", "Client.close", "works")
test("a client that is closed, and nobody who listens", async () => {
    const closed = closing(connect(follower));
    closed.close();
    await assert.rejects(closed.execute(database, "print 1"), /Client is closed/);
    await assert.rejects(connect("http://localhost:1").execute(database, "print 1"), /ECONNREFUSED|Failed/);
});
