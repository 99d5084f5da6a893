"""A query of one cluster reads a table of another, which answers by its own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rows import Ledger, make_table

from cluster.errors import EntityNotFoundError, SemanticError

if TYPE_CHECKING:
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process


async def test_tables_of_two_clusters_meet_in_one_query(local_setup: LocalSetup) -> None:
    local = local_setup
    leader, other = local.client("leader"), local.client("follower1")
    await make_table(leader, local.database)
    ledger = Ledger(local.database, "clusters")
    await leader.ingest(local.database, "T", ledger.payload(3))
    own = f"{local.database}Own"
    await other.command("", f".create database {own}")
    far = f"cluster('leader').database('{local.database}').T"
    assert (await other.query(own, f"{far} | count")).scalar() == 3
    here = (await leader.query(local.database, "T | sort by Number asc")).rows()
    assert (await other.query(own, f"{far} | sort by Number asc")).rows() == here
    both = (
        f"union ({far} | project Number), (range Number from 100 to 101 step 1) | summarize count()"
    )
    assert (await other.query(own, both)).scalar() == 5
    with pytest.raises(SemanticError, match="Nope"):
        await other.query(own, f"cluster('leader').database('{local.database}').Nope")
    with pytest.raises(EntityNotFoundError, match="nowhere"):
        await other.query(own, "cluster('nowhere').database('D').T")
    local_name = f"cluster('follower1').database('{own}')"
    with pytest.raises(SemanticError, match="Nope"):
        await other.query(own, f"{local_name}.Nope")
