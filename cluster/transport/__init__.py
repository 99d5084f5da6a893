"""Messages between processes: gRPC on trio, and an in-memory twin for tests."""

from __future__ import annotations
