"""Landmark files: writing and reading the landmarks of one sample in every format."""
