"""The error for segments that are not as planned, although the source is."""

from __future__ import annotations

from tasks.engine.contract.errors import ItemError


class SegmentError(ItemError):
    """A segment or a joined video is not as planned. The message names the first difference."""
