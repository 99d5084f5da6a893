"""Blob, queue and table storage of a node, as the SDKs' storage clients speak to Azure's."""
