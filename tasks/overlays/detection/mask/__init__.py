"""Overlays that the user gives as an image or a box."""
