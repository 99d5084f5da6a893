"""A setup of real nodes and a real coordinator in one trio process: virtual time, seeded chance.

See ``DESIGN.md`` beside this file. The way in is :func:`cluster.testing.sim.run.run_seed`.
"""

from __future__ import annotations
