"""Searches a video with a YOLO model: samples frames, tracks boxes, and locates their first and last frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from tasks.media.orientation import Converter, parse_display_matrix
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box
from tasks.overlays.components import Shape, get_planar_format, read_shape
from tasks.overlays.detection.findings import Findings
from tasks.overlays.detection.placing import make_box_overlay, turn_back
from tasks.overlays.detection.yolo.network import Device, Network
from tasks.overlays.detection.yolo.outputs import Detections
from tasks.overlays.detection.yolo.tracking import Piece, Rules, cut_tracks, follow_boxes, refine_track
from tasks.overlays.overlay import Floats, Overlay

_SAMPLE_SECONDS = 0.5
_MAX_SAMPLES = 3600  # default; an hour at one frame per second
_WEAK_SHARE = 0.4  # share of the score that starts a track, for boxes that continue it
# If samples are this many GOP lengths apart, the frames between are not decoded.
_FAR = 2.0


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the search.

    score         minimum score of a box that starts a track
    iou           boxes of one frame that overlap by more are merged
    classes       names of the classes to search for; empty: all
    every_frames  frames per sample; ``None``: one sample per half second, and at most 3600
    margin_share  margin around boxes, as a share of their shorter side: boxes are tight, and overlays have soft edges
    device        where the model runs
    size_px       longer side of frames, for models that accept any size; ``None``: as exported
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
        """The criteria for tracks."""
        return Rules(self.score, self.score * _WEAK_SHARE)


def find_by_model(path: Path, survey: Survey, model: Path, settings: SearchSettings) -> Findings:
    """Search the surveyed video at ``path`` with the YOLO model at ``model``.

    Raises UnusableModel for the model, BadInput for the video, and UnreliableIndexError if the video must be surveyed
    by decoding.
    """
    return search_video(path, survey, Network(model, settings.device, settings.size_px), settings)


def search_video(path: Path, survey: Survey, network: Network, settings: SearchSettings) -> Findings:
    """Search with an open network."""
    shape = read_shape(get_planar_format(survey.picture.pixel_format))
    frames = choose_frames(survey, settings)
    with SegmentReader(path, survey) as reader:
        viewer = _Viewer(reader, survey, network, settings)
        samples = [(frame, viewer.look(frame, decoded)) for frame, decoded in _decode_frames(reader, survey, frames)]
        tracks = follow_boxes(samples, settings.rules)
        exact = [part for track in tracks for part in refine_track(track, frames, viewer.look_at, settings.rules)]
    overlays = tuple(_make_overlay(piece, viewer, survey, shape, settings.margin_share) for piece in cut_tracks(exact))
    return _summarize(overlays, viewer, len(frames), settings)


def choose_frames(survey: Survey, settings: SearchSettings) -> tuple[int, ...]:
    """Return the frames to search first: the first, every n-th, and the last."""
    count = len(survey.timeline)
    every = settings.every_frames
    if every is None:
        rate = count / max(survey.timeline.duration_seconds, 1e-9)
        every = max(round(rate * _SAMPLE_SECONDS), -(-count // _MAX_SAMPLES))
    return tuple(sorted({*range(0, count, max(1, every)), count - 1}))


def _decode_frames(reader: SegmentReader, survey: Survey, frames: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield these frames: in one pass, or each from its keyframe if that decodes less."""
    groups = max(1, int(survey.index.entry.sum()))
    if survey.positions is not None and len(frames) * _FAR < groups:
        for number in frames:
            yield from ((decoded.index, decoded.frame) for decoded in reader.range(number, number + 1))
        return
    wanted = set(frames)
    for decoded in reader.range(0, len(survey.timeline)):
        if decoded.index in wanted:
            yield decoded.index, decoded.frame


class _Viewer:
    """Runs the network on frames, once each, and stores the detections."""

    def __init__(self, reader: SegmentReader, survey: Survey, network: Network, settings: SearchSettings) -> None:
        self._reader = reader
        self._network = network
        self._settings = settings
        self._converter = Converter("rgb24")
        self._seen: dict[int, Detections] = {}
        self._turn = parse_display_matrix(survey.display_matrix)
        self.best = 0.0
        names = network.info.names
        self.names: Mapping[int, str] = names
        self._kinds = np.array([number for number, name in names.items() if name in settings.classes], np.int64)

    def look_at(self, number: int) -> Detections:
        """Decode frame ``number`` and return its boxes."""
        if number not in self._seen:
            for decoded in self._reader.range(number, number + 1):
                self.look(number, decoded.frame)
        return self._seen[number]

    def look(self, number: int, frame: VideoFrame) -> Detections:
        """Return the boxes in ``frame``, in pixels of the stored frame."""
        image = self._converter.convert(frame, follows=True)
        weak = self._settings.rules.weak
        detections = self._network.detect(image, min(weak, 0.05), self._settings.iou)
        if self._settings.classes:
            detections = detections.select(np.isin(detections.classes, self._kinds))
        self.best = max(self.best, float(detections.scores.max(initial=0.0)))
        detections = detections.select(detections.scores >= weak)
        stored = turn_back(detections.boxes, self._turn, frame.width, frame.height)
        self._seen[number] = Detections(stored, detections.scores, detections.classes)
        return self._seen[number]


def _make_overlay(piece: Piece, viewer: _Viewer, survey: Survey, shape: Shape, margin_share: float) -> Overlay:
    size = survey.picture.width_px, survey.picture.height_px
    box = widen_box(piece.box, margin_share, *size)
    label = viewer.names.get(piece.kind, "")
    return make_box_overlay(box, shape, size, piece.ranges, "yolo", round(min(1.0, piece.score), 4), label)


def widen_box(box: Floats, margin_share: float, width_px: int, height_px: int) -> Box:
    """Return the whole pixels that ``box`` touches, and a margin around them, within the frame."""
    margin = margin_share * float((box[2:] - box[:2]).min())
    left, top = (max(0, int(np.floor(edge - margin))) for edge in box[:2])
    right = min(width_px, int(np.ceil(box[2] + margin)))
    bottom = min(height_px, int(np.ceil(box[3] + margin)))
    left, top = min(left, width_px - 1), min(top, height_px - 1)
    return Box(left, top, max(1, right - left), max(1, bottom - top))


def _summarize(overlays: tuple[Overlay, ...], viewer: _Viewer, frames: int, settings: SearchSettings) -> Findings:
    if overlays:
        labels = ", ".join(sorted({overlay.label for overlay in overlays if overlay.label}))
        named = f" ({labels})" if labels else ""
        confidence = min(overlay.confidence for overlay in overlays)
        boxes = "1 box" if len(overlays) == 1 else f"{len(overlays)} boxes"
        return Findings(overlays, confidence, f"{boxes}{named} tracked through {frames} sampled frames")
    if viewer.best >= settings.score:
        reason = f"boxes in single frames of {frames} sampled frames, not confirmed by others"
    else:
        reason = f"no box in {frames} sampled frames scores {settings.score:g}; the best scores {viewer.best:.2f}"
    return Findings((), max(0.0, 1.0 - viewer.best), reason)
