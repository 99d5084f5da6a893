"""Conformance runs against real processes of this machine."""
