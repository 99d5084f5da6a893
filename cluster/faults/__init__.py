"""Faults as a tool: what a user makes go wrong in a running setup, and how it gets there."""
