"""Every action by a name and a number, so that random ones can be drawn and shrunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_values import TYPES

from cluster.catalog.model import ScalarType
from cluster.extents.operations import TagChange

if TYPE_CHECKING:
    from storage_life import Life

    from cluster.extents.keeping import CrashPoint

NAMES = ("A", "B", "C")
ALTERATIONS = ("add", "drop", "rename", "retype", "reorder")
WAITS = (0, 1, 301, 3601, 86_400, 15 * 86_400)
TAGS = ("drop-by:d", "ingest-by:x", "z")


def arm(life: Life, fault) -> None:
    """Asks for a fault."""
    node = life.node
    life.counts[f"fault {fault[0]}"] += 1
    if fault[0] == "point":
        node.crash_at = (fault[1], 0)
        return
    life.faults.add(fault[0])
    match fault:
        case ("catalog", how):
            node.catalog_fault = how
        case ("root", kind, after, takes_effect):
            node.root.fail(kind, after=after, takes_effect=takes_effect)
        case ("power", after, kept_bytes):
            node.disk.halt_at(len(node.disk.operations) + after, kept_bytes=kept_bytes)
        case ("disk", kind, after, kept_bytes, number):
            node.disk.fail(kind, number=number, after=after, kept_bytes=kept_bytes)
        case ("full", free_bytes):
            node.disk.capacity_bytes = free_bytes + sum(
                len(node.disk.content(path)) for path in node.disk.paths()
            )
            node.root.capacity_bytes = free_bytes


async def perform(life: Life, kind: str, name: str, pick: int) -> None:
    """One action, on the table of that name or another one; nothing if there is none."""
    tables = sorted(life.model.tables)
    free = [each for each in NAMES if each not in tables]
    life.counts[kind] += 1
    if kind == "create":
        if free:
            await life.create(free[0], kinds_of(pick), pick % 5)
        return
    if kind == "undo":
        if life.model.dropped:
            await life.undo(pick, [*free, ""][pick // 3 % (len(free) + 1)])
        return
    if not tables:
        return
    first = name if name in tables else tables[pick % len(tables)]
    others = [each for each in tables if each != first]
    if kind in PAIRED:
        if others:
            await PAIRED[kind](life, first, others[pick % len(others)], pick)
    elif kind == "rename":
        if free:
            await life.rename([(first, free[0])])
    else:
        await SINGLE[kind](life, first, pick)


async def reach(life: Life, point: CrashPoint, name: str, pick: int) -> None:
    """Does what passes a crash point, and dies there."""
    job = point.partition(".")[0]
    other = next((each for each in sorted(life.model.tables) if each != name), name)
    if job == "retain":
        await life.set_retention(name, 1)
        life.let_pass(15 * 86_400)
    elif job == "garbage":
        await life.drop_extents(name, life.extent_ids(name, 0))
        await life.collect()
        life.let_pass(301)
    arm(life, ("point", point))
    if job == "seal":
        await life.seal(name)
    elif job == "merge":
        await grow(life, name, 2)
        await life.merge(name, life.extent_ids(name, 0))
    elif job == "retain":
        await life.retain()
    elif job == "garbage":
        await life.collect()
    elif job == "sweep":
        await life.sweep()
    else:
        await change(life, name, other, pick)


async def change(life: Life, name: str, other: str, pick: int) -> None:
    """One of the operations that a query sees."""
    ids = life.extent_ids(name, 0)
    match pick % 6:
        case 0:
            await life.clear(name)
        case 1:
            await life.move(name, ids, other)
        case 2:
            await life.move(name, ids, other, life.extent_ids(other, 0))
        case 3:
            await life.retag(name, ids, TagChange.MERGE, f"t{pick}")
        case 4:
            await life.drop_extents(name, ids)
        case _:
            await life.batch(name, 3, tag="", replaces=pick % 12 == 5)


def kinds_of(pick: int):
    """Types of some columns; often those of other tables, so that extents can move."""
    return (
        [ScalarType.LONG, ScalarType.STRING] if pick % 3 else [TYPES[pick % 5], TYPES[pick % 7 % 6]]
    )


async def grow(life: Life, name: str, pick: int) -> None:
    """Several extents, and streamed rows beside them."""
    for _ in range(1 + pick % 3):
        await life.stream(name, [1 + pick % 4])
        await life.seal(name)
    await life.stream(name, [1])


async def upkeep(life: Life, pick: int, *jobs) -> None:
    """What is over its time goes; garbage does when it has been garbage for some time."""
    await life.collect()
    life.let_pass(WAITS[pick % len(WAITS)])
    for job in jobs:
        await job()


PAIRED = {
    "chain": lambda life, a, b, pick: life.stage(a, 1 + pick % 4, pick, other=b),
    "move": lambda life, a, b, pick: life.move(a, life.extent_ids(a, pick), b),
    "replace": lambda life, a, b, pick: life.move(
        a, life.extent_ids(a, pick), b, life.extent_ids(b, pick // 7)
    ),
    "drop": lambda life, a, b, pick: life.drop(a),
    "swap": lambda life, a, b, pick: life.rename([(a, b), (b, a)]),
}
"""Actions that need two tables."""

SINGLE = {
    "stream": lambda life, a, pick: life.stream(
        a, [1 + pick % 5, 1 + pick % 3][: 1 + pick % 2], ["", "", "s1", "s2"][pick % 4]
    ),
    "stage": lambda life, a, pick: life.stage(a, 1 + pick % 5, pick),
    "batch": lambda life, a, pick: life.batch(
        a, 1 + pick % 5, tag=["", "x", "y"][pick % 3], replaces=pick % 4 == 0
    ),
    "grow": grow,
    "seal": lambda life, a, pick: life.seal(a),
    "seal all": lambda life, a, pick: life.seal(None),
    "merge": lambda life, a, pick: life.merge(a, life.extent_ids(a, pick)),
    "merge by policy": lambda life, a, pick: life.merge_by_policy(),
    "retag": lambda life, a, pick: life.retag(
        a, life.extent_ids(a, pick), list(TagChange)[pick % 3], TAGS[pick // 3 % 3]
    ),
    "drop extents": lambda life, a, pick: life.drop_extents(a, life.extent_ids(a, pick)),
    "clear": lambda life, a, pick: life.clear(a),
    "alter": lambda life, a, pick: life.alter(a, ALTERATIONS[pick % 5], pick // 5),
    "retention": lambda life, a, pick: life.set_retention(a, 1 + pick % 20),
    "retain": lambda life, a, pick: upkeep(life, pick, life.retain),
    "collect": lambda life, a, pick: upkeep(life, pick, life.collect),
    "sweep": lambda life, a, pick: upkeep(life, pick, life.sweep),
    "hold": lambda life, a, pick: life.hold(),
    "look again": lambda life, a, pick: life.look_again(),
    "ask": lambda life, a, pick: life.ask(a),
}
"""Actions on one table."""
