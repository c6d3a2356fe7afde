"""Boxes of single frames, tracked through time.

Sampled frames are searched. The boxes of a frame are assigned to earlier tracks by overlap (as in SORT, Bewley et al.
2016), weak ones too if a track predicts them (as in ByteTrack, Zhang et al. 2022); a track may miss a few samples. A
track is cut into pieces, each one box over a range of frames: one piece if the mark is still, more if it moves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from tasks.overlays.boxes import compute_ious
from tasks.overlays.detection.yolo.outputs import Detections
from tasks.overlays.overlay import Floats, FrameRange, merge_ranges

_SAME_MARK_IOU = 0.25
_SAME_PLACE_IOU = 0.7
_JUMP_IOU = 0.6
# Maximum area of a piece's box relative to the mark.
_MAX_GROWTH = 1.5
_SMOOTHING_WINDOW = 5  # boxes around each


@dataclass(frozen=True)
class Rules:
    """Criteria for tracks.

    score       minimum score of at least one box
    weak        minimum score of the other boxes
    samples     minimum number of samples with a box, if there are as many
    max_missed  maximum number of consecutive samples without a box
    """

    score: float
    weak: float
    samples: int = 2
    max_missed: int = 2


@dataclass(frozen=True)
class Sighting:
    """A box in one frame; float32, 4: left, top, right, bottom in pixels."""

    frame: int
    box: Floats
    score: float
    kind: int


@dataclass(frozen=True)
class Track:
    """One mark and its boxes, in the order of frames; ``missed`` samples since the last."""

    sightings: tuple[Sighting, ...]
    missed: int = 0

    @property
    def score(self) -> float:
        """The mean of its boxes' scores."""
        return float(np.mean([sighting.score for sighting in self.sightings]))

    @property
    def kind(self) -> int:
        """The class with the largest sum of scores."""
        totals: dict[int, float] = {}
        for sighting in self.sightings:
            totals[sighting.kind] = totals.get(sighting.kind, 0.0) + sighting.score
        return max(totals, key=lambda kind: totals[kind])

    def predict(self, frame: int) -> Floats:
        """Return its box in ``frame``, at constant velocity."""
        last = self.sightings[-1]
        if len(self.sightings) < 2:
            return last.box
        before = self.sightings[-2]
        pace = (last.box - before.box) / (last.frame - before.frame)
        return np.asarray(last.box + pace * (frame - last.frame), np.float32)


@dataclass(frozen=True)
class Piece:
    """One box that covers a mark over one or more ranges of frames."""

    box: Floats
    ranges: tuple[FrameRange, ...]
    score: float
    kind: int


def follow_boxes(samples: Sequence[tuple[int, Detections]], rules: Rules) -> tuple[Track, ...]:
    """Return the marks in ``samples``: boxes of ascending frames."""
    open_tracks: list[Track] = []
    closed: list[Track] = []
    for frame, detections in samples:
        open_tracks = _continue_tracks(open_tracks, frame, detections, rules)
        closed += [track for track in open_tracks if track.missed > rules.max_missed]
        open_tracks = [track for track in open_tracks if track.missed <= rules.max_missed]
    min_sightings = min(rules.samples, len(samples))
    tracks = [track for track in closed + open_tracks if len(track.sightings) >= min_sightings]
    return tuple(sorted(tracks, key=lambda track: track.sightings[0].frame))


def _continue_tracks(tracks: Sequence[Track], frame: int, detections: Detections, rules: Rules) -> list[Track]:
    """Return ``tracks`` one sample later, and new ones from the remaining strong boxes."""
    sightings = [
        Sighting(frame, box, float(score), int(kind))
        for box, score, kind in zip(detections.boxes, detections.scores, detections.classes, strict=True)
        if score >= rules.weak
    ]
    pairs = _assign(tracks, frame, sightings)
    continued = [
        replace(track, sightings=(*track.sightings, sightings[pairs[number]]), missed=0)
        if number in pairs
        else replace(track, missed=track.missed + 1)
        for number, track in enumerate(tracks)
    ]
    left = set(range(len(sightings))) - set(pairs.values())
    return continued + [
        Track((sightings[number],)) for number in sorted(left) if sightings[number].score >= rules.score
    ]


def _assign(tracks: Sequence[Track], frame: int, sightings: Sequence[Sighting]) -> dict[int, int]:
    """Return the number of the sighting that continues each track, with maximum total overlap."""
    if not tracks or not sightings:
        return {}
    boxes = np.stack([sighting.box for sighting in sightings])
    overlaps = np.stack([_compute_overlaps(track, frame, boxes) for track in tracks])
    rows, columns = linear_sum_assignment(np.where(overlaps >= _SAME_MARK_IOU, -overlaps, 0.0))
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return {row: column for row, column in chosen if overlaps[row, column] >= _SAME_MARK_IOU}


def _compute_overlaps(track: Track, frame: int, boxes: Floats) -> Floats:
    """Return the overlaps with its last or predicted box, whichever is larger."""
    return np.maximum(compute_ious(track.sightings[-1].box, boxes), compute_ious(track.predict(frame), boxes))


Look = Callable[[int], Detections]


def refine_track(track: Track, sampled: Sequence[int], look: Look, rules: Rules) -> tuple[Track, ...]:
    """Extend ``track`` to the first and last frame in which the mark shows, between the ``sampled`` frames.

    It is split if the box jumps, such as when one subtitle follows another. ``look`` finds boxes in any frame. Frames
    are found by bisection, in log2 of the sample distance.
    """
    parts = _split_at_jumps(track)
    first, last = parts[0].sightings[0], parts[-1].sightings[-1]
    early = sampled.index(first.frame)
    late = sampled.index(last.frame)
    before = None if not early else _Without(sampled[early - 1])
    after = None if late + 1 == len(sampled) else _Without(sampled[late + 1])
    refined_parts = []
    for number, part in enumerate(parts):
        earlier = _Without.make(parts[number - 1].sightings[-1]) if number else before
        later = _Without.make(parts[number + 1].sightings[0]) if number + 1 < len(parts) else after
        refined_parts.append(_extend(part, earlier, later, look, rules))
    return tuple(refined_parts)


@dataclass(frozen=True)
class _Without:
    """A frame without a mark, or with another one, at ``other``."""

    frame: int
    other: Floats | None = None

    @classmethod
    def make(cls, sighting: Sighting) -> _Without:
        return cls(sighting.frame, sighting.box)


def _split_at_jumps(track: Track) -> list[Track]:
    """Split ``track`` if its box jumps away from its previous and its predicted position."""
    frames = np.array([sighting.frame for sighting in track.sightings])
    boxes = _smooth(np.stack([sighting.box for sighting in track.sightings]))
    jumps = [number for number in range(1, len(frames)) if _is_jump(frames, boxes, number)]
    bounds = itertools.pairwise([0, *jumps, len(frames)])
    return [replace(track, sightings=track.sightings[start:end]) for start, end in bounds]


def _is_jump(frames: npt.NDArray[np.int64], boxes: Floats, number: int) -> bool:
    """Return True if box ``number`` differs from its neighbor and from the motion on either side."""
    pairs = [(boxes[number - 1], boxes[number])]
    if number >= 2:
        pairs.append((_extrapolate(frames, boxes, number - 2, number - 1, number), boxes[number]))
    if number + 1 < len(boxes):
        pairs.append((_extrapolate(frames, boxes, number + 1, number, number - 1), boxes[number - 1]))
    return all(float(compute_ious(box, other_box[None])[0]) < _JUMP_IOU for box, other_box in pairs)


def _extrapolate(frames: npt.NDArray[np.int64], boxes: Floats, first: int, second: int, to: int) -> Floats:
    """Return the box in the frame of box ``to``, extrapolated from boxes ``first`` and ``second``."""
    pace = (boxes[second] - boxes[first]) / (frames[second] - frames[first])
    return np.asarray(boxes[second] + pace * (frames[to] - frames[second]), np.float32)


def _extend(track: Track, before: _Without | None, after: _Without | None, look: Look, rules: Rules) -> Track:
    """Extend ``track`` to the frames in which the mark does not show."""
    early = [] if before is None else _bisect(before, track.sightings[0], look, rules)
    late = [] if after is None else _bisect(after, track.sightings[-1], look, rules)
    return replace(track, sightings=(*sorted(early, key=_get_frame), *track.sightings, *sorted(late, key=_get_frame)))


def _bisect(without: _Without, present: Sighting, look: Look, rules: Rules) -> list[Sighting]:
    """Return sightings between ``present`` and the frame ``without`` it; the last is next to the first without."""
    sightings: list[Sighting] = []
    absent = without.frame
    while abs(present.frame - absent) > 1:
        middle = (present.frame + absent) // 2
        seen = _find_mark(present, middle, look(middle), rules)
        if seen is None or _is_other(seen.box, present.box, without.other):
            absent = middle
        else:
            present = seen
            sightings.append(seen)
    return sightings


def _is_other(box: Floats, mark: Floats, other: Floats | None) -> bool:
    """Return True if ``box`` is closer to ``other`` than to the mark."""
    if other is None:
        return False
    mark_iou, other_iou = compute_ious(box, np.stack([mark, other]))
    return bool(other_iou > mark_iou)


def _find_mark(mark: Sighting, frame: int, detections: Detections, rules: Rules) -> Sighting | None:
    """Return the mark in ``frame``: the box with the largest overlap."""
    overlaps = compute_ious(mark.box, detections.boxes) * (detections.scores >= rules.weak)
    if not len(overlaps) or overlaps.max() < _SAME_MARK_IOU:
        return None
    best = int(overlaps.argmax())
    return Sighting(frame, detections.boxes[best], float(detections.scores[best]), int(detections.classes[best]))


def _get_frame(sighting: Sighting) -> int:
    return sighting.frame


def cut_tracks(tracks: Sequence[Track]) -> tuple[Piece, ...]:
    """Return boxes that cover all ``tracks``, in the order in which they start.

    Marks that return to an earlier place share a piece with it.
    """
    merged_pieces: list[Piece] = []
    for piece in sorted(
        itertools.chain.from_iterable(map(_cut_track, tracks)), key=lambda part: part.ranges[0].start_frame
    ):
        same = next((number for number, other in enumerate(merged_pieces) if _is_same_place(piece, other)), None)
        if same is None:
            merged_pieces.append(piece)
        else:
            merged_pieces[same] = _combine(merged_pieces[same], piece)
    return tuple(merged_pieces)


def _cut_track(track: Track) -> Iterator[Piece]:
    """Yield the pieces of one track. Each also covers the first box of the next: the mark moves there."""
    frames = [sighting.frame for sighting in track.sightings]
    boxes = _smooth(np.stack([sighting.box for sighting in track.sightings]))
    start = 0
    while start < len(frames):
        end = start + 1  # the last box of the piece, inclusive
        while end + 1 < len(frames) and _is_coverable(boxes[start : end + 2]):
            end += 1
        is_last = end + 1 >= len(frames) and _is_coverable(boxes[start : end + 1])
        stop = len(frames) if is_last else end
        until = frames[-1] + 1 if is_last else frames[end]
        yield Piece(_merge(boxes[start : end + 1]), (FrameRange(frames[start], until),), track.score, track.kind)
        start = stop


def _smooth(boxes: Floats) -> Floats:
    """Return each edge as a running median; the window shrinks symmetrically at the ends."""
    count = len(boxes)
    reach = [min(_SMOOTHING_WINDOW // 2, number, count - 1 - number) for number in range(count)]
    rows = [np.median(boxes[number - far : number + far + 1], axis=0) for number, far in enumerate(reach)]
    return np.asarray(rows, np.float32)


def _is_coverable(boxes: Floats) -> bool:
    """Return True if one box may cover them all."""
    return bool(_measure_area(_merge(boxes)) <= _MAX_GROWTH * np.median([_measure_area(box) for box in boxes]))


def _merge(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _measure_area(box: Floats) -> float:
    return float((box[2:] - box[:2]).prod())


def _is_same_place(piece: Piece, other: Piece) -> bool:
    return float(compute_ious(piece.box, other.box[None])[0]) >= _SAME_PLACE_IOU


def _combine(first: Piece, second: Piece) -> Piece:
    """Return both as one, over the frames of both."""
    stronger = max(first, second, key=lambda piece: piece.score)
    ranges = merge_ranges((*first.ranges, *second.ranges))
    return replace(stronger, box=_merge(np.stack([first.box, second.box])), ranges=ranges)
