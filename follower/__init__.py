"""Remora: the follower side of replication. See follower/DESIGN.md."""

from __future__ import annotations
