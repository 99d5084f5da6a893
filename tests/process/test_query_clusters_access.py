"""Reading another cluster takes a right there: the caller's token goes along, no secret does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.kusto.data.exceptions import KustoServiceError
from guarded_setup import client_as, guarded_setup, guarded_topology, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.launcher.setup import Setup

pytestmark = [pytest.mark.process, pytest.mark.slow]

FAR = "cluster('far').database('Far').T | count"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with guarded_setup(tmp_path_factory.mktemp("far"), guarded_topology("near", "far")) as setup:
        yield setup


def test_only_who_may_read_there_reads_from_here(guarded: Setup) -> None:
    with (
        client_as(guarded, "far", "boss") as far,
        client_as(guarded, "near", "boss") as near,
        client_as(guarded, "near", "ann") as ann,
    ):
        far.execute("NetDefaultDB", ".create database Far")
        far.execute("Far", ".set T <| range a from 1 to 4 step 1")
        near.execute("NetDefaultDB", ".create database Near")
        near.execute("Near", ".add database Near viewers ('aadapp=ann;contoso')")
        assert rows_of(near, "Near", FAR) == [[4]]
        assert rows_of(ann, "Near", "print 1") == [[1]]
        with pytest.raises(KustoServiceError) as refused:
            ann.execute("Near", FAR)
        assert "Far" in str(refused.value)
        far.execute("Far", ".add database Far viewers ('aadapp=ann;contoso')")
        assert rows_of(ann, "Near", FAR) == [[4]]
