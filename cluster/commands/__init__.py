"""Management commands: a table of one-line grammars, a small interpreter, executors by subject."""

from __future__ import annotations
