"""Every crash point of queued ingestion, and messages that come again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from queued_world import Node, message, process

from cluster.errors import (
    InternalError,
    MalformedPayloadError,
    StorageFullError,
    UnavailableError,
)
from cluster.limits import LIMITS
from cluster.queued.values import SUCCESSES

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock


async def test_a_message_that_is_sent_again_is_queued_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with process(tmp_path, Node()) as world:
        text = message(await world.upload("a"), "a")
        for seconds in (0, 2, 2):
            assert (await world.put_message(text)).status == 201
            await trio.sleep(seconds)
        assert world.node.arrived == ["a"]
        assert world.service.statistics().duplicates == 2


@pytest.mark.parametrize("seconds", [0, 2])
async def test_one_source_id_may_be_of_several_blobs(
    autojump_clock: MockClock, tmp_path: Path, seconds: float
) -> None:
    """A descriptor used twice: what is queued the second time is no repetition."""
    async with process(tmp_path, Node()) as world:
        for name in "ab":
            text = message(await world.upload(name), "one id")
            assert (await world.put_message(text)).status == 201
            await trio.sleep(seconds)
        await trio.sleep(2)
        assert world.node.arrived == ["a", "b"]
        assert world.service.statistics().duplicates == 0


async def test_a_blob_that_was_put_again_is_another_one(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whoever writes messages by hand may give two of them the same text."""
    async with process(tmp_path, Node()) as world:
        text = message(await world.upload("a"), "a")
        await world.put_message(text)
        await trio.sleep(2)
        await world.upload("a", b"2\n")
        await world.put_message(text)
        await world.put_message(text)
        await trio.sleep(2)
        assert world.node.arrived == ["a", "a"]
        assert world.service.statistics().duplicates == 1


async def test_a_source_that_failed_may_be_queued_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node(plan=[MalformedPayloadError("bad")])
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep(2)
        await world.queue("a")
        await trio.sleep(2)
        assert node.arrived == ["a"]


async def test_killed_while_it_waits(autojump_clock: MockClock, tmp_path: Path) -> None:
    node = Node()
    async with process(tmp_path, node) as world:
        await world.queue("a")
    async with process(tmp_path, node) as world:
        await trio.sleep(2)
        assert node.arrived == ["a"]


async def test_killed_before_the_commit(autojump_clock: MockClock, tmp_path: Path) -> None:
    node = Node(plan=["before"])
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep_forever()
    assert node.arrived == []
    async with process(tmp_path, node) as world:
        await trio.sleep(2)
        assert node.arrived == ["a"]
        assert len(await world.reports(SUCCESSES)) == 1


async def test_killed_between_commit_and_the_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    node = Node(plan=["after"])
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep_forever()
    assert node.arrived == ["a"]
    async with process(tmp_path, node) as world:
        assert world.service.statistics().waiting == 0
        await trio.sleep(600)
        assert node.arrived == ["a"]
        (success,) = await world.reports(SUCCESSES)
        assert success["IngestionSourceId"] == "a"
    async with process(tmp_path, node) as world:
        assert len(await world.reports(SUCCESSES)) == 1


async def test_killed_in_one_half_of_a_batch(autojump_clock: MockClock, tmp_path: Path) -> None:
    bad = MalformedPayloadError("bad")
    node = Node(plan=[bad, "after"])
    async with process(tmp_path, node) as world:
        for name in "abcd":
            await world.queue(name)
        await trio.sleep_forever()
    assert node.arrived == ["a", "b"]
    async with process(tmp_path, node) as world:
        await trio.sleep(2)
        assert node.arrived == ["a", "b", "c", "d"]
        assert world.service.store.attempts() == []


async def test_killed_again_and_again_by_one_message(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    limits = replace(LIMITS, queued_attempts=3)
    node = Node(plan=["before"] * 3)
    async with process(tmp_path, node, limits=limits) as world:
        await world.queue("a")
        await trio.sleep_forever()
    for _ in range(2):
        async with process(tmp_path, node, limits=limits):
            await trio.sleep_forever()
    async with process(tmp_path, node, limits=limits) as world:
        await trio.sleep(2)
        assert world.failures() == [("T", "General_RetryAttemptsExceeded")]
        assert node.arrived == []


async def test_a_commit_that_raised_all_the_same_is_found(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node()

    async def sources(request, sources):
        node.commit(request.database, request.text)
        node.stored.append(tuple(source.name for source in sources))
        raise UnavailableError("the answer was lost")

    node.sources = sources
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep(600)
        assert node.arrived == ["a"]
        assert len(await world.reports(SUCCESSES)) == 1


async def test_a_journal_that_does_not_go_back_is_a_failure_not_a_guess(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node(plan=["after"])
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep_forever()
    node.commit("D", "other")
    del node.deltas["D"][0]
    async with process(tmp_path, node) as world:
        await trio.sleep(2)
        assert node.arrived == ["a"]
        assert world.failures() == [("T", "General_InternalServerError")]


async def test_the_end_of_a_message_is_written_however_long_it_takes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node()
    async with process(tmp_path, node) as world:
        store = world.service.store
        finish, refusals = store.finish, [InternalError("x"), UnavailableError("x")]

        def failing(*args, **kwargs):
            if refusals:
                raise refusals.pop()
            finish(*args, **kwargs)

        store.finish = failing
        await world.queue("a")
        await trio.sleep(10)
        assert node.arrived == ["a"]
        assert len(await world.reports(SUCCESSES)) == 1


@pytest.mark.parametrize("step", ["begin", "abandon"])
async def test_a_step_of_an_attempt_that_cannot_be_written_is_tried_again(
    autojump_clock: MockClock, tmp_path: Path, step: str
) -> None:
    """A disk that is full for a while: messages wait for room, not for the next start."""
    node = Node(bad={"b"}, bad_error=MalformedPayloadError("bad"))
    async with process(tmp_path, node) as world:
        store = world.service.store
        inner, refusals = getattr(store, step), [StorageFullError("full")] * 3

        def failing(*args, **kwargs):
            if refusals:
                raise refusals.pop()
            return inner(*args, **kwargs)

        setattr(store, step, failing)
        for name in "abc":
            await world.queue(name)
        await trio.sleep(60)
        assert node.arrived == ["a", "c"]
        assert world.failures() == [("T", "BadRequest_NoRecordsOrWrongFormat")]
        assert world.service.statistics().waiting == 0


@pytest.mark.parametrize("error", [StorageFullError("full"), PermissionError("not yours")])
async def test_a_sweep_that_fails_is_not_the_end_of_the_node(
    autojump_clock: MockClock, tmp_path: Path, error: Exception
) -> None:
    node = Node()
    async with process(tmp_path, node) as world:

        def failing(**_: object) -> None:
            raise error

        world.service.store.sweep = failing
        await trio.sleep(120)
        await world.queue("a")
        await trio.sleep(5)
        assert node.arrived == ["a"]


async def test_a_defect_that_one_blob_brings_out_hurts_no_other(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node()
    async with process(tmp_path, node) as world:
        inner = world.service.storage.source

        async def source(blob, shown):
            if blob[1] == "b":
                raise ZeroDivisionError("https://host/blob?sig=secret")
            return await inner(blob, shown)

        world.service.storage.source = source
        for name in "abc":
            await world.queue(name)
        await trio.sleep(5)
        assert node.arrived == ["a", "c"]
        ((failure,),) = [tuple(world.history.ingestion_failures())]
        assert failure.error_code == "General_InternalServerError"
        assert "secret" not in failure.details
        assert world.service.statistics().waiting == 0


async def test_what_a_later_attempt_has_committed_is_no_guess(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The journal goes back to the attempt that did, not to the one before it that did not."""
    node = Node(plan=[UnavailableError("not now"), "after"])
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep(2)
        node.commit("D", "other")
        del node.deltas["D"][0]
        await trio.sleep_forever()
    async with process(tmp_path, node) as world:
        assert node.arrived == ["a"]
        assert world.failures() == []
        assert len(await world.reports(SUCCESSES)) == 1


async def test_no_more_messages_than_the_limit_wait(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    limits = replace(LIMITS, storage_messages=2)
    async with process(tmp_path, Node(), limits=limits) as world:
        statuses = [(await world.queue(name, flush=False)).status for name in "abc"]
        assert statuses == [201, 201, 503]


async def test_two_batches_at_most_are_ingested_at_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node()
    running = most = 0
    inner = node.sources

    async def sources(request, sources):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        return await inner(request, sources)

    node.sources = sources
    async with process(tmp_path, node) as world:
        for name in "abcde":
            await world.queue(name, extra={"tags": [name]})
        await trio.sleep(20)
        assert most == LIMITS.queued_batches
        assert sorted(node.arrived) == list("abcde")
