"""Frames of a video before and after processing, read side by side."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey


class PairReader:
    """Readers of a source video and of the video derived from it. Use it in a ``with`` block."""

    def __init__(self, source: Path, source_survey: Survey, result: Path, result_survey: Survey) -> None:
        with ExitStack() as guard:
            self.before = guard.enter_context(SegmentReader(source, source_survey))
            self.after = guard.enter_context(SegmentReader(result, result_survey))
            self._open = guard.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def spread_positions(count: int, rows: int) -> list[int]:
    """Return ``rows`` positions evenly spread through ``count`` frames; fewer if there are fewer frames."""
    return sorted({(2 * row + 1) * count // (2 * rows) for row in range(rows)})


def format_timestamp(seconds: float) -> str:
    """Return a time as minutes and seconds."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}"
