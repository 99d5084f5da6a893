"""Batch ingestion: data that goes into extents at once, by command."""
