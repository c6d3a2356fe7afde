"""A video searched by a model: sampled frames, boxes tracked, ranges to the frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from tasks.media.orientation import Converter, matrix_turn
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box
from tasks.overlays.components import Shape, component_shape, planar_name
from tasks.overlays.detection.findings import Found
from tasks.overlays.detection.placing import box_overlay, turned_back
from tasks.overlays.detection.yolo.network import Device, Network
from tasks.overlays.detection.yolo.outputs import Detections
from tasks.overlays.detection.yolo.tracking import Piece, Rules, follow, pieces, refined
from tasks.overlays.overlay import Floats, Overlay

_SAMPLE_SECONDS = 0.5
_MOST_SAMPLES = 3600  # unless the user says how many; an hour at a frame a second
_WEAK_SHARE = 0.4  # of the score that begins a track, for boxes that go on with it
# Where samples lie further apart than groups of pictures are long, so many times, what lies between is not decoded.
_FAR = 2.0


@dataclass(frozen=True)
class SearchSettings:
    """How a video is searched.

    score         that a box must reach to be taken for a mark
    iou           boxes of one frame that overlap by more are one
    classes       names of those that are marks; empty: all
    every_frames  every so many frames one is looked at; ``None``: one every half second, and at most 3600
    margin_share  of a box's shorter side that is added around it: boxes are drawn tightly, and marks have soft edges
    device        where the model runs
    size_px       the longer side of pictures, for models that take any size; ``None``: as exported
    """

    score: float = 0.4
    iou: float = 0.5
    classes: tuple[str, ...] = ()
    every_frames: int | None = None
    margin_share: float = 0.05
    device: Device = "cpu"
    size_px: int | None = None

    @property
    def rules(self) -> Rules:
        """When boxes make a track."""
        return Rules(self.score, self.score * _WEAK_SHARE)


def find_by_model(path: Path, found: Survey, model: Path, settings: SearchSettings) -> Found:
    """What the YOLO model at ``model`` finds in the surveyed video at ``path``.

    Raises UnusableModel for the model, BadInput for the video, UnreliableIndexError where it is to be surveyed by
    decoding.
    """
    return search(path, found, Network(model, settings.device, settings.size_px), settings)


def search(path: Path, found: Survey, network: Network, settings: SearchSettings) -> Found:
    """The same by a network that is open already."""
    shape = component_shape(planar_name(found.picture.pixel_format))
    frames = sample_frames(found, settings)
    with SegmentReader(path, found) as reader:
        viewer = _Viewer(reader, found, network, settings)
        samples = [(frame, viewer.look(frame, decoded)) for frame, decoded in _sampled(reader, found, frames)]
        tracks = follow(samples, settings.rules)
        exact = [part for track in tracks for part in refined(track, frames, viewer.look_at, settings.rules)]
    overlays = tuple(_overlay(piece, viewer, found, shape, settings.margin_share) for piece in pieces(exact))
    return _found(overlays, viewer, len(frames), settings)


def sample_frames(found: Survey, settings: SearchSettings) -> tuple[int, ...]:
    """Which frames are looked at first: the first, every n-th, and the last."""
    count = len(found.timeline)
    every = settings.every_frames
    if every is None:
        rate = count / max(found.timeline.duration_seconds, 1e-9)
        every = max(round(rate * _SAMPLE_SECONDS), -(-count // _MOST_SAMPLES))
    return tuple(sorted({*range(0, count, max(1, every)), count - 1}))


def _sampled(reader: SegmentReader, found: Survey, frames: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """The frames with these numbers: in one pass, or each from its keyframe where that is less to decode."""
    groups = max(1, int(found.index.entry.sum()))
    if found.positions is not None and len(frames) * _FAR < groups:
        for number in frames:
            yield from ((one.index, one.frame) for one in reader.range(number, number + 1))
        return
    wanted = set(frames)
    for one in reader.range(0, len(found.timeline)):
        if one.index in wanted:
            yield one.index, one.frame


class _Viewer:
    """Looks at frames, each once; remembers what it saw."""

    def __init__(self, reader: SegmentReader, found: Survey, network: Network, settings: SearchSettings) -> None:
        self._reader = reader
        self._network = network
        self._settings = settings
        self._converter = Converter("rgb24")
        self._seen: dict[int, Detections] = {}
        self._turn = matrix_turn(found.display_matrix)
        self.best = 0.0
        names = network.info.names
        self.names: Mapping[int, str] = names
        self._kinds = np.array([number for number, name in names.items() if name in settings.classes], np.int64)

    def look_at(self, number: int) -> Detections:
        """Boxes in frame ``number``, which is decoded for it."""
        if number not in self._seen:
            for one in self._reader.range(number, number + 1):
                self.look(number, one.frame)
        return self._seen[number]

    def look(self, number: int, frame: VideoFrame) -> Detections:
        """Boxes in ``frame``, in pixels of the picture as it is stored."""
        picture = self._converter.picture(frame, follows=True)
        weak = self._settings.rules.weak
        found = self._network.detect(picture, min(weak, 0.05), self._settings.iou)
        if self._settings.classes:
            found = found.chosen(np.isin(found.classes, self._kinds))
        self.best = max(self.best, float(found.scores.max(initial=0.0)))
        found = found.chosen(found.scores >= weak)
        stored = turned_back(found.boxes, self._turn, frame.width, frame.height)
        self._seen[number] = Detections(stored, found.scores, found.classes)
        return self._seen[number]


def _overlay(piece: Piece, viewer: _Viewer, found: Survey, shape: Shape, margin_share: float) -> Overlay:
    size = found.picture.width_px, found.picture.height_px
    box = widened(piece.box, margin_share, *size)
    label = viewer.names.get(piece.kind, "")
    return box_overlay(box, shape, size, piece.ranges, "yolo", round(min(1.0, piece.score), 4), label)


def widened(box: Floats, margin_share: float, width_px: int, height_px: int) -> Box:
    """The whole pixels that ``box`` touches, and a margin around them, within the picture."""
    margin = margin_share * float((box[2:] - box[:2]).min())
    left, top = (max(0, int(np.floor(edge - margin))) for edge in box[:2])
    right = min(width_px, int(np.ceil(box[2] + margin)))
    bottom = min(height_px, int(np.ceil(box[3] + margin)))
    left, top = min(left, width_px - 1), min(top, height_px - 1)
    return Box(left, top, max(1, right - left), max(1, bottom - top))


def _found(overlays: tuple[Overlay, ...], viewer: _Viewer, frames: int, settings: SearchSettings) -> Found:
    if overlays:
        labels = ", ".join(sorted({overlay.label for overlay in overlays if overlay.label}))
        named = f" ({labels})" if labels else ""
        confidence = min(overlay.confidence for overlay in overlays)
        return Found(overlays, confidence, f"{len(overlays)} boxes{named} tracked through {frames} sampled frames")
    if viewer.best >= settings.score:
        reason = f"boxes in single frames of {frames} only, which no other frame confirms"
    else:
        reason = f"no box in {frames} sampled frames scores {settings.score:g}; the best has {viewer.best:.2f}"
    return Found((), max(0.0, 1.0 - viewer.best), reason)
