// What the tests share: where the clusters are, a table for each test, and waiting for the follower.

import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { after } from "node:test";
import { Client } from "azure-kusto-data";

const needed = (name) => {
    const value = process.env[name];
    if (!value) throw new Error(`the variable ${name} is not set: run these tests with scripts/test sdk`);
    return value;
};

export const leader = needed("REMORA_SDK_LEADER");
export const follower = needed("REMORA_SDK_FOLLOWER");
export const leaderHttps = needed("REMORA_SDK_LEADER_HTTPS");
export const followerHttps = needed("REMORA_SDK_FOLLOWER_HTTPS");
export const tight = needed("REMORA_SDK_TIGHT");
export const off = needed("REMORA_SDK_OFF");
export const database = needed("REMORA_SDK_DATABASE");
export const folder = needed("REMORA_SDK_FOLDER");
export const application = needed("REMORA_SDK_APPLICATION");
export const applicationKey = needed("REMORA_SDK_APPLICATION_KEY");
const patience = Number(needed("REMORA_SDK_PATIENCE_SECONDS")) * 1000;

const open = [];

/** Closes it when the tests of the file are over. */
export const closing = (client) => {
    open.push(client);
    return client;
};
after(() => open.forEach((client) => client.close()));

/** A client of a cluster, named by its address or by a builder. */
export const connect = (url) => closing(new Client(url));

const reader = connect(follower);

/** A stream of bytes; the SDKs take no other. */
export const streamOf = (data) => Readable.from([Buffer.from(data)]);

export const rowsOf = (response, number = 0) => response.primaryResults[number].toJSON().data;

/** A table of a new name on the leader, open to streaming. */
export const makeTable = async (client, schema = "a: int, b: string", where = database) => {
    const table = `T_${randomUUID().replaceAll("-", "")}`;
    await client.execute(where, `.create table ${table} (${schema})`);
    await client.execute(where, `.alter table ${table} policy streamingingestion enable`);
    return table;
};

/** What `ask` gives, as soon as `isEnough` says so of it; its error, or what it gave, in the end. */
export const eventually = async (ask, isEnough) => {
    const end = Date.now() + patience;
    let last;
    do {
        try {
            const given = await ask();
            if (isEnough(given)) return given;
            last = new Error(`after ${patience} ms there is only ${JSON.stringify(given)}`);
        } catch (error) {
            last = error;
        }
    } while (Date.now() < end);
    throw last;
};

/** The rows of a query on the follower, as soon as there are so many. */
export const followed = (query, count) =>
    eventually(
        async () => rowsOf(await reader.execute(database, query)), // the table may not be there yet
        (rows) => rows.length >= count,
    );
