"""What tests import: fakes whose behaviour is that of the real thing, and its failures."""

from __future__ import annotations
