"""Run items in child processes."""
