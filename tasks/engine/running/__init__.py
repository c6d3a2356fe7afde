"""Runs items in child processes."""
