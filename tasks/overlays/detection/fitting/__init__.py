"""Opacity, color and frame ranges of an overlay, fitted to frames over different backgrounds."""
