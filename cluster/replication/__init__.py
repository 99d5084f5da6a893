"""The leader's side of Follow, and the types both sides share."""

from __future__ import annotations
