"""Detect the landmarks of one person, frame by frame, sample by sample."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tasks.engine.contract.errors import RunError
from tasks.landmarks.detection.graph import Graph, open_model
from tasks.landmarks.detection.results import DetectedPart, read_parts
from tasks.landmarks.params import Device
from tasks.landmarks.points import SKELETONS, ModelKind, Skeleton
from tasks.landmarks.sequence import Points, RgbImage

# Not 0: MediaPipe's one-euro filters read 0 as "no timestamp yet" and would assume 1/30 s between the first two frames.
_BEGIN_MILLISECONDS = 1


class Landmarker:
    """Detects the landmarks of one person in the frames of consecutive samples.

    It tracks the person from frame to frame (MediaPipe's VIDEO mode). No state passes from one sample to the next:
    :meth:`restart` rebuilds the graph. Blank frames between samples would drop the tracks at a lower cost, but the
    holistic graph keeps its visibility filter after it loses a track. A change of frame size also restarts the graph,
    because it does not accept one.
    """

    skeleton: Skeleton

    def __init__(self, kind: ModelKind, model: Path, device: Device = "cpu") -> None:
        """Build the graph from the .task file ``model``.

        Raises RunError if the model cannot be loaded as that kind or on that device, or if mediapipe or one of its
        libraries is missing.
        """
        self.skeleton = SKELETONS[kind]
        self._kind = kind
        self._device = device
        self._model = open_model(kind, model)
        self._graph: Graph | None = None
        self._reset()
        try:
            self._graph = self._build_graph()
        except RunError:
            self.close()
            raise

    def _reset(self) -> None:
        """Reset the state to that of a graph without frames."""
        self._begin_milliseconds: int | None = None
        self._milliseconds = _BEGIN_MILLISECONDS - 1
        self._size: tuple[int, ...] | None = None

    def restart(self) -> None:
        """Forget all tracks; call it before each sample. It is free before the first frame."""
        if self._size is not None:
            self._close_graph()

    def detect(self, image: RgbImage, milliseconds: int) -> Points:
        """Return the person's landmarks, float32 [points, 4] (x, y, z, visibility); an undetected part is NaN.

        ``image`` is uint8 [height, width, 3], RGB. ``milliseconds`` is the display time; a time that does not increase
        counts as one millisecond after the previous frame. Raises ValueError for another kind of array, MediaPipeError
        if the library fails, RunError if the model's points do not match the skeleton.
        """
        graph = self._get_graph(image.shape[:2])
        height, width = image.shape[:2]
        with graph.detect(image, self._advance_clock(milliseconds)) as result:
            return self._arrange(read_parts(self._kind, result, width / height))

    def _advance_clock(self, milliseconds: int) -> int:
        """Return the time on the graph's clock, which starts with its first frame and always increases."""
        if self._begin_milliseconds is None:
            self._begin_milliseconds = milliseconds
        since = milliseconds - self._begin_milliseconds
        self._milliseconds = max(_BEGIN_MILLISECONDS + since, self._milliseconds + 1)
        return self._milliseconds

    def _get_graph(self, size: tuple[int, ...]) -> Graph:
        """Return a graph that has only seen frames of that size."""
        if self._size not in (None, size):
            self._close_graph()
        if self._graph is None:
            self._graph = self._build_graph()
        self._size = size
        return self._graph

    def _build_graph(self) -> Graph:
        """Build a graph from the open file, so that replacing the file during the run has no effect."""
        return Graph(self._kind, self._model, self._device)

    def _arrange(self, parts: list[DetectedPart]) -> Points:
        """Return all parts in the order of the skeleton."""
        points = np.full((self.skeleton.points, 4), np.nan, np.float32)
        for part in parts:
            expected = self.skeleton.find_part(part.name)
            assert expected is not None
            if len(part.points) != expected.points:
                given = f"{self._model.name} gives {len(part.points)} {part.name}, not {expected.points}"
                raise RunError(f"{given}; use one of MediaPipe's current .task files")
            points[expected.span] = part.points
        return points

    def _close_graph(self) -> None:
        graph, self._graph = self._graph, None
        self._reset()
        if graph is not None:
            graph.close()

    def close(self) -> None:
        """Free the model's memory, stop its threads and close its file. Calling it twice is safe."""
        self._close_graph()
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
