"""A storage account that refuses, answers late or tells another time: no message hurts others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from account_world import FakeAccount, account_process
from queued_world import Node

from cluster.errors import AccountRefusedError, MalformedPayloadError, UnavailableError
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from cluster.batch.download import LocalSource
    from cluster.queued.values import OwnBlob


async def test_a_message_that_repeats_one_about_a_blob_nobody_may_name_stops_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The account refuses the name: there is no such blob, now or when it was sent first."""
    account, node = FakeAccount(), Node(bad={"x" * 2000}, bad_error=MalformedPayloadError("bad"))
    async with account_process(tmp_path, node, account) as world:
        text = account.send("x" * 2000, Id="a", RawDataSize=1)
        await trio.sleep(5)
        account.plan["look"] = [AccountRefusedError("400 InvalidUri")]
        account.put(text)
        account.send("b", RawDataSize=1)
        await trio.sleep(5)
        assert node.arrived == ["b"]
        assert account.queue == {}
        assert world.service.statistics().trouble == ""


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (AccountRefusedError("400 InvalidUri"), "BadRequest_InvalidBlobUri"),
        ("gone", "Download_SourceNotFound"),
    ],
)
async def test_a_blob_that_cannot_be_read_while_the_account_answers_hurts_no_other(
    autojump_clock: MockClock, tmp_path: Path, look: Exception | str, code: str
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account) as world:
        account.plan["download"] = [UnavailableError("GenericError")]
        account.plan["look"] = [look]
        account.send("a", RawDataSize=1)
        account.send("b", RawDataSize=1)
        if look == "gone":
            account.blobs.clear()
        await trio.sleep(1)
        account.upload("b")
        await trio.sleep(30)
        assert world.failures() == [("T", code)]
        assert node.arrived == ["b"]
        assert account.queue == {}


async def test_a_blob_that_is_there_and_never_given_is_tried_so_often_and_keeps_no_other(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """GET of an archived blob is refused, and HEAD is not."""

    class Archived(FakeAccount):
        async def download(self, blob: OwnBlob, shown: str) -> LocalSource:
            if blob[1] == "a":
                self.calls.append("archived")
                raise UnavailableError("Source a could not be read (GenericError).")
            return await super().download(blob, shown)

    account, node = Archived(), Node()
    async with account_process(tmp_path, node, account) as world:
        account.send("a", RawDataSize=1)
        account.send("b", RawDataSize=1)
        await trio.sleep(30)
        assert node.arrived == ["b"]
        assert world.failures() == []
        await trio.sleep(3600)
        assert account.calls.count("archived") == LIMITS.queued_attempts
        assert world.failures() == [("T", "General_RetryAttemptsExceeded")]
        assert node.arrived == ["b"]
        assert account.queue == {}
        assert world.service.statistics().trouble == ""


async def test_attempts_at_a_blob_that_is_not_given_are_counted_over_restarts(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    account.plan["download"] = [UnavailableError("GenericError")] * 100
    for _ in range(2):
        async with account_process(tmp_path, node, account):
            if not account.queue:
                account.send("a", RawDataSize=1)
            await trio.sleep(10)
    before = account.calls.count("download")
    assert 2 < before < LIMITS.queued_attempts
    async with account_process(tmp_path, node, account) as world:
        await trio.sleep(3600)
        assert world.failures() == [("T", "General_RetryAttemptsExceeded")]
    assert account.calls.count("download") == LIMITS.queued_attempts


@pytest.mark.parametrize("seconds", [0, 2, 10])
async def test_the_same_text_is_the_same_ingestion_whatever_the_clock_of_the_account(
    autojump_clock: MockClock, tmp_path: Path, seconds: int
) -> None:
    account, node = FakeAccount(ahead_seconds=seconds), Node()
    async with account_process(tmp_path, node, account) as world:
        text = account.send("a")
        await trio.sleep(5)
        account.put(text)
        await trio.sleep(20)
        assert node.arrived == ["a"]
        assert account.queue == {}
        assert world.service.statistics().duplicates == 1


async def test_a_node_ends_while_the_account_does_not_answer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account) as world:
        for name in "abc":
            account.send(name, flush=False)

        async def look(blob: object) -> None:
            await trio.sleep(15)

        account.look = look  # type: ignore[assignment,method-assign]
        await trio.sleep(5)
        assert world.service.statistics().waiting == 3
        ends_at = trio.current_time()
    assert trio.current_time() - ends_at < 1
    async with account_process(tmp_path, node, FakeAccount()) as world:
        assert world.service.statistics().waiting == 3


async def test_an_old_blob_that_may_not_be_deleted_keeps_no_other(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account = FakeAccount(plan={"delete": [AccountRefusedError("412 LeaseIdMissing")]})
    for name in "abc":
        account.upload(name)
    await trio.sleep(LIMITS.storage_blob_seconds + 60)
    async with account_process(tmp_path, Node(), account):
        await trio.sleep(300)
        assert [name for _, name in account.blobs] == ["a"]
        await trio.sleep(4000)
        assert account.blobs == {}
