"""Overlays put on clean clips, found and removed again, and compared with what lay beneath."""
