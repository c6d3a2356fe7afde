"""Predict a run without doing it."""
