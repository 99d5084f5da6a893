"""Conformance runs against clusters that somebody else runs, seen from outside only."""
