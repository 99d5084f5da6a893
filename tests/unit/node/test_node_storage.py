"""Where the extents of a node are, from one start to the next."""

from __future__ import annotations

from types import SimpleNamespace

import immutables
import pytest

from cluster.catalog.model import (
    Column,
    Database,
    Extent,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)
from cluster.errors import ConflictError
from cluster.node.storage import check_default_root

EXTENT = Extent("x", "d/t/x.parquet", 1, 0, (0,), 1, 1, 1, 1)


def tree(*extents, root=""):
    columns = (Column("a", ScalarType.LONG),)
    references = (RowStoreReference(0, RowStoreKey(1)),)
    known = immutables.Map({extent.extent_id: extent for extent in extents})
    table = Table("T", "t", references, (columns,), ((0,),), extents=known)
    return Database("D", "d", tables={"T": table}, storage_root=root)


def start(folder, root, database):
    check_default_root(SimpleNamespace(data=folder, storage_root=root), [database])


def test_another_default_root_is_refused_while_extents_are_in_the_old_one(tmp_path):
    start(tmp_path, "", tree())
    start(tmp_path, "s3://bucket/extents", tree())  # nothing is anywhere yet
    start(tmp_path, "s3://bucket/extents", tree(EXTENT))
    for other in ("", "s3://other"):
        with pytest.raises(ConflictError, match="s3://bucket/extents") as raised:
            start(tmp_path, other, tree(EXTENT))
        assert raised.value.metadata == {"before": "s3://bucket/extents", "now": other}
    start(tmp_path, "s3://bucket/extents", tree(EXTENT))


def test_databases_with_a_root_of_their_own_do_not_mind(tmp_path):
    start(tmp_path, "", tree())
    start(tmp_path, "s3://other", tree(EXTENT, root="s3://own"))


def test_a_node_of_an_older_build_begins_to_keep_its_root(tmp_path):
    start(tmp_path, "s3://bucket", tree(EXTENT))
    with pytest.raises(ConflictError):
        start(tmp_path, "", tree(EXTENT))
