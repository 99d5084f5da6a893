"""Queued ingestion with an Azure Storage account, or Azurite, as the place to upload to."""
