"""Every error Remora raises on purpose.

::

    RemoraError
    ├── RequestError                     the caller's request is wrong: permanent
    │   ├── SyntaxRefusedError           BadRequest_SyntaxError
    │   ├── SemanticError                General_BadRequest (SEMxxxx)
    │   ├── InvalidRequestError          General_BadRequest
    │   ├── ZeroRetentionError           BadRequest_ZeroRetentionPolicyWithNoUpdatePolicy
    │   ├── NotSupportedError            BadRequest_NotSupported
    │   ├── EntityNameError              BadRequest_EntityNameIsNotValid
    │   ├── DatabaseNotFoundError        BadRequest_DatabaseNotExist
    │   ├── TableNotFoundError           BadRequest_TableNotExist
    │   ├── EntityNotFoundError          BadRequest_EntityNotFound
    │   ├── EntityExistsError            BadRequest_EntityAlreadyExists
    │   ├── MappingNotFoundError         BadRequest_MappingReferenceWasNotFound
    │   ├── MappingNotValidError         BadRequest_InvalidMapping
    │   ├── MappingInconsistentError     BadRequest_InconsistentMapping
    │   ├── MappingReferenceError        BadRequest_InvalidMappingReference
    │   ├── IngestionContextError        BadRequest_IngestionPropertyNotSupportedInThisContext
    │   ├── UpdatePolicyRequestError     UpdatePolicy_BadRequest
    │   ├── UpdatePolicySchemaError      UpdatePolicy_QuerySchemaDoesNotMatchTableSchema
    │   ├── UpdatePolicyCycleError       UpdatePolicy_Cyclic_Update_Not_Allowed
    │   ├── FormatNotSupportedError      BadRequest_FormatNotSupported
    │   ├── IngestionPropertyError       BadRequest_MalformedIngestionProperty
    │   ├── DuplicateMappingError        BadRequest_DuplicateMapping
    │   ├── CreationTimeError            BadRequest_CreationTimeEarlierThanSoftDeletePeriod
    │   ├── SourceNotFoundError          Download_SourceNotFound
    │   ├── SourceForbiddenError         Download_Forbidden
    │   ├── FieldCountError              Stream_WrongNumberOfFields
    │   ├── ClosingQuoteError            Stream_ClosingQuoteMissing
    │   ├── MalformedPayloadError        BadRequest_NoRecordsOrWrongFormat
    │   ├── InvalidCharacterError        BadRequest_UnexpectedCharacterInInputStream
    │   ├── InvalidArchiveError          BadRequest_InvalidArchive
    │   ├── EmptyPayloadError            Stream_NoDataToIngest
    │   ├── CorruptedMessageError        BadRequest_CorruptedMessage
    │   ├── BlobAddressError             BadRequest_InvalidBlobUri
    │   ├── IdentityTokenError           BadRequest_InvalidKustoIdentityToken
    │   ├── RetryAttemptsError           General_RetryAttemptsExceeded
    │   ├── PayloadTooLargeError         Stream_InputStreamTooLarge
    │   ├── BodyTooLargeError            General_BadRequest
    │   ├── RouteNotFoundError           NotFound
    │   ├── MethodNotAllowedError        General_BadRequest
    │   ├── HostRefusedError             Forbidden
    │   ├── OriginRefusedError           Forbidden
    │   ├── UnauthenticatedError         Unauthorized
    │   ├── AccessDeniedError            Forbidden
    │   └── LimitExceededError           LimitsExceeded
    ├── StateError                       right request, wrong state of the service: permanent
    │   ├── ConflictError                Conflict
    │   ├── ReadOnlyError                Forbidden
    │   ├── StreamingDisabledError       NotFound_StreamingIngestionDisabledForCluster
    │   ├── StreamingPolicyError         BadRequest_StreamingIngestionPolicyNotEnabled
    │   ├── UpdatePolicyIncompatibleError  BadRequest_UpdatePolicyIncompatible
    │   ├── StorageRefusedError          Download_Forbidden
    │   ├── FollowRefusedError           Conflict
    │   └── FollowNotGrantedError        Forbidden
    ├── TransientError                   try again: not permanent
    │   ├── ThrottledError               General_ThrottledIngestion
    │   │   └── QueryThrottledError      TooManyRequests
    │   ├── UpdatePolicyFailedError      UpdatePolicy_IngestionError
    │   ├── RowStoreFullError            General_InternalServerError (E_RS_LOCAL_STORAGE_FULL)
    │   ├── RowStoreReadOnlyError        General_InternalServerError (E_RS_READONLY)
    │   ├── StorageFullError             General_InternalServerError
    │   ├── StorageUnavailableError      Download_UnknownError
    │   ├── TimedOutError                Timeout
    │   ├── CanceledError                General_Canceled (E_QUERY_CANCELLED of a query)
    │   ├── UnavailableError             ServiceUnavailable
    │   ├── TooStaleError                ServiceUnavailable
    │   └── InternalError                General_InternalServerError
    ├── PeerError                        another process broke the protocol
    │   ├── ProtocolError                it sent what the protocol forbids
    │   └── DivergenceError              it sent bytes that do not match ours
    ├── CorruptionError                  our own file is damaged; names file and offset
    │   └── FileMissingError             a file that the metadata names is not in its storage root
    └── RpcError                         a call failed with a status no class above claims

Each class knows its Kusto code and type, HTTP and gRPC status, permanence, and the
machine-readable ``reason`` used in ``google.rpc.ErrorInfo``, which no two classes share. Codes and
statuses are those of Microsoft's ``error-codes.md`` and
``api/netfx/kusto-data-client-errors.md``; where no code is documented the class docstring says so.
A message says what was wrong; ``remedy`` says what to do.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ERROR_DOMAIN = "remora"


class Status(enum.IntEnum):
    """Canonical gRPC status codes (``google/rpc/code.proto``)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RemoraError(Exception):
    """Base of everything raised on purpose.

    ``metadata`` holds the facts behind the message (names, sizes, limits) as text; it travels in
    ``google.rpc.ErrorInfo.metadata``. ``retry_after_seconds`` travels as ``RetryInfo``.
    """

    code: ClassVar[str] = "General_InternalServerError"
    kusto_type: ClassVar[str] = "Kusto.Common.Svc.Exceptions.InternalServiceErrorException"
    http_status: ClassVar[int] = 520
    status: ClassVar[Status] = Status.INTERNAL
    reason: ClassVar[str] = "ERROR"
    permanent: ClassVar[bool] = False
    default_remedy: ClassVar[str] = "Look at the node's log."

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class RequestError(RemoraError):
    """The caller's request is wrong; sending it again fails again."""

    code = "General_BadRequest"
    kusto_type = "Kusto.Data.Exceptions.KustoBadRequestException"
    http_status = 400
    status = Status.INVALID_ARGUMENT
    reason = "BAD_REQUEST"
    permanent = True
    default_remedy = "Correct the request."


class SyntaxRefusedError(RequestError):
    """The text of a query or command does not parse."""

    code = "BadRequest_SyntaxError"
    kusto_type = "Kusto.Data.Exceptions.SyntaxException"
    reason = "SYNTAX_ERROR"
    default_remedy = "Correct the text at the position named."


class SemanticError(RequestError):
    """The text parses but names or types do not resolve. The message starts with SEMxxxx."""

    kusto_type = "Kusto.Data.Exceptions.SemanticException"
    reason = "SEMANTIC_ERROR"
    default_remedy = "Use names and types that exist in the database."


class InvalidRequestError(RequestError):
    """A value in the request is out of its documented domain."""

    reason = "INVALID_REQUEST"


class ZeroRetentionError(RequestError):
    """A retention of zero where no update policy takes the rows."""

    code = "BadRequest_ZeroRetentionPolicyWithNoUpdatePolicy"
    reason = "ZERO_RETENTION"
    default_remedy = "Set a SoftDeletePeriod above zero."


class NotSupportedError(RequestError):
    """Kusto has it, Remora does not."""

    code = "BadRequest_NotSupported"
    http_status = 400
    status = Status.UNIMPLEMENTED
    reason = "NOT_SUPPORTED"
    default_remedy = "See the README for what is supported."


class EntityNameError(RequestError):
    """A name breaks the rules of Kusto entity names."""

    code = "BadRequest_EntityNameIsNotValid"
    kusto_type = "Kusto.Data.Exceptions.EntityNameIsNotValidException"
    reason = "ENTITY_NAME_NOT_VALID"
    default_remedy = (
        "Use 1 to 1024 letters, digits, underscores, spaces, dots or dashes, "
        "not starting or ending with two underscores."
    )


class DatabaseNotFoundError(RequestError):
    """No database of that name on this cluster."""

    code = "BadRequest_DatabaseNotExist"
    kusto_type = "Kusto.Data.Exceptions.DatabaseNotFoundException"
    status = Status.NOT_FOUND
    reason = "DATABASE_NOT_FOUND"
    default_remedy = "List the databases with .show databases, or create it on the leader."


class TableNotFoundError(RequestError):
    """No table of that name in the database."""

    code = "BadRequest_TableNotExist"
    kusto_type = "Kusto.Data.Exceptions.TableNotFoundException"
    status = Status.NOT_FOUND
    reason = "TABLE_NOT_FOUND"
    default_remedy = "List the tables with .show tables; table names are case-sensitive."


class EntityNotFoundError(RequestError):
    """Something else named in the request does not exist."""

    code = "BadRequest_EntityNotFound"
    kusto_type = "Kusto.Data.Exceptions.EntityNotFoundInContainerException"
    status = Status.NOT_FOUND
    reason = "ENTITY_NOT_FOUND"
    default_remedy = "Check the name."


class EntityExistsError(RequestError):
    """Something of that name exists already. The code is not documented by Microsoft."""

    code = "BadRequest_EntityAlreadyExists"
    kusto_type = "Kusto.Data.Exceptions.EntityAlreadyExistsException"
    status = Status.ALREADY_EXISTS
    reason = "ENTITY_ALREADY_EXISTS"
    default_remedy = "Choose another name, or add ifnotexists."


class MappingNotFoundError(RequestError):
    """No pre-created ingestion mapping of that name."""

    code = "BadRequest_MappingReferenceWasNotFound"
    kusto_type = "Kusto.Data.Exceptions.MappingNotFoundException"
    status = Status.NOT_FOUND
    reason = "MAPPING_NOT_FOUND"
    default_remedy = "Create the mapping first, or leave it out to map by position or name."


class MappingNotValidError(RequestError):
    """The text of an ingestion mapping is not one."""

    code = "BadRequest_InvalidMapping"
    kusto_type = "Kusto.Data.Exceptions.MappingNotValidException"
    reason = "MAPPING_NOT_VALID"
    default_remedy = "Correct the mapping at the element named."


class MappingInconsistentError(RequestError):
    """A mapping names a column the table does not have, or has with another type."""

    code = "BadRequest_InconsistentMapping"
    kusto_type = "Kusto.Data.Exceptions.MappingNotValidException"
    reason = "MAPPING_INCONSISTENT"
    default_remedy = "Alter the mapping, or the table, so that they fit."


class MappingReferenceError(RequestError):
    """The mapping exists, but is of a kind that does not fit the data format."""

    code = "BadRequest_InvalidMappingReference"
    kusto_type = "Kusto.Data.Exceptions.MappingNotValidException"
    reason = "MAPPING_REFERENCE_NOT_VALID"
    default_remedy = "Name a mapping of the format's kind."


class IngestionContextError(RequestError):
    """An ingestion property that this way of ingestion does not take."""

    code = "BadRequest_IngestionPropertyNotSupportedInThisContext"
    reason = "INGESTION_PROPERTY_NOT_SUPPORTED"
    default_remedy = "Leave the property out, or ingest into extents with .ingest."


class UpdatePolicyRequestError(RequestError):
    """An update policy cannot be set, or cannot run: its query or source is wrong."""

    code = "UpdatePolicy_BadRequest"
    reason = "UPDATE_POLICY_BAD_REQUEST"
    default_remedy = "Correct the update policy."


class UpdatePolicySchemaError(RequestError):
    """The query of an update policy does not give the target table's columns."""

    code = "UpdatePolicy_QuerySchemaDoesNotMatchTableSchema"
    reason = "UPDATE_POLICY_SCHEMA_MISMATCH"
    default_remedy = "Give the target table's types in its column order, with project."


class UpdatePolicyCycleError(RequestError):
    """A table would be its own source."""

    code = "UpdatePolicy_Cyclic_Update_Not_Allowed"
    reason = "UPDATE_POLICY_CYCLE"
    default_remedy = "Name another source table."


class FormatNotSupportedError(RequestError):
    """The data format is unknown, or not one that streaming ingestion takes."""

    code = "BadRequest_FormatNotSupported"
    kusto_type = "Kusto.Data.Exceptions.FormatNotSupportedException"
    reason = "FORMAT_NOT_SUPPORTED"
    default_remedy = "Use a format the README lists for this way of ingestion."


class IngestionPropertyError(RequestError):
    """A property of an ingestion command is unknown, malformed, or not for this command."""

    code = "BadRequest_MalformedIngestionProperty"
    kusto_type = "Kusto.Data.Exceptions.KustoBadRequestException"
    reason = "MALFORMED_INGESTION_PROPERTY"
    default_remedy = "Correct or leave out the property named."


class DuplicateMappingError(RequestError):
    """Both an inline mapping and the name of a pre-created one."""

    code = "BadRequest_DuplicateMapping"
    kusto_type = "Kusto.Data.Exceptions.DuplicateMappingException"
    reason = "DUPLICATE_MAPPING"
    default_remedy = "Give ingestionMapping or ingestionMappingReference, not both."


class CreationTimeError(RequestError):
    """The data would be older than the table keeps data."""

    code = "BadRequest_CreationTimeEarlierThanSoftDeletePeriod"
    kusto_type = "Kusto.Data.Exceptions.KustoBadRequestException"
    reason = "CREATION_TIME_TOO_EARLY"
    default_remedy = "Give a later creationTime, or lengthen the retention policy."


class SourceNotFoundError(RequestError):
    """There is no such file or blob."""

    code = "Download_SourceNotFound"
    kusto_type = "Kusto.Data.Exceptions.KustoBadRequestException"
    reason = "SOURCE_NOT_FOUND"
    default_remedy = "Check the path or URL of the source."


class SourceForbiddenError(RequestError):
    """The source may not be read: outside the folder allowed, or its store refuses."""

    code = "Download_Forbidden"
    kusto_type = "Kusto.Data.Exceptions.KustoBadRequestException"
    http_status = 403
    status = Status.PERMISSION_DENIED
    reason = "SOURCE_FORBIDDEN"
    default_remedy = "Copy the file into the folder named, or give a URL with credentials."


class FieldCountError(RequestError):
    """A record has more or fewer fields than the table has columns (0x80DA0008)."""

    code = "Stream_WrongNumberOfFields"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    reason = "WRONG_NUMBER_OF_FIELDS"
    default_remedy = "Send one field for each column of the table, in the table's column order."


class ClosingQuoteError(RequestError):
    """A quoted field is never closed (0x80DA000B)."""

    code = "Stream_ClosingQuoteMissing"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    reason = "CLOSING_QUOTE_MISSING"
    default_remedy = "Close the quoted field; double a quote that belongs to the value."


class MalformedPayloadError(RequestError):
    """The payload is not of the format named, or a value does not fit its column's type."""

    code = "BadRequest_NoRecordsOrWrongFormat"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    reason = "NO_RECORDS_OR_WRONG_FORMAT"
    default_remedy = "Check the format named and the value at the record and column named."


class InvalidCharacterError(RequestError):
    """The payload is not valid UTF-8."""

    code = "BadRequest_UnexpectedCharacterInInputStream"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    reason = "UNEXPECTED_CHARACTER"
    default_remedy = "Encode the payload as UTF-8."


class InvalidArchiveError(RequestError):
    """The payload starts like gzip but cannot be decompressed."""

    code = "BadRequest_InvalidArchive"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    reason = "INVALID_ARCHIVE"
    default_remedy = "Send one or more complete gzip members and nothing after them."


class EmptyPayloadError(RequestError):
    """There is no record in the payload."""

    code = "Stream_NoDataToIngest"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    reason = "NO_DATA_TO_INGEST"
    default_remedy = "Send at least one record."


class CorruptedMessageError(RequestError):
    """A message of queued ingestion is not one."""

    code = "BadRequest_CorruptedMessage"
    reason = "CORRUPTED_MESSAGE"
    default_remedy = "Queue messages as the SDKs do."


class BlobAddressError(RequestError):
    """A message of queued ingestion names no blob that is read here."""

    code = "BadRequest_InvalidBlobUri"
    reason = "BLOB_ADDRESS_NOT_VALID"
    default_remedy = "Name a blob by its full address, with a SAS token."


class IdentityTokenError(RequestError):
    """A message of queued ingestion does not say who has sent it."""

    code = "BadRequest_InvalidKustoIdentityToken"
    reason = "IDENTITY_TOKEN_NOT_VALID"
    http_status = 403
    status = Status.PERMISSION_DENIED
    default_remedy = "Get a new token with .get kusto identity token."


class RetryAttemptsError(RequestError):
    """Queued ingestion was tried as often as it may be."""

    code = "General_RetryAttemptsExceeded"
    reason = "RETRY_ATTEMPTS_EXCEEDED"
    default_remedy = "Look at what went wrong, and queue the blob again."


class PayloadTooLargeError(RequestError):
    """The payload is over the streaming limits; clients should queue it instead."""

    code = "Stream_InputStreamTooLarge"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestPayloadTooLargeException"
    http_status = 413
    status = Status.RESOURCE_EXHAUSTED
    reason = "PAYLOAD_TOO_LARGE"
    default_remedy = "Split the payload into smaller requests."


class BodyTooLargeError(RequestError):
    """The body of an HTTP request is over what its address takes."""

    kusto_type = "Kusto.Data.Exceptions.KustoRequestPayloadTooLargeException"
    http_status = 413
    status = Status.RESOURCE_EXHAUSTED
    reason = "BODY_TOO_LARGE"
    default_remedy = "Send less in one request, or raise the limit named."


class RouteNotFoundError(RequestError):
    """No endpoint at this address. The code is not documented by Microsoft."""

    code = "NotFound"
    http_status = 404
    status = Status.NOT_FOUND
    reason = "ROUTE_NOT_FOUND"
    default_remedy = "See the README for the addresses that are served."


class MethodNotAllowedError(RequestError):
    """The endpoint does not take this HTTP method. Metadata names those it does as ``allow``."""

    http_status = 405
    status = Status.UNIMPLEMENTED
    reason = "METHOD_NOT_ALLOWED"
    default_remedy = "Use a method that the Allow header names."


class HostRefusedError(RequestError):
    """The request was sent to a name that is not this node's: a web page may be behind it."""

    code = "Forbidden"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestDeniedException"
    http_status = 403
    status = Status.PERMISSION_DENIED
    reason = "HOST_REFUSED"
    default_remedy = "Use localhost or 127.0.0.1, or allow the name: remora up --allow-host NAME."


class OriginRefusedError(RequestError):
    """A web page of another site sent the request."""

    code = "Forbidden"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestDeniedException"
    http_status = 403
    status = Status.PERMISSION_DENIED
    reason = "ORIGIN_REFUSED"
    default_remedy = "Allow the page's host: remora up --allow-host NAME."


class UnauthenticatedError(RequestError):
    """Nobody knows who sent the request, and that is required; or its token is of the past."""

    code = "Unauthorized"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestDeniedException"
    http_status = 401
    status = Status.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"
    default_remedy = (
        "Send a token: an application's own, got with its id and secret, or one that the setup's "
        "[auth] table names."
    )


class AccessDeniedError(RequestError):
    """The caller has no role that allows this. The remedy is the command that would give one."""

    code = "Forbidden"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestDeniedException"
    http_status = 403
    status = Status.PERMISSION_DENIED
    reason = "ACCESS_DENIED"
    default_remedy = "Ask an administrator of the database for the role."


class LimitExceededError(RequestError):
    """A named limit of limits.py is exceeded."""

    code = "LimitsExceeded"
    kusto_type = "Kusto.Data.Exceptions.KustoServicePartialQueryFailureLimitsExceededException"
    status = Status.RESOURCE_EXHAUSTED
    reason = "LIMIT_EXCEEDED"
    default_remedy = "Ask for less, or raise the limit named."


class StateError(RemoraError):
    """The request is right but the service's state forbids it; waiting does not help."""

    code = "Conflict"
    kusto_type = "Kusto.Data.Exceptions.KustoConflictException"
    http_status = 409
    status = Status.FAILED_PRECONDITION
    reason = "WRONG_STATE"
    permanent = True
    default_remedy = "Change the state named, then repeat the request."


class ConflictError(StateError):
    """The operation contradicts the present configuration."""

    reason = "CONFLICT"


class ReadOnlyError(StateError):
    """A mutating request on a database that follows a leader.

    Microsoft documents that it fails but neither code nor status (declared choice: 403).
    """

    code = "Forbidden"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestDeniedException"
    http_status = 403
    status = Status.PERMISSION_DENIED
    reason = "DATABASE_IS_READ_ONLY"
    default_remedy = "Send it to the leader cluster; a follower database is read-only."


class ReadOnlyRequestError(ReadOnlyError):
    """The client asked that its request change nothing, and it would."""

    reason = "REQUEST_IS_READ_ONLY"
    default_remedy = "Send it without request_readonly and x-ms-readonly."


class StreamingDisabledError(StateError):
    """The cluster's streaming capability is off."""

    code = "NotFound_StreamingIngestionDisabledForCluster"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    http_status = 404
    reason = "STREAMING_DISABLED_FOR_CLUSTER"
    default_remedy = "Turn streaming ingestion on for the cluster: remora capability CLUSTER on."


class StreamingPolicyError(StateError):
    """Neither the table nor its database has the streaming ingestion policy enabled."""

    code = "BadRequest_StreamingIngestionPolicyNotEnabled"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionPolicyNotEnabledException"
    http_status = 400
    reason = "STREAMING_POLICY_NOT_ENABLED"
    default_remedy = "Run .alter table T policy streamingingestion enable on the leader."


class UpdatePolicyIncompatibleError(StateError):
    """Rows cannot be streamed into a table that an update policy reads in a forbidden way.

    The code is known from the SDKs, which queue such a request instead.
    """

    code = "BadRequest_UpdatePolicyIncompatible"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    http_status = 400
    reason = "UPDATE_POLICY_INCOMPATIBLE"
    default_remedy = "Ingest into extents with .ingest, or change the update policy."


class StorageRefusedError(StateError):
    """A storage root denies access, or there is no such folder, container or bucket."""

    code = "Download_Forbidden"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestDeniedException"
    http_status = 403
    status = Status.PERMISSION_DENIED
    reason = "STORAGE_REFUSED"
    default_remedy = "Check the storage root's URL, and the rights and credentials of the node."


class FollowRefusedError(StateError):
    """A follower without streaming capability may not follow streaming data."""

    reason = "FOLLOWER_STREAMING_DISABLED"
    default_remedy = "Turn streaming ingestion on for the follower: remora capability CLUSTER on."


class FollowNotGrantedError(StateError):
    """The coordinator grants this follower nothing of this database (or no longer)."""

    code = "Forbidden"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestDeniedException"
    http_status = 403
    status = Status.PERMISSION_DENIED
    reason = "FOLLOW_NOT_GRANTED"
    default_remedy = "Attach the database: remora attach LEADER/DB FOLLOWER."


class TransientError(RemoraError):
    """The same request may succeed later."""

    reason = "TRANSIENT"


class ThrottledError(TransientError):
    """Too many requests at once."""

    code = "General_ThrottledIngestion"
    kusto_type = "Kusto.Data.Exceptions.KustoRequestThrottledException"
    http_status = 429
    status = Status.RESOURCE_EXHAUSTED
    reason = "THROTTLED"
    default_remedy = "Retry after a back-off, or send fewer requests at once."


class QueryThrottledError(ThrottledError):
    """More queries at once than the node answers."""

    code = "TooManyRequests"
    reason = "QUERY_THROTTLED"
    default_remedy = "Retry after a back-off, or run fewer queries at once."


class UpdatePolicyFailedError(TransientError):
    """A transactional update policy failed, so the rows of its source are not stored either."""

    code = "UpdatePolicy_IngestionError"
    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionRequestException"
    http_status = 400
    status = Status.ABORTED
    reason = "UPDATE_POLICY_FAILED"
    default_remedy = "Look at the failure named; retry, or correct the update policy."


class RowStoreFullError(TransientError):
    """Unsealed data has reached the row store's limit (E_RS_LOCAL_STORAGE_FULL_ERROR)."""

    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionServiceException"
    status = Status.RESOURCE_EXHAUSTED
    reason = "ROW_STORE_FULL"
    default_remedy = "Drop tables that are not needed, or free disk space."


class RowStoreReadOnlyError(TransientError):
    """A write or fsync failed; nothing is taken until the node restarts (E_RS_READONLY_ERROR)."""

    kusto_type = "Kusto.DataNode.Exceptions.StreamingIngestionServiceException"
    status = Status.UNAVAILABLE
    reason = "ROW_STORE_READ_ONLY"
    default_remedy = "Repair the disk named in the node's log, then restart the node."


class StorageFullError(TransientError):
    """The disk of a storage root or of a node's work folder is full."""

    status = Status.RESOURCE_EXHAUSTED
    reason = "STORAGE_FULL"
    default_remedy = "Free disk space where the folder named is, then repeat the request."


class StorageUnavailableError(TransientError):
    """A storage root failed as often as it was tried; what was asked may or may not be done."""

    code = "Download_UnknownError"
    http_status = 503
    status = Status.UNAVAILABLE
    reason = "STORAGE_UNAVAILABLE"
    default_remedy = "Check that the storage root named can be reached; then repeat the request."


class TimedOutError(TransientError):
    """The time allowed is over."""

    code = "Timeout"
    kusto_type = "Kusto.Data.Exceptions.KustoServiceTimeoutException"
    http_status = 504
    status = Status.DEADLINE_EXCEEDED
    reason = "TIMEOUT"
    default_remedy = "Allow more time, or ask for less."


class CanceledError(TransientError):
    """A query or an operation was canceled by a command (E_QUERY_CANCELLED of a query)."""

    code = "General_Canceled"
    kusto_type = "Kusto.Data.Exceptions.KustoServicePartialQueryFailureException"
    http_status = 499
    status = Status.CANCELLED
    reason = "CANCELED"
    default_remedy = "Send it again if it was not meant."


class UnavailableError(TransientError):
    """A process that is needed cannot be reached or is stopping."""

    code = "ServiceUnavailable"
    http_status = 503
    status = Status.UNAVAILABLE
    reason = "UNAVAILABLE"
    default_remedy = "Check remora status; retry when the process is back."


class AccountRefusedError(UnavailableError):
    """The storage account of queued ingestion will never take this one request."""

    reason = "ACCOUNT_REFUSED"
    default_remedy = "Look at the answer named; the account's own log may say more."


class BlobUnreadableError(TransientError):
    """The storage account answers and has the blob, but does not give its bytes."""

    code = "Download_UnknownError"
    http_status = 503
    status = Status.UNAVAILABLE
    reason = "BLOB_UNREADABLE"
    default_remedy = "Read the blob by other means: it may be archived, or its account faulty."


class TooStaleError(TransientError):
    """A follower may be further behind its leader than the query allows. No documented code."""

    code = "ServiceUnavailable"
    http_status = 503
    status = Status.UNAVAILABLE
    reason = "TOO_STALE"
    default_remedy = "Ask again when it has caught up, allow more, or ask the leader."


class InternalError(TransientError):
    """A defect of Remora itself."""

    reason = "INTERNAL"
    default_remedy = "Report it with the node's log."


class PeerError(RemoraError):
    """Another process broke the protocol. Never the local caller's fault."""

    status = Status.ABORTED
    reason = "PEER_ERROR"


class ProtocolError(PeerError):
    """A peer sent what the protocol forbids; the session is closed."""

    reason = "PROTOCOL_ERROR"
    default_remedy = "Check that both sides run the same version."


class DivergenceError(PeerError):
    """A peer's bytes do not match ours at the same position."""

    status = Status.DATA_LOSS
    reason = "DIVERGED"
    default_remedy = "The follower asks for a snapshot by itself; look at both logs."


class CorruptionError(RemoraError):
    """A file of this node is damaged. Metadata names ``file`` and ``offset``."""

    status = Status.DATA_LOSS
    reason = "CORRUPT_FILE"
    default_remedy = "Restore the file from a backup, or move it away to lose what it holds."


class FileMissingError(CorruptionError):
    """A file that the metadata names is not in its storage root. Metadata names ``file``."""

    reason = "FILE_MISSING"
    default_remedy = "Put the file back from a backup, or drop the extents that need it."


class RpcError(RemoraError):
    """A remote call failed with a status that carries no Remora reason."""

    reason = "RPC_FAILED"
    default_remedy = "Check that the address is a Remora node and that it is up."

    def __init__(self, status: Status, message: str, **kwargs: object) -> None:
        super().__init__(message, **kwargs)  # type: ignore[arg-type]
        self.rpc_status = status

    def __str__(self) -> str:
        return f"{self.rpc_status.name}: {self.message}"


def error_classes(root: type[RemoraError] = RemoraError) -> Iterator[type[RemoraError]]:
    """Yields ``root`` and every class below it, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)
