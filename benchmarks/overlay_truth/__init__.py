"""Overlays on clean clips, detected and removed, and compared with the originals."""
