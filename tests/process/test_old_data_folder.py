"""A data folder as the first formats left it, opened by whole nodes of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from old_formats import unpack_format_1

from cluster.testing.local import LocalSetup, launch

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.client import Client

pytestmark = [pytest.mark.process, pytest.mark.slow]

LIMITS = {"lease_seconds": 2.0, "heartbeat_seconds": 0.25}
ROWS = "Telemetry | project Device, Value, Late, Later, Small"
EXPECTED = [
    ("pump", 1.5, "", None, 7),
    ("va,lve", None, "", None, None),
    ("fan", 2.5, "late", 99, 8),
]


async def rows(client: Client) -> list[tuple[object, ...]]:
    answer = await client.query("Plant", ROWS)
    return sorted((tuple(row) for row in answer.rows()), key=repr)


async def test_format_1_is_opened_sealed_and_followed(tmp_path: Path) -> None:
    unpack_format_1(tmp_path / "data")
    launcher, setup = await launch(tmp_path, limits=LIMITS)
    try:
        async with LocalSetup.connected(launcher, setup, database="Plant") as local:
            leader, follower = local.client("leader"), local.client("follower1")
            assert await rows(leader) == sorted(EXPECTED, key=repr)
            await local.attach("follower1")
            await local.until_followed("follower1")
            assert await rows(follower) == sorted(EXPECTED, key=repr)
            await leader.command("Plant", ".seal database")
            await leader.command("Plant", ".rename column Telemetry.Device to Gadget")
            await leader.command("Plant", ".rename column Telemetry.Gadget to Device")
            assert await rows(leader) == sorted(EXPECTED, key=repr)
            await local.kill("leader/0")
            await local.start("leader/0")
            assert await rows(leader) == sorted(EXPECTED, key=repr)
            answer = await leader.query("Plant", "Telemetry | summarize dcount(extent_id())")
            assert answer.rows() == [(1,)]
            assert (await leader.query("Plant", "Other | count")).rows() == [(3,)]
    finally:
        await launcher.destroy()
