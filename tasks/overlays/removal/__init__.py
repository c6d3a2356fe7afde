"""Removes overlays: computes visible background samples and estimates hidden ones."""
