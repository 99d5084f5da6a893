"""Queued ingestion with a storage account: each message once, whatever happens on either side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from account_world import ACCOUNT, NAMES, FakeAccount, account_process
from queued_world import Node, message, process

from cluster.errors import MalformedPayloadError, UnavailableError
from cluster.limits import LIMITS
from cluster.queued.account.addresses import AccountAddresses
from cluster.queued.addresses import StorageKind
from cluster.queued.values import FAILURES, READY, SUCCESSES, UPLOADS
from cluster.request import Caller, ClientRequest

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

AWAY = UnavailableError("http://127.0.0.1:10001 cannot be reached")
HIDDEN = LIMITS.queued_visibility_seconds


async def test_a_message_is_ingested_told_and_deleted(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account) as world:
        account.send(
            "a", ReportMethod=2, IngestionStatusInTable={"PartitionKey": "p", "RowKey": "r"}
        )
        await trio.sleep(5)
        assert node.arrived == ["a"]
        ((queue, report),) = account.reports
        assert (queue, report["IngestionSourceId"]) == (SUCCESSES, "a")
        assert account.rows["p", "r"]["Status"] == "Succeeded"
        assert account.queue == {}
        assert await world.reports(SUCCESSES) == []
        assert world.service.statistics().trouble == ""


async def test_a_message_is_deleted_only_after_its_rows_are_durable(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node(plan=[UnavailableError("not now")])
    async with account_process(tmp_path, node, account):
        account.send("a")
        await trio.sleep(2)
        assert len(node.requests) == 1
        assert len(account.queue) == 1
        await trio.sleep(5)
        assert node.arrived == ["a"]
        assert account.queue == {}


@pytest.mark.parametrize("kill", ["before", "after"])
async def test_killed_around_the_commit(
    autojump_clock: MockClock, tmp_path: Path, kill: str
) -> None:
    account, node = FakeAccount(), Node(plan=[kill])
    async with account_process(tmp_path, node, account):
        account.send("a")
        await trio.sleep(5)
    assert len(account.queue) == 1
    async with account_process(tmp_path, node, account):
        await trio.sleep(2 * HIDDEN)
        assert node.arrived == ["a"]
        assert account.queue == {}
        assert [queue for queue, _ in account.reports] == [SUCCESSES]


async def test_killed_after_messages_were_taken_and_before_they_were_written(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(plan={"take": ["lost"]}), Node()
    account.send("a")
    async with account_process(tmp_path, node, account):
        await trio.sleep(HIDDEN - 5)
        assert node.arrived == []  # nobody knows it; it is hidden
        await trio.sleep(10)
        assert node.arrived == ["a"]
        assert account.queue == {}


async def test_a_message_that_waits_for_long_is_hidden_for_longer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    node.set_policy("T", {"MaximumBatchingTimeSpan": "00:10:00"})
    async with account_process(tmp_path, node, account) as world:
        account.send("a", flush=False)
        await trio.sleep(500)
        (item,) = account.queue.values()
        assert item.dequeued == 3  # not once every half a minute
        await trio.sleep(120)
        assert node.arrived == ["a"]
        assert account.queue == {}
        assert world.service.statistics().duplicates == 0


async def test_a_start_finds_what_waits_and_deletes_it_with_a_receipt_of_before(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account):
        account.send("a")
        await trio.sleep(1)
    async with account_process(tmp_path, node, account):
        await trio.sleep(5)
        assert node.arrived == ["a"]
        assert account.queue == {}


async def test_the_answer_to_a_deletion_is_lost(autojump_clock: MockClock, tmp_path: Path) -> None:
    account, node = FakeAccount(plan={"remove": ["lost"]}), Node()
    async with account_process(tmp_path, node, account):
        account.send("a")
        await trio.sleep(HIDDEN * 3)
        assert node.arrived == ["a"]
        assert account.queue == {}
        assert account.calls.count("remove") == 2


async def test_a_receipt_that_is_stale_is_renewed_by_seeing_the_message_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account) as world:
        account.send("a")
        await trio.sleep(1)
        (item,) = account.queue.values()
        item.receipt = "somebody else has taken it"
        await trio.sleep(HIDDEN * 2)
        assert node.arrived == ["a"]
        assert account.queue == {}
        assert world.service.statistics().waiting == 0


async def test_the_answer_to_hiding_is_lost(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The receipt that is known is stale: it can be deleted when it is seen again."""
    account, node = FakeAccount(plan={"hide": ["lost"]}), Node()
    node.set_policy("T", {"MaximumBatchingTimeSpan": "00:01:00"})
    async with account_process(tmp_path, node, account):
        account.send("a", flush=False)
        await trio.sleep(61)
        assert node.arrived == ["a"]
        assert len(account.queue) == 1
        await trio.sleep(11 * HIDDEN)
        assert node.arrived == ["a"]
        assert account.queue == {}


async def test_the_same_text_again_is_the_same_ingestion(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account) as world:
        text = account.send("a")
        account.put(text)
        await trio.sleep(5)
        account.put(text)
        await trio.sleep(5)
        assert node.arrived == ["a"]
        assert account.queue == {}
        assert world.service.statistics().duplicates == 2
        account.upload("a")  # another blob of that name
        account.put(text)
        await trio.sleep(5)
        assert node.arrived == ["a", "a"]


async def test_the_end_is_known_for_long_after_the_message_is_gone(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """An account that brings a message back, as one restored from a copy does."""
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account):
        account.send("a", Id="")
        ((message_id, item),) = account.queue.items()
        await trio.sleep(5)
        account.queue[message_id] = replace(item, visible_ns=0)
        await trio.sleep(5)
        assert node.arrived == ["a"]
        assert account.queue == {}


async def test_what_is_no_message_is_deleted_and_does_not_hurt_others(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node(bad={"b"}, bad_error=MalformedPayloadError("bad"))
    async with account_process(tmp_path, node, account) as world:
        account.put("not a message")
        for name in "abc":
            account.send(name)
        await trio.sleep(10)
        assert sorted(node.arrived) == ["a", "c"]
        assert account.queue == {}
        ((_, failure),) = [item for item in account.reports if item[0] == FAILURES]
        assert failure["IngestionSourceId"] == "b"
        assert world.failures() == [
            ("", "BadRequest_CorruptedMessage"),
            ("T", "BadRequest_NoRecordsOrWrongFormat"),
        ]


async def test_an_account_that_is_away_is_no_attempt(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account) as world:
        account.send("a")
        await trio.sleep(1.2)
        account.away = AWAY
        await trio.sleep(3600)  # more than queued_attempts would take
        assert "cannot be reached" in world.service.statistics().trouble
        assert node.requests == []
        assert world.service.statistics().waiting == 1
        account.away = None
        await trio.sleep(120)
        assert node.arrived == ["a"]
        assert account.queue == {}
        assert world.service.statistics().trouble == ""


async def test_outcomes_wait_for_the_account(autojump_clock: MockClock, tmp_path: Path) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account):
        account.plan["report"] = [AWAY, AWAY]
        account.send("a")
        await trio.sleep(3)
        assert node.arrived == ["a"]
        assert account.reports == []
    async with account_process(tmp_path, node, account):
        await trio.sleep(60)
        assert len(account.reports) == 1
        assert account.queue == {}


async def test_a_start_does_not_wait_for_the_account(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account):
        account.send("a", flush=False, RawDataSize=0)
        await trio.sleep(3)
    account.away = AWAY
    account.calls.clear()
    async with account_process(tmp_path, node, account) as world:
        assert "look" not in account.calls
        assert world.service.statistics().waiting == 1


async def test_a_row_that_the_account_refuses_does_not_stop_the_others(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account) as world:
        for row in ("a/b", "c"):
            place = {"PartitionKey": "p", "RowKey": row}
            account.send(row[0], ReportMethod=1, IngestionStatusInTable=place)
        await trio.sleep(5)
        assert list(account.rows) == [("p", "c")]
        assert account.queue == {}
        assert world.service.statistics().trouble == ""


async def test_no_more_is_taken_than_may_wait(autojump_clock: MockClock, tmp_path: Path) -> None:
    limits = replace(LIMITS, storage_messages=3)
    account, node = FakeAccount(), Node()
    node.set_policy("T", {"MaximumBatchingTimeSpan": "00:01:00"})
    async with account_process(tmp_path, node, account, limits=limits) as world:
        for name in "abcd":
            account.send(name, flush=False)
        await trio.sleep(10)
        assert world.service.statistics().waiting == 3
        await trio.sleep(130)
        assert sorted(node.arrived) == ["a", "b", "c", "d"]
        assert account.queue == {}


async def test_blobs_that_are_not_to_be_kept_are_deleted(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with account_process(tmp_path, node, account):
        account.send("a", RetainBlobOnSuccess=False)
        account.send("b")
        await trio.sleep(5)
        assert [name for _, name in account.blobs] == ["b"]


async def test_old_blobs_go_when_no_message_is_there(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    old = account.upload("old")
    text = message(account.upload("waits"), "waits", flush=False)
    node.set_policy("T", {"MaximumBatchingTimeSpan": "00:30:00"})
    await trio.sleep(LIMITS.storage_blob_seconds + 60)
    account.put(text)
    async with account_process(tmp_path, node, account) as world:
        await trio.sleep(1200)
        assert len(account.blobs) == 2  # a message waits: who knows what about
        await trio.sleep(7200)
        assert node.arrived == ["waits"]
        assert account.blobs == {}
        assert world.service.storage.own(old, 0) == (NAMES.containers[UPLOADS], "old")


async def test_what_the_node_had_taken_itself_is_ingested_with_an_account_too(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account, node = FakeAccount(), Node()
    async with process(tmp_path, node) as world:
        await world.queue("a")
    async with account_process(tmp_path, node, account) as world:
        await trio.sleep(5)
        assert node.arrived == ["a"]
        assert [queue for queue, _ in account.reports] == [SUCCESSES]


async def test_a_node_that_has_started_can_be_uploaded_to(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account = FakeAccount()
    async with account_process(tmp_path, Node(), account) as world:
        assert account.calls[0] == "prepare"
        assert world.service.storage.trouble() == ""


async def test_addresses_are_refused_while_the_account_is_away(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account = FakeAccount(away=AWAY)
    async with account_process(tmp_path, Node(), account) as world:
        addresses = AccountAddresses(ACCOUNT, NAMES, world.service.storage.trouble)
        asked = (ClientRequest(Caller()), StorageKind.QUEUE, READY, "a", 2_000_000_000)
        with pytest.raises(UnavailableError, match=r"devstoreaccount1.*cannot be reached"):
            addresses.address(*asked)
        account.away = None
        await trio.sleep(60)
        address = addresses.address(*asked)
        assert address.startswith(f"{ACCOUNT.queue}/{NAMES.queues[READY]}?sv=")
        assert "prepare" in account.calls


async def test_a_defect_of_ours_is_not_the_end_of_the_node(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    account = FakeAccount(plan={"prepare": [ZeroDivisionError("oops")]})
    node = Node()
    async with account_process(tmp_path, node, account) as world:
        account.send("a")
        await trio.sleep(0.5)
        assert "a defect: ZeroDivisionError" in world.service.statistics().trouble
        await trio.sleep(10)
        assert node.arrived == ["a"]
