"""Starts and stops the processes of a setup on this machine: topologies, readiness, signals."""
