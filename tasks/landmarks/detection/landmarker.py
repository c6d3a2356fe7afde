"""Finds the landmarks of one person, frame after frame, sample after sample."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tasks.engine.contract.errors import RunError
from tasks.landmarks.detection.graph import Graph, opened
from tasks.landmarks.detection.results import Found, found
from tasks.landmarks.params import Device
from tasks.landmarks.points import SKELETONS, ModelKind, Skeleton
from tasks.landmarks.sequence import Picture, Points

# Not 0: MediaPipe's one-euro filters take 0 for "no time yet", and the second frame for 1/30 s after such a first.
_BEGIN_MILLISECONDS = 1


class Landmarker:
    """Finds the landmarks of one person in the frames of one sample after another.

    It follows the person from frame to frame (MediaPipe's VIDEO mode). Nothing of that goes from one sample to the
    next: :meth:`restart` builds the graph anew. Blank frames between samples would lose the tracks for less, but
    the holistic graph smooths the visibilities of the pose with a filter that a lost track does not empty.
    Frames of another size restart the track too, for the graph takes no change of size.
    """

    skeleton: Skeleton

    def __init__(self, kind: ModelKind, model: Path, device: Device = "cpu") -> None:
        """Build the graph from the .task file ``model``.

        Raises RunError where the model cannot be loaded as that kind or on that device, or where mediapipe or a
        library that it needs is missing.
        """
        self.skeleton = SKELETONS[kind]
        self._kind = kind
        self._device = device
        self._model = opened(kind, model)
        self._graph: Graph | None = None
        self._fresh()
        try:
            self._graph = self._new_graph()
        except RunError:
            self.close()
            raise

    def _fresh(self) -> None:
        """What is known of a graph that has seen no frame."""
        self._begin_milliseconds: int | None = None
        self._milliseconds = _BEGIN_MILLISECONDS - 1
        self._size: tuple[int, ...] | None = None

    def restart(self) -> None:
        """Forget everything: call it before each sample. Costs nothing before the first frame is there."""
        if self._size is not None:
            self._close_graph()

    def detect(self, picture: Picture, milliseconds: int) -> Points:
        """float32 [points, 4] (x, y, z, visibility) of the person in ``picture``; NaN in all four of a part not found.

        ``picture`` is uint8 [height, width, 3], RGB. ``milliseconds`` say when it is shown; one that does not lie
        after that of the frame before counts as one millisecond later. Raises ValueError for another kind of array,
        MediaPipeError where the library fails, RunError where the model's points are not the skeleton's.
        """
        graph = self._graph_for(picture.shape[:2])
        height, width = picture.shape[:2]
        with graph.detect(picture, self._after_the_last(milliseconds)) as result:
            return self._laid_out(found(self._kind, result, width / height))

    def _after_the_last(self, milliseconds: int) -> int:
        """The time on the graph's own clock, which begins with its first frame."""
        if self._begin_milliseconds is None:
            self._begin_milliseconds = milliseconds
        since = milliseconds - self._begin_milliseconds
        self._milliseconds = max(_BEGIN_MILLISECONDS + since, self._milliseconds + 1)
        return self._milliseconds

    def _graph_for(self, size: tuple[int, ...]) -> Graph:
        """A graph that has seen frames of that size alone, or none."""
        if self._size not in (None, size):
            self._close_graph()
        if self._graph is None:
            self._graph = self._new_graph()
        self._size = size
        return self._graph

    def _new_graph(self) -> Graph:
        """From the file as it was opened: one that takes its place meanwhile changes nothing."""
        return Graph(self._kind, self._model, self._device)

    def _laid_out(self, parts: list[Found]) -> Points:
        """All parts one after another, as the skeleton has them."""
        points = np.full((self.skeleton.points, 4), np.nan, np.float32)
        for part in parts:
            place = self.skeleton.part(part.name)
            assert place is not None
            if len(part.points) != place.points:
                given = f"{self._model.name} gives {len(part.points)} {part.name}, not {place.points}"
                raise RunError(f"{given}; use one of MediaPipe's current .task files")
            points[place.span] = part.points
        return points

    def _close_graph(self) -> None:
        graph, self._graph = self._graph, None
        self._fresh()
        if graph is not None:
            graph.close()

    def close(self) -> None:
        """Free the model's memory, end its threads and close its file; a second time does nothing."""
        self._close_graph()
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
