"""Checkers: pure functions from the index of a history to what was found. See ``rules``."""
