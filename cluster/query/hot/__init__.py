"""The hot cache: extents as compressed tables in DuckDB's memory."""
