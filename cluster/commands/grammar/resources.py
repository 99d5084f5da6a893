"""Forms that clients of queued ingestion begin with (``adx-behaviour.md`` 8.7). Pure data.

Sent by the SDKs to ``NetDefaultDB``. In Azure a service of its own answers them; here each node
does. No page or published grammar declares ``.show ingestion resources`` and ``.show export
containers``: their columns are those the SDKs read.
"""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    CLUSTER_MONITOR,
    DATABASE_INGESTOR,
    WITH,
    CommandSpec,
    Kind,
)

_ANYBODY: Final = "any"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("get ingestion resources", f"(get | show) ingestion resources {WITH}",
                "ResourceTypeName, StorageRoot", Kind.SHOW, _ANYBODY),
    CommandSpec("get kusto identity token", f"(get | show) kusto identity token {WITH}",
                "AuthorizationContext", Kind.SHOW, _ANYBODY),
    CommandSpec("show export containers", f"show export containers {WITH}",
                "StorageRoot", Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("create tempstorage", f"create tempstorage {WITH}",
                "StorageRoot", Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("refresh batching policy",
                "refresh database <database:label> [table <table:label>] "
                "cache ingestionbatchingpolicy",
                "NodeId, Status", Kind.SHOW, DATABASE_INGESTOR),
)  # fmt: skip
