"""Every bound of Remora: name, unit, default, source, error and metric.

A limit is data: ``LIMITS.ingest_request_bytes`` is a number to compare with, and
``LIMITS.describe()`` prints the table of the README. Defaults are Azure Data Explorer's where it
documents one (``source``), else a declared choice. Each limit is tested at limit-1, limit and
limit+1 by the module that enforces it. ``metric`` is the name its counter is to be exported under;
this version has no door for metrics, and the counts are in the ``statistics()`` of each object.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KIB = 1024
MIB = 1024 * KIB

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """One row of the limits table."""

    name: str
    default: float
    unit: str
    source: str
    error: str
    metric: str


def _limit(default: Number, unit: str, source: str, error: str, metric: str) -> Number:
    described = {"unit": unit, "source": source, "error": error, "metric": metric}
    return field(default=default, metadata=described)


_CHOICE = "declared choice"
_INGEST_PAGE = "ingest-data-streaming.md"


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds. Construct with keywords to change some; the rest keep their defaults."""

    ingest_request_bytes: int = _limit(
        4 * MIB,
        "bytes after decompression",
        _INGEST_PAGE,
        "PayloadTooLargeError",
        "ingest_too_large_total",
    )
    ingest_wire_bytes: int = _limit(
        10 * MIB,
        "bytes as sent",
        "app-managed-streaming-ingest.md",
        "PayloadTooLargeError",
        "ingest_too_large_total",
    )
    ingest_requests_per_core: int = _limit(
        6,
        "concurrent unary requests a core",
        _INGEST_PAGE,
        "ThrottledError",
        "ingest_throttled_total",
    )
    ingest_gzip_ratio: int = _limit(
        200,
        "decompressed bytes for each compressed byte, above 1 MiB",
        _CHOICE,
        "PayloadTooLargeError",
        "ingest_too_large_total",
    )
    ingest_gzip_members: int = _limit(
        256,
        "gzip members of one payload",
        _CHOICE,
        "InvalidArchiveError",
        "ingest_malformed_total",
    )
    ingest_streams: int = _limit(
        256,
        "concurrent ingestion streams a node",
        _CHOICE,
        "ThrottledError",
        "ingest_throttled_total",
    )
    ingest_stream_window: int = _limit(
        64,
        "unacknowledged payloads a stream (back-pressure)",
        _CHOICE,
        "none: the sender waits",
        "ingest_stream_waits_total",
    )
    ingest_inflight_bytes: int = _limit(
        64 * MIB,
        "payload bytes being ingested a node",
        _CHOICE,
        "ThrottledError for unary calls; streams wait",
        "ingest_throttled_total",
    )
    ingest_group_requests: int = _limit(
        64,
        "requests decoded together",
        _CHOICE,
        "none: the next group",
        "ingest_groups_total",
    )
    ingest_group_bytes: int = _limit(
        4 * MIB,
        "bytes decoded together",
        _CHOICE,
        "none: the next group",
        "ingest_groups_total",
    )
    json_depth: int = _limit(
        128,
        "nested arrays and objects",
        _CHOICE,
        "MalformedPayloadError",
        "ingest_malformed_total",
    )
    string_value_bytes: int = _limit(
        1 * MIB,
        "bytes of one string or dynamic value",
        "MaxValueSize of the encoding policy",
        "PayloadTooLargeError",
        "ingest_too_large_total",
    )
    ingest_reader_bytes: int = _limit(
        4096 * MIB,
        "bytes of address space of a process that reads an ORC file",
        _CHOICE,
        "MalformedPayloadError",
        "ingest_malformed_total",
    )
    ingest_reader_seconds: float = _limit(
        600.0,
        "seconds that a process that reads an ORC file is waited for, all its answers together",
        _CHOICE,
        "LimitExceededError",
        "ingest_malformed_total",
    )
    streaming_schema_cache_seconds: float = _limit(
        0.0,
        "seconds a node may go on with the schema and mappings it knows while streaming",
        "5 minutes in ADX (streaming-ingestion-schema-changes.md); here none, a declared choice",
        "none: they are looked up again",
        "ingest_schema_refreshes_total",
    )
    source_id_bytes: int = _limit(
        128,
        "bytes",
        _CHOICE,
        "InvalidRequestError",
        "ingest_invalid_total",
    )
    source_id_window: int = _limit(
        100_000,
        "remembered source ids a row store",
        _CHOICE,
        "none: older ones are forgotten",
        "source_ids_remembered",
    )
    row_stores: int = _limit(
        4,
        "row stores a node",
        "least for a table, streamingingestionpolicy.md",
        "none: the number is fixed",
        "row_stores",
    )
    row_store_spread_bytes: int = _limit(
        4 * MIB,
        "bytes waiting in a row store before a table's rows go to its next one",
        _CHOICE,
        "none: the next row store",
        "row_store_waiting_bytes",
    )
    row_store_bytes: int = _limit(
        2048 * MIB,
        "unsealed bytes a row store",
        _CHOICE,
        "RowStoreFullError",
        "row_store_full_total",
    )
    row_store_segment_bytes: int = _limit(
        64 * MIB,
        "bytes a segment",
        _CHOICE,
        "none: the next segment",
        "row_store_segments",
    )
    row_store_record_bytes: int = _limit(
        64 * MIB,
        "bytes a record",
        "single record limit of ingestion-supported-formats.md",
        "PayloadTooLargeError",
        "ingest_too_large_total",
    )
    row_store_tail_bytes: int = _limit(
        32 * MIB,
        "bytes of recent records kept in memory for followers",
        _CHOICE,
        "none: older ones are read from disk",
        "row_store_tail_bytes",
    )
    replication_frame_bytes: int = _limit(
        512 * KIB,
        "bytes of records a message",
        _CHOICE,
        "none: the next message",
        "replication_frames_total",
    )
    replication_window_bytes: int = _limit(
        8 * MIB,
        "unacknowledged bytes a follower (back-pressure)",
        _CHOICE,
        "none: the leader waits",
        "replication_window_waits_total",
    )
    replication_window_frames: int = _limit(
        4096,
        "unacknowledged messages of rows a follower (back-pressure)",
        _CHOICE,
        "none: the leader waits",
        "replication_window_waits_total",
    )
    replication_encoded_bytes: int = _limit(
        32 * MIB,
        "bytes of encoded metadata kept for the next follower, besides what is being sent",
        _CHOICE,
        "none: it is encoded again",
        "replication_encoded_total",
    )
    replication_message_bytes: int = _limit(
        256 * MIB,
        "bytes of one frame of a leader, put together from fragments",
        _CHOICE,
        "ProtocolError",
        "replication_frames_total",
    )
    follow_retry_first_seconds: float = _limit(
        0.05,
        "seconds before a lost follow session is opened again",
        _CHOICE,
        "none: doubled each time",
        "follow_retries_total",
    )
    follow_retry_longest_seconds: float = _limit(
        1.0,
        "seconds at most before a lost follow session is opened again",
        _CHOICE,
        "none",
        "follow_retries_total",
    )
    grpc_message_bytes: int = _limit(
        16 * MIB,
        "bytes of one gRPC message",
        _CHOICE,
        "LimitExceededError at the sender, RESOURCE_EXHAUSTED at the receiver",
        "grpc_messages_total",
    )
    grpc_metadata_bytes: int = _limit(
        32 * KIB,
        "bytes of the metadata of one direction of a call",
        _CHOICE,
        "RESOURCE_EXHAUSTED by gRPC itself",
        "grpc_calls_total",
    )
    grpc_calls_per_connection: int = _limit(
        1024,
        "concurrent calls a connection",
        _CHOICE,
        "none: the client waits",
        "grpc_calls_live",
    )
    grpc_keepalive_seconds: float = _limit(
        10.0,
        "seconds between pings on a connection with calls",
        _CHOICE,
        "none",
        "grpc_calls_total",
    )
    grpc_keepalive_timeout_seconds: float = _limit(
        5.0,
        "seconds a ping may stay unanswered",
        _CHOICE,
        "UnavailableError",
        "grpc_calls_total",
    )
    stream_window_messages: int = _limit(
        32,
        "messages waiting in one direction of a stream at each end",
        _CHOICE,
        "none: the sender waits",
        "grpc_messages_total",
    )
    stream_window_bytes: int = _limit(
        4 * MIB,
        "bytes waiting in one direction of a stream at each end",
        _CHOICE,
        "none: the sender waits",
        "grpc_messages_total",
    )
    query_text_bytes: int = _limit(
        256 * KIB,
        "bytes of UTF-8",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_statements: int = _limit(
        64,
        "results of one query text",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_translate_seconds: float = _limit(
        5.0,
        "seconds to translate a query",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_sql_bytes: int = _limit(
        4 * MIB,
        "bytes of translated SQL",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_operators: int = _limit(
        500,
        "operators piped one behind the other in a query",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_tables: int = _limit(
        1000,
        "tables of one union, those that its wildcards match included",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_made_columns: int = _limit(
        1000,
        "columns made of rows by bag_unpack or pivot",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_partitions: int = _limit(
        64,
        "partitions of the partition operator by its legacy strategy",
        "partition-operator.md",
        "LimitExceededError",
        "query_refused_total",
    )
    query_translator_bytes: int = _limit(
        1024 * MIB,
        "bytes of address space of the translator process",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    query_cache_entries: int = _limit(
        256,
        "translations kept",
        _CHOICE,
        "none: the oldest is dropped",
        "query_cache_entries",
    )
    query_seconds: float = _limit(
        240.0,
        "seconds a query",
        "server timeout of request-properties.md",
        "TimedOutError",
        "query_timeouts_total",
    )
    query_rows: int = _limit(
        500_000,
        "rows of a result",
        "truncationmaxrecords of request-properties.md",
        "LimitExceededError",
        "query_refused_total",
    )
    query_result_bytes: int = _limit(
        64 * MIB,
        "bytes of a result",
        "truncationmaxsize of request-properties.md",
        "LimitExceededError",
        "query_refused_total",
    )
    query_memory_bytes: int = _limit(
        2048 * MIB,
        "bytes DuckDB may use a node, besides the hot cache",
        _CHOICE,
        "LimitExceededError",
        "query_refused_total",
    )
    hot_cache_bytes: int = _limit(
        1024 * MIB,
        "bytes of extents held in memory a node",
        _CHOICE,
        "none: older extents are read from their files",
        "hot_cache_bytes",
    )
    hot_load_rows: int = _limit(
        1_048_576,
        "rows taken into the hot cache at once; they are uncompressed until all are there",
        _CHOICE,
        "none: the rest follows",
        "hot_loads_total",
    )
    hot_relation_rows: int = _limit(
        4_194_304,
        "rows of a relation of the hot cache; smaller ones of a table are joined up to it",
        _CHOICE,
        "none: it stays alone",
        "hot_joins_total",
    )
    hot_pause_seconds: float = _limit(
        0.5,
        "seconds between two looks at what the hot cache should hold",
        _CHOICE,
        "none",
        "none",
    )
    hot_look_seconds: float = _limit(
        60.0,
        "seconds until the hot cache looks without being told, as extents get older",
        _CHOICE,
        "none",
        "none",
    )
    queries_per_core: int = _limit(
        10,
        "concurrent queries a core",
        "query limits page",
        "ThrottledError",
        "query_throttled_total",
    )
    command_seconds: float = _limit(
        3600.0,
        "seconds a command over REST, at most; 600 where the client sets no servertimeout",
        "set-timeout-limits page: 10 minutes, up to 1 hour",
        "TimedOutError",
        "command_timeouts_total",
    )
    command_text_bytes: int = _limit(
        256 * KIB,
        "bytes of UTF-8",
        _CHOICE,
        "LimitExceededError",
        "command_refused_total",
    )
    extent_rows: int = _limit(
        1024 * KIB,
        "rows an extent, where the sharding policy does not say",
        "ShardEngineMaxRowCount of sharding-policy.md",
        "none: the next extent",
        "extents_written_total",
    )
    extent_original_bytes: int = _limit(
        3072 * MIB,
        "bytes of rows in memory an extent",
        "ShardEngineMaxOriginalSizeInMb of sharding-policy.md",
        "none: the next extent",
        "extents_written_total",
    )
    extent_row_group_rows: int = _limit(
        128 * KIB,
        "rows a row group of an extent's file",
        _CHOICE,
        "none: the next row group",
        "extents_written_total",
    )
    extent_row_group_bytes: int = _limit(
        32 * MIB,
        "bytes of rows in memory a row group of an extent's file",
        _CHOICE,
        "none: the next row group",
        "extents_written_total",
    )
    extent_statistics_characters: int = _limit(
        64,
        "characters kept of the least and greatest string of a column",
        _CHOICE,
        "none: cut so that they still enclose all values",
        "none",
    )
    extent_statistics_entries: int = _limit(
        20_000,
        "extent files whose statistics are kept in memory",
        _CHOICE,
        "none: the one not used for longest is forgotten",
        "extent_statistics_entries",
    )
    extent_cache_bytes: int = _limit(
        10 * 1024 * MIB,
        "bytes of copies of extent files on a node",
        _CHOICE,
        "LimitExceededError if one request needs more, ThrottledError if all together do",
        "extent_cache_bytes",
    )
    extent_fetches: int = _limit(
        8,
        "extent files fetched or checked at once a node",
        _CHOICE,
        "none: the next one waits",
        "extent_fetches_total",
    )
    storage_attempts: int = _limit(
        6,
        "tries of one call of a storage root",
        _CHOICE,
        "StorageUnavailableError",
        "storage_retries_total",
    )
    storage_retry_first_seconds: float = _limit(
        0.1,
        "seconds before a failed call of a storage root is tried again",
        _CHOICE,
        "none: doubled each time",
        "storage_retries_total",
    )
    storage_retry_longest_seconds: float = _limit(
        3.0,
        "seconds at most before a failed call of a storage root is tried again",
        _CHOICE,
        "none",
        "storage_retries_total",
    )
    storage_call_seconds: float = _limit(
        30.0,
        "seconds one request to a remote storage root may take",
        _CHOICE,
        "none: it is tried again",
        "storage_retries_total",
    )
    storage_rest_seconds: float = _limit(
        30.0,
        "seconds a leader's storage root that failed is not asked while the leader sends files",
        _CHOICE,
        "none: the leader is asked",
        "extent_fetches_total",
    )
    storage_upload_bytes: int = _limit(
        32 * MIB,
        "bytes of one request that uploads; longer files go in blocks of this size",
        _CHOICE,
        "none: the next block",
        "storage_put_bytes_total",
    )
    storage_object_bytes: int = _limit(
        256 * MIB,
        "bytes of an object read into memory whole",
        _CHOICE,
        "LimitExceededError",
        "storage_get_bytes_total",
    )
    seal_concurrency: int = _limit(
        4,
        "seals at once a node",
        "StreamingIngestionPostProcessing of capacity-policy.md",
        "none: the next one waits",
        "seals_total",
    )
    seal_check_seconds: float = _limit(
        1.0,
        "seconds between looks at what is to be sealed",
        _CHOICE,
        "none",
        "seals_total",
    )
    seal_pressure_ratio: float = _limit(
        0.5,
        "share of row_store_bytes from which a row store's largest tables are sealed",
        _CHOICE,
        "none",
        "seals_total",
    )
    seal_relief_ratio: float = _limit(
        0.25,
        "share of row_store_bytes they are sealed down to",
        _CHOICE,
        "none",
        "seals_total",
    )
    seal_retry_first_seconds: float = _limit(
        1.0,
        "seconds before a failed seal is tried again",
        _CHOICE,
        "none: doubled each time",
        "seal_failures_total",
    )
    seal_retry_longest_seconds: float = _limit(
        60.0,
        "seconds at most before a failed seal is tried again",
        _CHOICE,
        "none",
        "seal_failures_total",
    )
    merge_concurrency: int = _limit(
        1,
        "merges at once a node",
        "ExtentsMerge of capacity-policy.md (1 to 3)",
        "none: the next one waits",
        "merges_total",
    )
    merge_check_seconds: float = _limit(
        5.0,
        "seconds between looks at what is to be merged",
        _CHOICE,
        "none",
        "merges_total",
    )
    upkeep_check_seconds: float = _limit(
        60.0,
        "seconds between looks at retention and garbage",
        _CHOICE,
        "none",
        "extents_dropped_total",
    )
    garbage_grace_seconds: float = _limit(
        300.0,
        "seconds a file is kept after nothing needs it: longer than a query",
        _CHOICE,
        "none",
        "extent_files_deleted_total",
    )
    garbage_follower_seconds: float = _limit(
        3600.0,
        "seconds a file is kept for a follower that does not acknowledge",
        _CHOICE,
        "none: it goes on with a newer version",
        "extent_files_deleted_total",
    )
    orphan_grace_seconds: float = _limit(
        86400.0,
        "seconds a file that nothing names is kept: longer than an ingestion",
        _CHOICE,
        "none",
        "extent_files_deleted_total",
    )
    databases: int = _limit(
        10_000,
        "databases a cluster",
        "kusto-emulator-limitations.md",
        "LimitExceededError",
        "databases",
    )
    tables_per_database: int = _limit(
        10_000,
        "tables a database",
        "kusto-emulator-limitations.md",
        "LimitExceededError",
        "tables",
    )
    columns_per_table: int = _limit(
        10_000,
        "columns a table",
        "kusto-emulator-limitations.md",
        "LimitExceededError",
        "columns",
    )
    sharing_entries: int = _limit(
        100,
        "entries of table-level sharing, over all its lists",
        "follower.md",
        "LimitExceededError",
        "databases",
    )
    entity_name_characters: int = _limit(
        1024,
        "characters",
        "entity-names.md",
        "EntityNameError",
        "command_refused_total",
    )
    catalog_snapshot_bytes: int = _limit(
        64 * KIB,
        "least bytes of metadata journal between two snapshots of a database; more if the snapshot "
        "itself is larger",
        _CHOICE,
        "none: a snapshot is written",
        "catalog_snapshots_total",
    )
    catalog_history_bytes: int = _limit(
        16 * MIB,
        "bytes of newest metadata deltas kept a database, as written; else as for their number",
        _CHOICE,
        "none: older ones are forgotten",
        "catalog_deltas_kept",
    )
    catalog_history_deltas: int = _limit(
        1024,
        "newest metadata deltas kept a database; a follower further behind gets a snapshot",
        _CHOICE,
        "none: older ones are forgotten",
        "catalog_deltas_kept",
    )
    clusters: int = _limit(
        64,
        "clusters a setup",
        _CHOICE,
        "LimitExceededError",
        "clusters",
    )
    nodes: int = _limit(
        256,
        "nodes a setup",
        _CHOICE,
        "LimitExceededError",
        "nodes",
    )
    faults: int = _limit(
        64,
        "faults at one time",
        _CHOICE,
        "LimitExceededError",
        "faults",
    )
    attachments: int = _limit(
        1024,
        "attachments a setup",
        _CHOICE,
        "LimitExceededError",
        "attachments",
    )
    lease_seconds: float = _limit(
        5.0,
        "seconds a grant outlives its last heartbeat",
        _CHOICE,
        "none: the gate closes",
        "gate_lease_expired_total",
    )
    heartbeat_seconds: float = _limit(
        1.0,
        "seconds between heartbeats",
        _CHOICE,
        "none",
        "heartbeats_total",
    )
    clock_drift_ratio: float = _limit(
        0.01,
        "how much faster one machine's monotonic clock may run than another's",
        _CHOICE,
        "none: the coordinator counts leases longer by it",
        "none",
    )
    coordinator_requests: int = _limit(
        1024,
        "changes the coordinator holds until they are certain",
        _CHOICE,
        "ThrottledError",
        "coordinator_throttled_total",
    )
    history_entries: int = _limit(
        10_000,
        "newest entries kept of each log of the node (operations, queries, ...)",
        _CHOICE,
        "none: the oldest one goes",
        "history_entries_total",
    )
    ingest_source_bytes: int = _limit(
        6 * 1024 * MIB,
        "bytes of one file or blob of .ingest into, as stored",
        "ingestion-faq.md",
        "LimitExceededError",
        "ingest_too_large_total",
    )
    ingest_sources: int = _limit(
        1000,
        "files or blobs of one .ingest into",
        _CHOICE,
        "LimitExceededError",
        "ingest_too_large_total",
    )
    ingest_query_bytes: int = _limit(
        1024 * MIB,
        "bytes in memory of a result that is ingested (.set, .append, ..., update policies)",
        "1 GB advised by data-ingestion/ingest-from-query.md",
        "LimitExceededError",
        "ingest_too_large_total",
    )
    update_policy_source_bytes: int = _limit(
        1024 * MIB,
        "bytes in memory of a batch that update policies read",
        _CHOICE,
        "LimitExceededError",
        "ingest_too_large_total",
    )
    background_operations: int = _limit(
        16,
        "commands in progress that work for a while (ingestion, merges, ...)",
        _CHOICE,
        "ThrottledError",
        "operations_throttled_total",
    )
    queued_flush_seconds: float = _limit(
        1.5,
        "seconds a queued message waits at least, FlushImmediately or not",
        "SDK suites look one second after queueing",
        "none: the message waits",
        "queued_batches_total",
    )
    queued_batches: int = _limit(
        2,
        "batches of queued ingestion in progress",
        _CHOICE,
        "none: the next batch waits",
        "queued_batches_total",
    )
    queued_attempts: int = _limit(
        10,
        "attempts to ingest a queued message",
        _CHOICE,
        "RetryAttemptsError",
        "queued_failed_total",
    )
    queued_retry_first_seconds: float = _limit(
        1.0,
        "seconds before a batch that failed is tried again",
        _CHOICE,
        "none: doubled each time, a minute at most",
        "queued_retries_total",
    )
    queued_visibility_seconds: float = _limit(
        30.0,
        "seconds a message of a storage account stays hidden after it was taken",
        "visibilitytimeout of Get Messages",
        "none: it is seen again, and known",
        "queued_duplicates_total",
    )
    queued_poll_seconds: float = _limit(
        1.0,
        "seconds until a storage account's queue that was empty is asked again",
        _CHOICE,
        "none: the message waits",
        "queued_batches_total",
    )
    queued_request_blobs: int = _limit(
        20,
        "blobs of one request of queued ingestion over REST",
        "maxBlobsPerBatch of the service",
        "LimitExceededError",
        "queued_refused_total",
    )
    queued_sources: int = _limit(
        100_000,
        "newest source ids of queued ingestion remembered",
        _CHOICE,
        "none: the oldest is forgotten",
        "queued_duplicates_total",
    )
    storage_body_bytes: int = _limit(
        256 * MIB,
        "bytes of one request of the node's blob storage; blocks make larger blobs",
        "single upload of the SDKs",
        "413 RequestBodyTooLarge",
        "storage_refused_total",
    )
    storage_bytes: int = _limit(
        16 * 1024 * MIB,
        "bytes of all uploaded blobs and blocks; those ingested go first",
        _CHOICE,
        "503 ServerBusy",
        "storage_refused_total",
    )
    storage_blob_seconds: float = _limit(
        24 * 3600.0,
        "seconds an uploaded blob is kept that no message waits for",
        _CHOICE,
        "none: it is deleted",
        "storage_blobs_deleted_total",
    )
    storage_blocks: int = _limit(
        50_000,
        "blocks of one blob",
        "put-block-list",
        "400 BlockListTooLong",
        "storage_refused_total",
    )
    storage_message_bytes: int = _limit(
        64 * KIB,
        "bytes of one queue message",
        "about-queue-storage-metrics: 64 KiB a message",
        "413 RequestBodyTooLarge",
        "storage_refused_total",
    )
    storage_messages: int = _limit(
        100_000,
        "messages of one queue; of the status queues the oldest go",
        _CHOICE,
        "503 ServerBusy",
        "storage_refused_total",
    )
    storage_entities: int = _limit(
        100_000,
        "newest rows of the status table",
        _CHOICE,
        "none: the oldest goes",
        "storage_entities_deleted_total",
    )
    storage_signature_seconds: float = _limit(
        48 * 3600.0,
        "seconds a SAS or an identity token is good for",
        _CHOICE,
        "403 AuthenticationFailed",
        "storage_refused_total",
    )

    http_body_bytes: int = _limit(
        16 * MIB,
        "bytes of the body of an HTTP request, as sent, unless its address takes more",
        _CHOICE,
        "BodyTooLargeError",
        "http_too_large_total",
    )
    http_head_bytes: int = _limit(
        64 * KIB,
        "bytes of the target, header names and header values of an HTTP request",
        _CHOICE,
        "none: status 431, the connection is closed",
        "http_refused_total",
    )
    http_connections: int = _limit(
        1024,
        "HTTP connections to a node",
        _CHOICE,
        "none: further ones are closed",
        "http_connections_refused_total",
    )
    http_idle_seconds: float = _limit(
        120.0,
        "seconds an HTTP connection may be idle",
        _CHOICE,
        "none: it is closed",
        "none",
    )

    @classmethod
    def with_overrides(cls, overrides: Mapping[str, Any]) -> Limits:
        """The defaults with some replaced, as read from a configuration.

        Raises InvalidRequestError for a name that is no limit or a value that is not positive.
        """
        kinds = {info.name: type(info.default) for info in cls.describe()}
        for name, value in overrides.items():
            if name not in kinds:
                raise InvalidRequestError(f"there is no limit named '{name}'")
            allowed = (int, float) if kinds[name] is float else (int,)
            if isinstance(value, bool) or not isinstance(value, allowed) or value <= 0:
                raise InvalidRequestError(
                    f"limit '{name}' must be a positive number, not {value!r}"
                )
        return cls(**overrides)

    @classmethod
    def describe(cls) -> Iterator[LimitInfo]:
        """Yields one row for each limit, in the order of declaration."""
        for item in fields(cls):
            yield LimitInfo(name=item.name, default=item.default, **item.metadata)  # type: ignore[arg-type]


LIMITS = Limits()
"""The defaults."""
