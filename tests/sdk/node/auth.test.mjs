// Who asks, over TLS: an application with its key, tokens, and what is refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KustoConnectionStringBuilder, KustoDataErrors } from "azure-kusto-data";
import { DataFormat, IngestionProperties, StreamingIngestClient } from "azure-kusto-ingest";
import {
    application,
    applicationKey,
    closing,
    connect,
    database,
    followed,
    followerHttps,
    leader,
    leaderHttps,
    makeTable,
    rowsOf,
    streamOf,
} from "./setup.mjs";

const withKey = (url, key = applicationKey) =>
    KustoConnectionStringBuilder.withAadApplicationKeyAuthentication(url, application, key, "adfs");

// sdk_call("node", "KustoConnectionStringBuilder.withAadApplicationKeyAuthentication", "works", "http and https, with the tenant adfs")
test("an application with its key", async () => {
    for (const url of [leaderHttps, leader]) {
        const client = connect(withKey(url));
        const table = await makeTable(client);
        const ingestion = closing(new StreamingIngestClient(withKey(url)));
        const properties = new IngestionProperties({ database, table, format: DataFormat.CSV });
        await ingestion.ingestFromStream(streamOf("1,x\n"), properties);
        assert.deepEqual(await followed(table, 1), [{ a: 1, b: "x" }]);
        const who = rowsOf(await client.execute(database, "print who = current_principal()"));
        assert.match(who[0].who, new RegExp(`aadapp=${application}`));
    }
});

// sdk_call("node", "KustoAuthenticationError", "refused as documented", "a wrong key")
test("a wrong key is refused where tokens are made", async () => {
    const client = connect(withKey(followerHttps, "wrong"));
    await assert.rejects(client.execute(database, "print 1"), KustoDataErrors.KustoAuthenticationError);
});
