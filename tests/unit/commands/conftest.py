"""A catalog that owns its database, and one that follows another cluster's."""

from __future__ import annotations

import itertools

import pytest
from commands_world import LEADER_TREE, FixedClock, World
from data_examples import ID
from data_world import ended_operation

from cluster.catalog.driver import Catalog
from cluster.limits import LIMITS, Limits


@pytest.fixture
async def world(tmp_path):
    async with await Catalog.open(
        tmp_path / "catalog.sqlite",
        clock=FixedClock(),
        mint=itertools.count(1).__next__,
        limits=Limits(tables_per_database=4),
    ) as catalog:
        world = World(catalog, LIMITS)
        await world.run(".create database Sales")
        await world.run(".create table T (a:long, ['b c']:dynamic)")
        yield world


@pytest.fixture
async def follower(tmp_path):
    async with await Catalog.open(
        tmp_path / "catalog.sqlite", clock=FixedClock(), mint=itertools.count(1).__next__
    ) as catalog:
        await catalog.install_snapshot("Sales", "leader", "Sales", LEADER_TREE)
        world = World(catalog, LIMITS)
        world.node.history.operation(ended_operation(ID))
        yield world
