"""From a prepared light curve to transit candidates."""

from tasks.transits.searching.planets import SearchResult, search

__all__ = ["SearchResult", "search"]
