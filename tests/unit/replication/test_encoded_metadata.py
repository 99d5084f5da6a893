"""Metadata is encoded once for all followers, in small steps, and what is kept has a bound."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.changes import CreateTable, DropTable
from cluster.catalog.codec import TABLES_A_STEP, encode_database
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
    Version,
)
from cluster.gateway.metadata import EncodedMetadata
from cluster.limits import LIMITS
from cluster.replication.protocol import MetadataDelta, Snapshot
from cluster.replication.wire import leader_frame_to_messages

COLUMNS = (Column("x", ScalarType.LONG),)


def tree(tables):
    names = [f"T{number}" for number in range(tables)]
    return Database(
        "db",
        "id",
        Version(1, 3),
        {
            name: Table(
                name,
                f"id of {name}",
                (RowStoreReference(0, RowStoreKey(number + 1)),),
                (COLUMNS,),
                ((0,),),
            )
            for number, name in enumerate(names)
        },
    )


def delta(number=3):
    change = CreateTable("New", "id", RowStoreKey(99), COLUMNS)
    return MetadataDelta(Version(1, number), Version(1, number + 1), (change,))


async def sent(encoded, frame):
    async with encoded.messages(frame) as messages:
        return messages


async def test_messages_are_those_of_the_frame(autojump_clock):
    encoded = EncodedMetadata(LIMITS)
    for frame in (Snapshot(tree(3), True), Snapshot(tree(3), False), delta()):
        assert await sent(encoded, frame) == leader_frame_to_messages(frame)


async def test_the_same_tree_and_the_same_changes_are_encoded_once(autojump_clock):
    encoded, database, changed = EncodedMetadata(LIMITS), tree(2), delta()
    first = await sent(encoded, Snapshot(database, True))
    assert await sent(encoded, Snapshot(database, True)) is first
    again = MetadataDelta(changed.from_version, changed.to_version, changed.changes)
    assert await sent(encoded, changed) is await sent(encoded, again)
    assert encoded.encoded_total == 2
    await sent(encoded, Snapshot(database, False))
    await sent(encoded, Snapshot(tree(2), True))
    assert encoded.encoded_total == 4


async def test_whoever_comes_while_it_is_encoded_waits_for_that(autojump_clock):
    encoded, frame = EncodedMetadata(LIMITS), Snapshot(tree(3 * TABLES_A_STEP), True)
    got = []

    async def follower():
        got.append(await sent(encoded, frame))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(follower)
    assert encoded.encoded_total == 1
    assert all(messages is got[0] for messages in got)


async def test_others_run_while_a_large_tree_is_encoded(autojump_clock):
    encoded, steps = EncodedMetadata(LIMITS), 10
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        before = turns
        await sent(encoded, Snapshot(tree(steps * TABLES_A_STEP), True))
        assert turns - before >= steps - 1
        nursery.cancel_scope.cancel()


async def test_a_call_that_ends_while_it_encodes_leaves_it_to_the_next(autojump_clock):
    encoded, frame = EncodedMetadata(LIMITS), Snapshot(tree(50 * TABLES_A_STEP), True)
    got = []

    async def follower(scope):
        with scope:
            got.append(await sent(encoded, frame))

    first = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower, first)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        nursery.start_soon(follower, trio.CancelScope())
        await trio.lowlevel.checkpoint()
        first.cancel()
    assert got == [leader_frame_to_messages(frame)]


@pytest.mark.parametrize(("spare", "kept"), [(-1, 1), (0, 2), (1, 2)])
async def test_what_is_kept_has_a_bound(autojump_clock, spare, kept):
    first, second = Snapshot(tree(5), True), Snapshot(tree(9), True)
    sizes = [message.ByteSize() for f in (first, second) for message in leader_frame_to_messages(f)]
    limits = replace(LIMITS, replication_encoded_bytes=sum(sizes) + spare)
    encoded = EncodedMetadata(limits)
    await sent(encoded, first)
    await sent(encoded, second)
    assert encoded.kept_bytes == sum(sizes[-kept:])
    await sent(encoded, second)
    await sent(encoded, first)
    assert encoded.encoded_total == (3 if kept == 1 else 2), "the newest is kept"


async def test_what_is_being_sent_is_shared_whatever_the_bound(autojump_clock):
    encoded = EncodedMetadata(replace(LIMITS, replication_encoded_bytes=1))
    frame, release = Snapshot(tree(2), True), trio.Event()

    async def slow():
        async with encoded.messages(frame):
            await release.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(slow)
        await wait_all_tasks_blocked()
        assert encoded.encoded_total == 1
        assert encoded.kept_bytes > 1
        release.set()
    assert encoded.kept_bytes == 0


async def test_without_calls_nothing_is_kept(autojump_clock):
    encoded, database = EncodedMetadata(LIMITS), tree(2)
    rooted = encoded.rooted(database, "file:///data")
    assert rooted.storage_root == "file:///data"
    assert encode_database(rooted) != encode_database(database)
    assert encoded.rooted(database, "file:///data") is rooted
    assert encoded.rooted(database, "file:///moved").storage_root == "file:///moved"
    newer = replace(database, version=Version(1, 4))
    assert encoded.rooted(newer, "file:///moved").version == Version(1, 4)
    await sent(encoded, Snapshot(database, True))
    encoded.clear()
    assert encoded.kept_bytes == 0


async def test_changes_that_are_equal_but_not_the_same_are_told_apart(autojump_clock):
    encoded = EncodedMetadata(LIMITS)
    first = MetadataDelta(Version(1, 1), Version(1, 2), (DropTable("T", 5),))
    second = MetadataDelta(Version(1, 7), Version(1, 8), first.changes)
    for frame in (first, second):
        assert await sent(encoded, frame) == leader_frame_to_messages(frame)
