// azure-kusto-ingest: every way in ends with rows on the follower.

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { ContainerClient } from "@azure/storage-blob";
import { KustoConnectionStringBuilder } from "azure-kusto-data";
import {
    BlobDescriptor,
    CompressionType,
    CsvColumnMapping,
    DataFormat,
    FileDescriptor,
    IngestClient,
    IngestStatusQueues,
    IngestionProperties,
    ManagedStreamingIngestClient,
    ReportLevel,
    ReportMethod,
    StreamDescriptor,
    StreamingIngestClient,
} from "azure-kusto-ingest";
import {
    closing,
    connect,
    database,
    eventually,
    folder,
    followed,
    leader,
    leaderHttps,
    makeTable,
    rowsOf,
    streamOf,
    tight,
} from "./setup.mjs";

const writer = connect(leader);
const csv = (table, more = {}) => new IngestionProperties({ database, table, format: DataFormat.CSV, ...more });
const reported = (table, more = {}) =>
    csv(table, { flushImmediately: true, reportLevel: ReportLevel.FailuresAndSuccesses, ...more });
const streaming = () => closing(new StreamingIngestClient(leader));
const managed = (url = leader) => closing(new ManagedStreamingIngestClient(url, url));
const queued = (url = leader) => closing(new IngestClient(url));
const ordered = (table) => `${table} | order by a asc`;

const batched = async () => {
    const table = await makeTable(writer);
    const policy = '{"MaximumBatchingTimeSpan": "00:00:10"}';
    await writer.execute(database, `.alter table ${table} policy ingestionbatching '${policy}'`);
    return table;
};

/** Writes a file of the test's own; its path. */
const file = async (ending, data) => {
    const path = join(folder, `${randomUUID()}.${ending}`);
    await writeFile(path, data);
    return path;
};

/** Puts a blob into the cluster's own storage; its address, with a signature. */
const upload = async (ending, data) => {
    const resources = rowsOf(await writer.execute("NetDefaultDB", ".get ingestion resources"));
    const root = resources.find((row) => row.ResourceTypeName === "TempStorage").StorageRoot;
    const blob = new ContainerClient(root).getBlockBlobClient(`${randomUUID()}.${ending}`);
    await blob.upload(data, data.length);
    return blob.url;
};

// sdk_call("node", "StreamingIngestClient.ingestFromStream", "works", "plain and gzip")
test("streaming: streams", async () => {
    const table = await makeTable(writer);
    const client = streaming();
    await client.ingestFromStream(streamOf("1,plain\n"), csv(table));
    const packed = new StreamDescriptor(streamOf(gzipSync("2,gzip\n")), null, CompressionType.GZIP);
    await client.ingestFromStream(packed, csv(table));
    assert.deepEqual(await followed(ordered(table), 2), [{ a: 1, b: "plain" }, { a: 2, b: "gzip" }]);
});

// sdk_call("node", "StreamingIngestClient.ingestFromFile", "works", "plain and gzip files")
test("streaming: files", async () => {
    const table = await makeTable(writer);
    const client = streaming();
    await client.ingestFromFile(await file("csv", "1,plain\n"), csv(table));
    await client.ingestFromFile(new FileDescriptor(await file("csv.gz", gzipSync("2,gzip\n"))), csv(table));
    assert.deepEqual(await followed(ordered(table), 2), [{ a: 1, b: "plain" }, { a: 2, b: "gzip" }]);
});

// sdk_call("node", "StreamingIngestClient.ingestFromBlob", "works", "of the own storage")
test("streaming: blobs", async () => {
    const table = await makeTable(writer);
    const client = streaming();
    await client.ingestFromBlob(await upload("csv", "1,blob\n"), csv(table));
    await client.ingestFromBlob(new BlobDescriptor(await upload("csv.gz", gzipSync("2,gzip\n"))), csv(table));
    assert.deepEqual(await followed(ordered(table), 2), [{ a: 1, b: "blob" }, { a: 2, b: "gzip" }]);
});

// sdk_call("node", "IngestionProperties", "works", "formats of streaming, a mapping by its name")
test("streaming: formats, and a mapping by its name", async () => {
    const table = await makeTable(writer);
    const mapping = '[{"column": "a", "Properties": {"Path": "$.x"}}, {"column": "b", "Properties": {"Path": "$.y"}}]';
    await writer.execute(database, `.create table ${table} ingestion json mapping "M" '${mapping}'`);
    const client = streaming();
    for (const [format, data] of [
        [DataFormat.CSV, "1,csv\n"],
        [DataFormat.TSV, "2\ttsv\n"],
        [DataFormat.PSV, "3|psv\n"],
        [DataFormat.SCSV, "4;scsv\n"],
        [DataFormat.JSON, '{"a": 5, "b": "json"}\n'],
        [DataFormat.MULTIJSON, '[{"a": 6,\n"b": "multijson"}]'],
    ]) {
        await client.ingestFromStream(streamOf(data), csv(table, { format }));
    }
    const mapped = csv(table, { format: DataFormat.JSON, ingestionMappingReference: "M" });
    await client.ingestFromStream(streamOf('{"x": 7, "y": "mapped"}'), mapped);
    const rows = await followed(ordered(table), 7);
    assert.deepEqual(rows.map((row) => row.b), ["csv", "tsv", "psv", "scsv", "json", "multijson", "mapped"]);
});

// sdk_call("node", "ManagedStreamingIngestClient.ingestFromStream", "works", "by streaming")
// sdk_call("node", "ManagedStreamingIngestClient.ingestFromFile", "works")
// sdk_call("node", "ManagedStreamingIngestClient.ingestFromBlob", "works", "by streaming")
test("managed: streams, files and blobs", async () => {
    const table = await makeTable(writer);
    const client = managed();
    await client.ingestFromStream(streamOf("1,stream\n"), csv(table));
    await client.ingestFromFile(await file("csv", "2,file\n"), csv(table));
    await client.ingestFromBlob(await upload("csv", "3,blob\n"), csv(table));
    // Rows of queued ingestion would come in extents, after seconds.
    const shown = `${table} | order by a asc | project a, b`;
    assert.deepEqual(await followed(shown, 3), [{ a: 1, b: "stream" }, { a: 2, b: "file" }, { a: 3, b: "blob" }]);
    assert.deepEqual(rowsOf(await writer.execute(database, `.show table ${table} extents | count`)), [{ Count: 0 }]);
});

// sdk_call("node", "ManagedStreamingIngestClient.ingestFromStream", "works", "queued over 4 MiB")
test("managed: what is too large is queued", async () => {
    const table = await batched();
    const text = randomBytes(3 << 20).toString("hex");
    const rows = text.match(/.{1,65536}/g).map((part) => `1,${part}\n`);
    // A stream of many pieces: the SDK waits for ever for the end of one that comes whole.
    const stream = createReadStream(await file("csv", rows.join("")));
    await managed().ingestFromStream(stream, csv(table, { flushImmediately: true }));
    const sums = `${table} | summarize n = count(), size = sum(strlen(b)) | where n > 0`;
    assert.deepEqual(await followed(sums, 1), [{ n: rows.length, size: text.length }]);
});

// sdk_call("node", "ManagedStreamingIngestClient.ingestFromStream", "works", "queued after 3 failures")
test("managed: what fails three times is queued", async () => {
    // The row store of this cluster has no room for it, and says that it is for now.
    const client = connect(tight);
    const table = await makeTable(client, "a: string", "NetDefaultDB");
    const properties = csv(table, { database: "NetDefaultDB", format: DataFormat.TXT, flushImmediately: true });
    await managed(tight).ingestFromStream(streamOf(randomBytes(50_000).toString("hex")), properties);
    const ask = async () => rowsOf(await client.execute("NetDefaultDB", `${table} | count`));
    await eventually(ask, ([row]) => row.Count === 1);
});

// sdk_call("node", "IngestClient.ingestFromStream", "works", "flushed or batched")
// sdk_call("node", "IngestClient.ingestFromFile", "works", "plain and gzip files")
// sdk_call("node", "IngestClient.ingestFromBlob", "works", "of the own storage")
test("queued: streams, files and blobs", async () => {
    const table = await batched();
    const client = queued();
    const results = [
        await client.ingestFromStream(streamOf("1,stream\n"), reported(table, { reportMethod: ReportMethod.Queue })),
        await client.ingestFromFile(await file("csv", "2,file\n"), csv(table, { flushImmediately: true })),
        await client.ingestFromFile(await file("csv.gz", gzipSync("3,gzip\n")), csv(table, { flushImmediately: true })),
        await client.ingestFromBlob(await upload("csv", "4,blob\n"), csv(table)),
    ];
    for (const result of results) assert.equal((await result.getIngestionStatusCollection()).Status, "Queued");
    const rows = await followed(ordered(table), 4);
    assert.deepEqual(rows.map((row) => row.b), ["stream", "file", "gzip", "blob"]);
});

// sdk_call("node", "IngestionProperties", "works", "queued: inline mappings, tags, ingest-if-not-exists")
test("queued: everything a message can say", async () => {
    const table = await batched();
    const properties = csv(table, {
        flushImmediately: true,
        ingestionMappingColumns: [CsvColumnMapping.withOrdinal("a", 1), CsvColumnMapping.withOrdinal("b", 0)],
        ignoreFirstRecord: true,
        additionalTags: ["mine"],
        dropByTags: ["today"],
        ingestByTags: ["once"],
        ingestIfNotExists: ["once"],
    });
    await queued().ingestFromStream(streamOf("b,a\nmapped,1\n"), properties);
    const rows = await followed(`${table} | extend tags = tostring(extent_tags())`, 1);
    assert.deepEqual(rows.map((row) => [row.a, row.b]), [[1, "mapped"]]);
    assert.match(rows[0].tags, /drop-by:today/);
});

// sdk_call("node", "IngestStatusQueues", "works", "successes and failures")
test("queued: what is told in queues", async () => {
    const table = await batched();
    const client = queued();
    const queues = new IngestStatusQueues(client);
    const inQueue = { reportMethod: ReportMethod.Queue };
    const mapped = { format: DataFormat.JSON, ingestionMappingReference: "Nowhere", ...inQueue };
    await client.ingestFromStream(streamOf("1,x\n"), reported(table, inQueue));
    await client.ingestFromStream(streamOf("{}"), reported(table, mapped));
    const about = async (queue) => (await queue.pop(8)).filter((message) => message.Table === table);
    const [success] = await eventually(() => about(queues.success), (found) => found.length === 1);
    assert.equal(success.Database, database);
    const [failure] = await eventually(() => about(queues.failure), (found) => found.length === 1);
    assert.equal(failure.ErrorCode, "BadRequest_MappingReferenceWasNotFound");
    assert.equal(failure.FailureStatus, "Permanent");
    assert.deepEqual(await followed(table, 1), [{ a: 1, b: "x" }]);
});

// sdk_call("node", "IngestionResult", "works", "the status table, over https")
test("queued: what is told in the status table", async () => {
    const table = await batched();
    const client = queued(leaderHttps);
    const inTable = { reportMethod: ReportMethod.Table };
    const mapped = { format: DataFormat.JSON, ingestionMappingReference: "Nowhere", ...inTable };
    const good = await client.ingestFromStream(streamOf("1,x\n"), reported(table, inTable));
    const bad = await client.ingestFromStream(streamOf("{}"), reported(table, mapped));
    const ended = (result) =>
        eventually(() => result.getIngestionStatusCollection(), (status) => status.Status !== "Pending");
    assert.equal((await ended(good)).Status, "Succeeded");
    const status = await ended(bad);
    assert.deepEqual([status.Status, status.FailureStatus], ["Failed", "Permanent"]);
    assert.equal(status.ErrorCode, "BadRequest_MappingReferenceWasNotFound");
    assert.deepEqual(await followed(table, 1), [{ a: 1, b: "x" }]);
});

// sdk_call("node", "ManagedStreamingIngestClient.fromEngineConnectionString", "works", "over http")
test("managed: made from the engine's connection string", async () => {
    const table = await makeTable(writer);
    const builder = new KustoConnectionStringBuilder(leader);
    const client = closing(ManagedStreamingIngestClient.fromEngineConnectionString(builder));
    await client.ingestFromStream(streamOf("1,x\n"), csv(table));
    assert.deepEqual(await followed(table, 1), [{ a: 1, b: "x" }]);
});

// sdk_call("node", "ManagedStreamingIngestClient.fromDmConnectionString", "not supported", "it insists on https://ingest-: give both addresses to the constructor, or resolve the service's names")
test("managed: made from the other connection string, which must have the service's form", () => {
    const builder = new KustoConnectionStringBuilder(leaderHttps);
    assert.throws(() => ManagedStreamingIngestClient.fromDmConnectionString(builder), /must include the prefix/);
});
