"""Measuring what is wrong with a tape, over a few windows of it: ``measure.diagnose``."""
