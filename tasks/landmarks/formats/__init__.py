"""The files that hold the landmarks of one sample, written and read."""
