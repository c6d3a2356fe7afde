"""Landmark detection: MediaPipe, and a second search for hands that it lost."""
