"""Folder layouts of sign-language collections, and the samples in them."""
