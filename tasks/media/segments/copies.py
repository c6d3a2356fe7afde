"""Independent copies of frames."""

from __future__ import annotations

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame


class FrameCopier:
    """Copies frames with their metadata.

    Pixels are shared until one of the two is written to; with ``upright`` they are copied, rows from the top down.
    """

    def __init__(self, upright: bool = False) -> None:
        self._upright = upright
        self._graph: Graph | None = None
        self._kind: tuple[int, int, str] | None = None

    def copy(self, frame: VideoFrame) -> VideoFrame:
        """Return a frame with the pixels, the time and the flags of ``frame``."""
        kind = frame.width, frame.height, frame.format.name
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = _build_graph(frame, self._upright), kind
        self._graph.vpush(frame)
        return self._graph.vpull()


def _build_graph(frame: VideoFrame, upright: bool) -> Graph:
    """Return a graph that outputs a new frame for each input frame."""
    graph = Graph()
    time_base = frame.time_base or Fraction(1)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    if upright:
        copied = graph.add("copy")
        source.link_to(copied)
        source = copied
    source.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
