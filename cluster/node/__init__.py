"""One node process: its wiring, its life cycle and its link to the coordinator."""

from __future__ import annotations
