"""Real processes and real files: SIGKILL while rows are streamed, sealed and merged.

At every moment a query counts each row once, whether it is still in a row store, in an extent that
a seal has just made or in one that merges have made of it; on the leader and on a follower, before,
during and after kills. What a query must have is what was acknowledged before it was asked.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio
from rows import TABLE, Ledger, count, make_table

from cluster.errors import RemoraError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster.client import Client, StreamWriter
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

FEW_ROUNDS, ROUNDS = 3, 12
SEALS = 15
FIXED_ROWS = 3000


@dataclass
class Watch:
    """Queries of one node, and what they said."""

    ledger: Ledger
    client: Client
    must_have_acknowledged: bool
    queries: int = 0
    failed: int = 0
    mismatches: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Asks until cancelled; a node that is down is asked again."""
        while True:
            acknowledged = set(self.ledger.acked)
            try:
                result = await self.client.query(
                    self.ledger.database, f"{TABLE} | project Number", timeout_seconds=20
                )
            except RemoraError:
                self.failed += 1
                await trio.sleep(0.02)
                continue
            self.check(Counter(result.table.column(0).to_pylist()), acknowledged)
            await trio.sleep(0.01)

    def check(self, found: Counter[int], acknowledged: set[int]) -> None:
        """Each row once; nothing that was never sent; what was acknowledged, where it must be."""
        self.queries += 1
        twice = [number for number, times in found.items() if times > 1]
        strange = [number for number in found if number >= self.ledger.next_number]
        missing = acknowledged - found.keys() if self.must_have_acknowledged else ()
        for what, numbers in (("twice", twice), ("never sent", strange), ("missing", missing)):
            if numbers:
                self.mismatches.append(f"{len(numbers)} rows {what}, e.g. {min(numbers)}")


@dataclass
class Sealer:
    """Seals and merges by command, over and over."""

    client: Client
    database: str
    seals: int = 0
    merges: int = 0

    async def run(self) -> None:
        """Works until cancelled; a leader that is down is asked again."""
        while True:
            try:
                await self.once()
            except RemoraError:
                await trio.sleep(0.02)
            await trio.sleep(0.05)

    async def once(self) -> None:
        """One seal, and a merge of everything when there is something to merge."""
        sealed = await self.client.command(self.database, f".seal table {TABLE}")
        self.seals += bool(sealed.table.num_rows)
        shown = await self.client.command(
            self.database, f".show table {TABLE} extents | project x = tostring(ExtentId)"
        )
        extents = [row[0] for row in shown.rows()]
        if len(extents) > 3:
            await self.client.command(self.database, f".merge {TABLE} ({', '.join(extents[:4])})")
            self.merges += 1


async def keep_sending(writer: StreamWriter, ledger: Ledger, chance: random.Random) -> None:
    """Sends until cancelled; a payload taken from the ledger is always handed to the writer."""
    while True:
        with trio.CancelScope(shield=True):
            await writer.send(ledger.payload(rows=chance.randrange(1, 20)))
        await trio.sleep(0.005)


@asynccontextmanager
async def running(*tasks) -> AsyncIterator[None]:
    """Runs tasks until the end of the block."""
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
        yield
        nursery.cancel_scope.cancel()


async def until_growth(ledger: Ledger, writer: StreamWriter, rows: int) -> None:
    """Returns when so many more rows are acknowledged."""
    goal = len(ledger.acked) + rows
    while len(ledger.acked) < goal:
        await writer.wait_decided()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("rounds", [FEW_ROUNDS, pytest.param(ROUNDS, marks=pytest.mark.slow)])
async def test_killed_while_rows_are_streamed_sealed_and_merged(
    local_setup: LocalSetup, rounds: int
) -> None:
    chance = random.Random(20261122)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    await local_setup.attach("follower1")
    await local_setup.until_followed("follower1")
    ledger = Ledger(database, "killed-while-sealing")
    sealer = Sealer(leader, database)
    watches = [Watch(ledger, leader, True), Watch(ledger, follower, False)]
    victims = ["leader/0", "leader/0", "follower1/0"] * (rounds // 3)
    async with ledger.writer(local_setup.channel("leader")) as writer:
        async with running(sealer.run, *(watch.run for watch in watches)):
            for victim in victims:
                async with running(lambda: keep_sending(writer, ledger, chance)):
                    await until_growth(ledger, writer, chance.randrange(1, 200))
                    await trio.sleep(chance.random() / 10)
                    await local_setup.kill(victim)
                    await local_setup.start(victim)
            await writer.drain()
            position = writer.statistics().position
            for name in ("leader", "follower1"):
                await local_setup.wait_for(name, position)
                await ledger.assert_each_once(local_setup.client(name), position)
        print(  # noqa: T201 - figures, seen with -s
            f"{len(victims)} kills, {len(ledger.acked)} rows, {sealer.seals} seals, "
            f"{sealer.merges} merges; queries: leader {watches[0].queries}, follower "
            f"{watches[1].queries}; while down: {watches[0].failed}, {watches[1].failed}"
        )
    for watch in watches:
        assert not watch.mismatches, watch.mismatches[:5]
        assert watch.queries > rounds
    assert not writer.statistics().refused
    assert sealer.seals
    await leader.command(database, f".seal table {TABLE}")
    for client in (leader, follower):
        await ledger.assert_each_once(client, position)
        assert await count(client, database) == ledger.next_number == len(ledger.acked)


async def test_answers_are_the_same_while_sealing_and_merging_under_load(
    local_setup: LocalSetup,
) -> None:
    chance = random.Random(5)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    await local_setup.attach("follower1")
    await local_setup.until_followed("follower1")
    fixed = Ledger(database, "fixed")
    async with fixed.writer(local_setup.channel("leader")) as writer:
        for _ in range(FIXED_ROWS // 30):
            await writer.send(fixed.payload(rows=30))
        await writer.drain()
        position = writer.statistics().position
    kql = (
        f"{TABLE} | where Source == 'fixed' "
        "| summarize count(), sum(Number), dcount(Number), min(Number), max(Number)"
    )
    total = FIXED_ROWS * (FIXED_ROWS - 1) // 2
    wanted = [(FIXED_ROWS, total, FIXED_ROWS, 0, FIXED_ROWS - 1)]
    answers: dict[str, Counter[bool]] = {"leader": Counter(), "follower": Counter()}

    async def ask(name: str, client: Client) -> None:
        while True:
            result = await client.query(database, kql)
            answers[name][result.rows() == wanted] += 1

    await follower.wait_for(database, position, timeout_seconds=30)
    load = Ledger(database, "load")
    sealer = Sealer(leader, database)
    async with load.writer(local_setup.channel("leader")) as writer:
        async with running(
            lambda: keep_sending(writer, load, chance),
            lambda: ask("leader", leader),
            lambda: ask("follower", follower),
            lambda: ask("follower", follower),
        ):
            while sealer.seals < SEALS:
                await sealer.once()
        await writer.drain()
        position = writer.statistics().position
    print(  # noqa: T201 - figures, seen with -s
        f"{sealer.seals} seals, {sealer.merges} merges, {len(load.acked)} rows meanwhile, "
        f"answers: {answers}"
    )
    for seen in answers.values():
        assert seen[False] == 0, f"{seen[False]} of {seen.total()} answers differ"
        assert seen[True] > SEALS
    assert sealer.merges
    for client in (leader, follower):
        await fixed.assert_each_once(client, position)
        await load.assert_each_once(client, position)
