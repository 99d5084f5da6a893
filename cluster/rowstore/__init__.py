"""The row store: fresh rows in a write-ahead log on disk and as Arrow batches in memory.

``DESIGN.md`` beside this file has the file format, the guarantees and what is not guaranteed.
"""

from __future__ import annotations
