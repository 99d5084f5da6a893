"""A cluster's metadata: immutable trees, transactions and their journal."""

from __future__ import annotations
