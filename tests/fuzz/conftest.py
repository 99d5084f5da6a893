"""Fuzzing uses the worlds that unit tests are played in."""

from __future__ import annotations

import sys

from fuzzing import WORLDS

for folder in WORLDS:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
