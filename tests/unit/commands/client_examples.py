"""One text of every form that SDKs and tools send, and the columns they read."""

from __future__ import annotations

CLIENT_EXAMPLES = {
    "get ingestion resources": ".get ingestion resources",
    "get kusto identity token": ".get kusto identity token",
    "show export containers": ".show export containers",
    "create tempstorage": ".create tempstorage",
    "refresh batching policy": (
        ".refresh database 'Sales' table 'T' cache ingestionbatchingpolicy"
    ),
    "clear query results": ".clear database cache query_results",
    "show query results": ".show database cache query_results",
    "execute database script": ".execute database script <|\n.drop table T",
    "execute cluster script": ".execute cluster script <| .drop table T",
}

CLIENT_RESULTS = {
    "get ingestion resources": "ResourceTypeName StorageRoot",
    "get kusto identity token": "AuthorizationContext",
    "show export containers": "StorageRoot",
    "create tempstorage": "StorageRoot",
    "refresh batching policy": "NodeId Status",
    "clear query results": "NodeId Count:long",
    "show query results": (
        "NodeId Hits:long Misses:long CacheCapacityInBytes:long UsedBytes:long Count:long"
    ),
    "execute database script": "OperationId:guid CommandType CommandText Result Reason",
}
