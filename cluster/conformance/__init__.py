"""Conformance of a replicated system: histories, the rules they keep, and runs that make them."""
