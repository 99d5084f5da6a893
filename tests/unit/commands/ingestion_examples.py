"""One text of every form that ingests, and the documented columns of each."""

from __future__ import annotations

_ASYNC = {
    "ingest": ".ingest {} into table T ('a.csv', h'https://x/y.csv') with (format='csv')",
    **{
        mode: f".{mode} {{}} T with (tags='[\"a\"]') <| T | where a == '<|'"
        for mode in ("set", "append", "set-or-append", "set-or-replace")
    },
}
_QUERY_ROW = (
    "ExtentId:guid OriginalSize:long ExtentSize:long CompressedSize:long IndexSize:long "
    "RowCount:long"
)

INGESTION_EXAMPLES = {
    "ingest inline": ".ingest inline into table T with (format='csv') <|\n1,a | b\n",
    **{name: text.format("") for name, text in _ASYNC.items()},
    **{f"{name} async": text.format("async") for name, text in _ASYNC.items()},
}

INGESTION_RESULTS = {
    "ingest inline": "ExtentId:guid",
    "ingest": "ExtentId:guid ItemLoaded Duration:timespan HasErrors:bool OperationId:guid",
    "set": _QUERY_ROW,
    "append": _QUERY_ROW,
    "set-or-append": _QUERY_ROW,
    "set-or-replace": _QUERY_ROW,
    **{f"{name} async": "OperationId:guid" for name in _ASYNC},
}
