"""Queued ingestion: uploaded blobs, messages about them, batches by policy, statuses."""
