"""Seeks that fail or arrive elsewhere do not change the frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from av.error import FFmpegError

from tasks.media import demuxing
from tasks.media.reading import VideoReader

from .conftest import digest


class InaccurateSeeks:
    """A container whose seeks go ``offset_seconds`` too far, or fail if it is None."""

    def __init__(self, container: Any, offset_seconds: float | None) -> None:
        self._container, self._offset_seconds = container, offset_seconds
        self.seeks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def seek(self, timestamp: int, stream: Any, **options: Any) -> None:
        self.seeks += 1
        if self._offset_seconds is None:
            raise FFmpegError(1, "Operation not permitted")
        self._container.seek(timestamp + int(self._offset_seconds / stream.time_base), stream=stream, **options)


@pytest.mark.parametrize("offset_seconds", [0.0, 0.7, -0.7, 100.0, None])
@pytest.mark.parametrize("name", ["plain.mp4", "plain.ts", "open-gop-h264.mp4"])
def test_inaccurate_seeks_do_not_change_frames(
    name: str,
    offset_seconds: float | None,
    defect: Callable[[str], Path],
    reference: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demuxing, "_MIN_SEEK_BYTES", 0)
    expected = reference(defect(name))
    with VideoReader(defect(name)) as reader:
        container = InaccurateSeeks(reader._source.container, offset_seconds)
        reader._source.container = container
        frames = list(reader.read_frames([0, 17, 40]))
    assert container.seeks
    assert [digest(frame.image) for frame in frames] == [expected[index][1] for index in (0, 17, 40)]


def test_frames_of_one_run_are_read_with_one_seek(defect: Callable[[str], Path]) -> None:
    with VideoReader(defect("plain.mp4")) as reader:
        container = InaccurateSeeks(reader._source.container, 0.0)
        reader._source.container = container
        list(reader.read_frames(range(40)))
        assert container.seeks == 1  # back to the beginning, after the index
