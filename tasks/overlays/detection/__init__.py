"""Detects the overlays of a video."""
