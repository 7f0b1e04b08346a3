"""Comparisons: plans, cells, runs that are killed, statistics."""
