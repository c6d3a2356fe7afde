"""Searches a prepared light curve for transit candidates."""

from tasks.transits.searching.planets import SearchResult, search

__all__ = ["SearchResult", "search"]
