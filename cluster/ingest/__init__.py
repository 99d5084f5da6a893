"""Streaming ingestion: from bytes to typed rows in a table's row store. See ``DESIGN.md``."""
