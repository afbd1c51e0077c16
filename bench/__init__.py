"""Workloads that measure a raftsched cluster of real processes, for ``scripts/bench``."""
