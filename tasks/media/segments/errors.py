"""What goes wrong with segments that is not the source's fault."""

from __future__ import annotations

from tasks.engine.contract.errors import ItemError


class SegmentError(ItemError):
    """A segment, or the video joined of segments, is not what it must be. The message names the first difference."""
