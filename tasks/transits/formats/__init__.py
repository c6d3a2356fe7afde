"""Readers for the file formats of light curves. Each returns the content of one file, before normalisation."""
