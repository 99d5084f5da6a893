"""The coordinator: who may follow what, and until when. See DESIGN.md beside this file."""

from __future__ import annotations
