"""Seeking saves work and nothing else: a container that lies about where it went does not change the frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from av.error import FFmpegError

from tasks.media import demuxing
from tasks.media.reading import VideoReader

from .conftest import digest


class Liar:
    """A container whose seeks go ``astray`` seconds too far, or fail where that is None."""

    def __init__(self, container: Any, astray: float | None) -> None:
        self._container, self._astray = container, astray
        self.seeks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def seek(self, timestamp: int, stream: Any, **options: Any) -> None:
        self.seeks += 1
        if self._astray is None:
            raise FFmpegError(1, "Operation not permitted")
        self._container.seek(timestamp + int(self._astray / stream.time_base), stream=stream, **options)


@pytest.mark.parametrize("astray", [0.0, 0.7, -0.7, 100.0, None])
@pytest.mark.parametrize("name", ["plain.mp4", "plain.ts", "open-gop-h264.mp4"])
def test_seeks_that_go_astray(
    name: str, astray: float | None, defect: Callable[[str], Path], reference: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demuxing, "_MIN_SEEK_BYTES", 0)
    expected = reference(defect(name))
    with VideoReader(defect(name)) as reader:
        liar = Liar(reader._source.container, astray)
        reader._source.container = liar
        frames = list(reader.read_frames([0, 17, 40]))
    assert liar.seeks
    assert [digest(frame.image) for frame in frames] == [expected[index][1] for index in (0, 17, 40)]


def test_frames_in_one_group_are_read_without_going_back(defect: Callable[[str], Path]) -> None:
    with VideoReader(defect("plain.mp4")) as reader:
        liar = Liar(reader._source.container, 0.0)
        reader._source.container = liar
        list(reader.read_frames(range(40)))
        assert liar.seeks == 1  # back to the beginning, after the index
