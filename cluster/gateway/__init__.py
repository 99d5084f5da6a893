"""Doors: the services of ``cluster.rpc.v1`` over the core."""
