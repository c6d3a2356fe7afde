"""Boxes of single frames, followed through time: what stays, what moves, from when to when.

A mark is sought in sampled frames. Boxes of one frame are assigned to the tracks of those before by how much they
overlap (as SORT does, Bewley et al. 2016), weak ones too where a track expects them (as ByteTrack does, Zhang et al.
2022); a track may miss a few samples. A track becomes pieces, each one box over a range of frames: one piece where
the mark stays still, more where it moves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from tasks.overlays.boxes import compute_ious
from tasks.overlays.detection.yolo.outputs import Detections
from tasks.overlays.overlay import Floats, FrameRange

_SAME_MARK_IOU = 0.25
_SAME_PLACE_IOU = 0.7
_JUMP_IOU = 0.6
# A piece's box may be so much larger than the mark, before a new piece is begun.
_GROWTH = 1.5
_SMOOTHED = 5  # boxes around each


@dataclass(frozen=True)
class Rules:
    """When boxes make a track.

    score      that one box of it must reach
    weak       that its other boxes must reach
    samples    in which it must be seen, where there are so many
    most_missed   samples in a row in which it may be missed
    """

    score: float
    weak: float
    samples: int = 2
    most_missed: int = 2


@dataclass(frozen=True)
class Sighting:
    """A box in one frame; float32, 4: left, top, right, bottom in pixels."""

    frame: int
    box: Floats
    score: float
    kind: int


@dataclass(frozen=True)
class Track:
    """One mark: where it was seen, in the order of the frames; ``missed`` samples since."""

    sightings: tuple[Sighting, ...]
    missed: int = 0

    @property
    def score(self) -> float:
        """The mean of its boxes' scores."""
        return float(np.mean([one.score for one in self.sightings]))

    @property
    def kind(self) -> int:
        """The class that it was seen as most, by the sum of scores."""
        totals: dict[int, float] = {}
        for one in self.sightings:
            totals[one.kind] = totals.get(one.kind, 0.0) + one.score
        return max(totals, key=lambda kind: totals[kind])

    def expected(self, frame: int) -> Floats:
        """Its box in ``frame``, as it moved last."""
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


def follow(samples: Sequence[tuple[int, Detections]], rules: Rules) -> tuple[Track, ...]:
    """The marks that ``samples``, boxes of rising frames, show."""
    open_tracks: list[Track] = []
    closed: list[Track] = []
    for frame, found in samples:
        open_tracks = _continued(open_tracks, frame, found, rules)
        closed += [track for track in open_tracks if track.missed > rules.most_missed]
        open_tracks = [track for track in open_tracks if track.missed <= rules.most_missed]
    least = min(rules.samples, len(samples))
    made = [track for track in closed + open_tracks if len(track.sightings) >= least]
    return tuple(sorted(made, key=lambda track: track.sightings[0].frame))


def _continued(tracks: Sequence[Track], frame: int, found: Detections, rules: Rules) -> list[Track]:
    """``tracks`` one sample later, and new ones where strong boxes are left."""
    sightings = [
        Sighting(frame, box, float(score), int(kind))
        for box, score, kind in zip(found.boxes, found.scores, found.classes, strict=True)
        if score >= rules.weak
    ]
    pairs = _pairs(tracks, frame, sightings)
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


def _pairs(tracks: Sequence[Track], frame: int, sightings: Sequence[Sighting]) -> dict[int, int]:
    """Which track is continued by which sighting, by number, so that all overlap as much as can be."""
    if not tracks or not sightings:
        return {}
    boxes = np.stack([sighting.box for sighting in sightings])
    overlaps = np.stack([_overlaps(track, frame, boxes) for track in tracks])
    rows, columns = linear_sum_assignment(np.where(overlaps >= _SAME_MARK_IOU, -overlaps, 0.0))
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return {row: column for row, column in chosen if overlaps[row, column] >= _SAME_MARK_IOU}


def _overlaps(track: Track, frame: int, boxes: Floats) -> Floats:
    """With its last box or with the one that is expected, whichever overlaps more."""
    return np.maximum(compute_ious(track.sightings[-1].box, boxes), compute_ious(track.expected(frame), boxes))


Look = Callable[[int], Detections]


def refined(track: Track, sampled: Sequence[int], look: Look, rules: Rules) -> tuple[Track, ...]:
    """``track`` from the first frame in which the mark shows to the last one, between the ``sampled`` frames.

    It comes in two where the box jumps, as when one line of subtitles follows another. ``look`` finds boxes in any
    frame. Frames are halved, so that log2 of the distance of samples are looked at.
    """
    parts = _steady(track)
    first, last = parts[0].sightings[0], parts[-1].sightings[-1]
    early = sampled.index(first.frame)
    late = sampled.index(last.frame)
    before = None if not early else _Without(sampled[early - 1])
    after = None if late + 1 == len(sampled) else _Without(sampled[late + 1])
    made = []
    for number, part in enumerate(parts):
        earlier = _Without.of(parts[number - 1].sightings[-1]) if number else before
        later = _Without.of(parts[number + 1].sightings[0]) if number + 1 < len(parts) else after
        made.append(_stretched(part, earlier, later, look, rules))
    return tuple(made)


@dataclass(frozen=True)
class _Without:
    """A frame in which a mark does not show, or another one does, at ``other``."""

    frame: int
    other: Floats | None = None

    @classmethod
    def of(cls, sighting: Sighting) -> _Without:
        return cls(sighting.frame, sighting.box)


def _steady(track: Track) -> list[Track]:
    """``track``, cut where its box is neither where it was nor where it was going to be."""
    frames = np.array([one.frame for one in track.sightings])
    boxes = _smooth(np.stack([one.box for one in track.sightings]))
    jumps = [number for number in range(1, len(frames)) if _jumps(frames, boxes, number)]
    bounds = itertools.pairwise([0, *jumps, len(frames)])
    return [replace(track, sightings=track.sightings[start:end]) for start, end in bounds]


def _jumps(frames: npt.NDArray[np.int64], boxes: Floats, number: int) -> bool:
    """Whether box ``number`` is elsewhere than the one before and motion, seen from either side, do expect."""
    pairs = [(boxes[number - 1], boxes[number])]
    if number >= 2:
        pairs.append((_moved(frames, boxes, number - 2, number - 1, number), boxes[number]))
    if number + 1 < len(boxes):
        pairs.append((_moved(frames, boxes, number + 1, number, number - 1), boxes[number - 1]))
    return all(float(compute_ious(one, other[None])[0]) < _JUMP_IOU for one, other in pairs)


def _moved(frames: npt.NDArray[np.int64], boxes: Floats, one: int, other: int, to: int) -> Floats:
    """Where the way from box ``one`` to box ``other`` leads in the frame of box ``to``."""
    pace = (boxes[other] - boxes[one]) / (frames[other] - frames[one])
    return np.asarray(boxes[other] + pace * (frames[to] - frames[other]), np.float32)


def _stretched(track: Track, before: _Without | None, after: _Without | None, look: Look, rules: Rules) -> Track:
    """``track`` with what is seen of it up to the frames in which it does not show."""
    early = [] if before is None else _bisected(before, track.sightings[0], look, rules)
    late = [] if after is None else _bisected(after, track.sightings[-1], look, rules)
    return replace(track, sightings=(*sorted(early, key=_frame), *track.sightings, *sorted(late, key=_frame)))


def _bisected(without: _Without, present: Sighting, look: Look, rules: Rules) -> list[Sighting]:
    """Sightings between ``present`` and the frame ``without`` it, the last of them beside the first one without."""
    found: list[Sighting] = []
    absent = without.frame
    while abs(present.frame - absent) > 1:
        middle = (present.frame + absent) // 2
        seen = _seen(present, middle, look(middle), rules)
        if seen is None or _is_other(seen.box, present.box, without.other):
            absent = middle
        else:
            present = seen
            found.append(seen)
    return found


def _is_other(box: Floats, mark: Floats, other: Floats | None) -> bool:
    """Whether ``box`` is rather the ``other`` one than the mark."""
    if other is None:
        return False
    mine, its = compute_ious(box, np.stack([mark, other]))
    return bool(its > mine)


def _seen(mark: Sighting, frame: int, found: Detections, rules: Rules) -> Sighting | None:
    """The mark in ``frame``: the box that overlaps most with where it was."""
    overlaps = compute_ious(mark.box, found.boxes) * (found.scores >= rules.weak)
    if not len(overlaps) or overlaps.max() < _SAME_MARK_IOU:
        return None
    best = int(overlaps.argmax())
    return Sighting(frame, found.boxes[best], float(found.scores[best]), int(found.classes[best]))


def _frame(sighting: Sighting) -> int:
    return sighting.frame


def pieces(tracks: Sequence[Track]) -> tuple[Piece, ...]:
    """The boxes that cover all of ``tracks``, in the order in which they begin.

    What returns to the place where it was before makes one piece with it.
    """
    made: list[Piece] = []
    for piece in sorted(itertools.chain.from_iterable(map(_cut, tracks)), key=lambda one: one.ranges[0].start_frame):
        same = next((number for number, other in enumerate(made) if _same_place(piece, other)), None)
        if same is None:
            made.append(piece)
        else:
            made[same] = _joined(made[same], piece)
    return tuple(made)


def _cut(track: Track) -> Iterator[Piece]:
    """The pieces of one track. Each covers where the mark is when the next one begins, too: it is on its way there."""
    frames = [one.frame for one in track.sightings]
    boxes = _smooth(np.stack([one.box for one in track.sightings]))
    start = 0
    while start < len(frames):
        end = start + 1  # up to and with which box the piece goes, where there is one
        while end + 1 < len(frames) and _fit(boxes[start : end + 2]):
            end += 1
        is_last = end + 1 >= len(frames) and _fit(boxes[start : end + 1])
        stop = len(frames) if is_last else end
        until = frames[-1] + 1 if is_last else frames[end]
        yield Piece(_union(boxes[start : end + 1]), (FrameRange(frames[start], until),), track.score, track.kind)
        start = stop


def _smooth(boxes: Floats) -> Floats:
    """Each edge as the median of those around it; fewer at the ends, where as many lie on either side."""
    count = len(boxes)
    reach = [min(_SMOOTHED // 2, number, count - 1 - number) for number in range(count)]
    rows = [np.median(boxes[number - far : number + far + 1], axis=0) for number, far in enumerate(reach)]
    return np.asarray(rows, np.float32)


def _fit(boxes: Floats) -> bool:
    """Whether one box may cover them all."""
    return bool(_area(_union(boxes)) <= _GROWTH * np.median([_area(box) for box in boxes]))


def _union(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _area(box: Floats) -> float:
    return float((box[2:] - box[:2]).prod())


def _same_place(one: Piece, other: Piece) -> bool:
    return float(compute_ious(one.box, other.box[None])[0]) >= _SAME_PLACE_IOU


def _joined(one: Piece, other: Piece) -> Piece:
    """Both as one, over the frames of both."""
    stronger = max(one, other, key=lambda piece: piece.score)
    ranges = merged((*one.ranges, *other.ranges))
    return replace(stronger, box=_union(np.stack([one.box, other.box])), ranges=ranges)


def merged(ranges: Iterable[FrameRange]) -> tuple[FrameRange, ...]:
    """``ranges`` in order, those that overlap or touch as one."""
    made: list[FrameRange] = []
    for one in sorted(ranges, key=lambda each: each.start_frame):
        if made and one.start_frame <= made[-1].end_frame:
            made[-1] = FrameRange(made[-1].start_frame, max(made[-1].end_frame, one.end_frame))
        else:
            made.append(one)
    return tuple(made)
