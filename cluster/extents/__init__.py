"""Sealed data: extent files, the storage roots they live in, and what becomes of them."""
