// What the tests share: where the clusters are, a table for each test, and waiting for the follower.

import { randomUUID } from "node:crypto";
import { after } from "node:test";
import { Client, KustoConnectionStringBuilder } from "azure-kusto-data";

const needed = (name) => {
    const value = process.env[name];
    if (!value) throw new Error(`the variable ${name} is not set: run these tests with scripts/test sdk`);
    return value;
};

export const leader = needed("REMORA_SDK_LEADER");
export const follower = needed("REMORA_SDK_FOLLOWER");
export const database = needed("REMORA_SDK_DATABASE");
export const folder = needed("REMORA_SDK_FOLDER");
const patience = Number(needed("REMORA_SDK_PATIENCE_SECONDS")) * 1000;

const clients = [];

/** A client of a cluster, closed when the tests of the file are over. */
export const connect = (url) => {
    const client = new Client(new KustoConnectionStringBuilder(url));
    clients.push(client);
    return client;
};
after(() => clients.forEach((client) => client.close()));

export const rowsOf = (response) => response.primaryResults[0].toJSON().data;

/** A table of a new name on the leader, open to streaming. */
export const makeTable = async (client, schema) => {
    const table = `T_${randomUUID().replaceAll("-", "")}`;
    await client.execute(database, `.create table ${table} (${schema})`);
    await client.execute(database, `.alter table ${table} policy streamingingestion enable`);
    return table;
};

/** The rows of a query on the follower, as soon as there are so many. */
export const followed = async (query, count) => {
    const client = connect(follower);
    const end = Date.now() + patience;
    let last;
    do {
        try {
            const rows = rowsOf(await client.execute(database, query));
            if (rows.length >= count) return rows;
            last = new Error(`${rows.length} of ${count} rows on the follower`);
        } catch (error) {
            last = error; // the table may not be there yet
        }
    } while (Date.now() < end);
    throw last;
};
