"""Results, datasets and requests for the tests of the REST query endpoints."""

from __future__ import annotations

import json

import pyarrow as pa

from cluster.catalog.model import ScalarType
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.rest.dataset import Completion, Dataset, Failure
from cluster.query.binding import QueryResult, ResultColumn
from cluster.query.types import RESULT_TYPES

ACTIVITY = "11111111-2222-4333-8444-555555555555"
DONE = Completion("KPC.execute;7", ACTIVITY, 1_700_000_000_123_456_700, 0.25)
FAILURE = Failure(
    {
        "code": "LimitsExceeded",
        "message": "m",
        "@type": "t",
        "@message": "too many rows",
        "@context": {},
        "@permanent": False,
    },
    "too many rows",
)


def result_of(**columns) -> QueryResult:
    """A result: names with ``(type, values)``."""
    return QueryResult(
        tuple(ResultColumn(name, ScalarType(kind)) for name, (kind, _) in columns.items()),
        pa.table(
            {
                name: pa.array(values, RESULT_TYPES[ScalarType(kind)])
                for name, (kind, values) in columns.items()
            }
        ),
    )


def dataset_of(*results: QueryResult, failure: Failure | None = None) -> Dataset:
    return Dataset(results, DONE, failure)


def post(path: str, body: object, **headers: str) -> HttpRequest:
    """A request that has passed the door; ``x_ms_app`` stands for ``x-ms-app``."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpRequest(
        "POST",
        path,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=raw,
        activity_id=ACTIVITY,
    )
