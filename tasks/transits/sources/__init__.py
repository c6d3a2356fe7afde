"""Fetches light curves from the archive MAST, through a cache that runs share."""
